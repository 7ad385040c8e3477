"""Places the circuit: tokens along the bottom, steps by token (across) and layer (up), outputs on top.

Boxes never overlap: every token has a column as wide as the widest thing on it, every layer a band as high as its
fullest column, and boxes that share column and band stand in a grid of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tracescribe.agents.rendering.boxes import (
    OUTPUT_HEIGHT,
    SMALL_SIZE,
    TOKEN_HEIGHT,
    Box,
    output_line,
    output_width,
    step_lines,
    step_size,
    token_line,
    token_width,
)
from tracescribe.agents.rendering.circuit import Circuit, Output, Step, Token
from tracescribe.agents.rendering.visible_text import text_width

CELL_GAP, BAND_GAP, EDGE_MARGIN = 28.0, 58.0, 14.0
RIGHT_MARGIN = 46.0
"""Room at the right for links that go round the last column."""
MAX_COLUMN_GAP, MIN_COLUMN_GAP = 26.0, 10.0
PAGE_WIDTH = 1158.0
"""Width of the page's drawing area on a wide screen; columns move together to fit it where they can."""
GUTTER = 78.0
"""Width of the strip at the left that names the layers."""
OUTPUT_GAP = 14.0
MAX_BANDS = 8
"""Rows in the drawing; in a deeper circuit neighbouring layers share one."""
FOLD_FROM = 5
"""So many neighbouring tokens without a step or a link are folded into one mark."""


@dataclass(frozen=True)
class Band:
    """A row of the drawing: the layers that share it, and its height range."""

    name: str
    y: float
    height: float


@dataclass(frozen=True)
class Fold:
    """Neighbouring tokens drawn as one mark, because nothing in the circuit touches them."""

    texts: tuple[str, ...]
    box: Box


@dataclass(frozen=True)
class Placement:
    """Where everything stands; `boxes` is keyed by node id."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    lines: Mapping[str, tuple[str, ...]]
    bands: tuple[Band, ...]
    folds: tuple[Fold, ...]


def layer_bands(steps: Sequence[Step]) -> list[tuple[int, ...]]:
    """The layers that steps stand on, lowest first, in at most `MAX_BANDS` groups of neighbours."""
    layers = sorted({step.layer for step in steps})
    n_bands = min(MAX_BANDS, len(layers))
    bounds = [round(i * len(layers) / n_bands) for i in range(n_bands + 1)] if n_bands else [0]
    return [tuple(layers[low:high]) for low, high in pairwise(bounds)]


def _band_name(layers: tuple[int, ...]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}–{layers[-1]}"


def _cell_columns(n: int) -> int:
    """How many boxes stand side by side in a cell of `n`."""
    return min(n, 2) if n <= 4 else 3


@dataclass(frozen=True)
class _Cell:
    """The boxes of one column and band as a grid; rows grow upward with layer."""

    rows: tuple[tuple[tuple[Step, float, float], ...], ...]

    @property
    def width(self) -> float:
        return max(sum(w for _, w, _ in row) + CELL_GAP * (len(row) - 1) for row in self.rows)

    @property
    def height(self) -> float:
        return sum(max(h for *_, h in row) for row in self.rows) + CELL_GAP * (len(self.rows) - 1)

    def place(self, centre: float, bottom: float) -> dict[str, Box]:
        boxes: dict[str, Box] = {}
        for row in self.rows:
            x = centre - (sum(w for _, w, _ in row) + CELL_GAP * (len(row) - 1)) / 2
            for step, width, height in row:
                boxes[step.node] = Box(x, bottom - height, width, height)
                x += width + CELL_GAP
            bottom -= max(h for *_, h in row) + CELL_GAP
        return boxes


def _cells(steps: Sequence[Step], bands: Sequence[tuple[int, ...]]) -> dict[tuple[int, int], _Cell]:
    """Cells by (token position, band index)."""
    band_of = {layer: index for index, layers in enumerate(bands) for layer in layers}
    members: dict[tuple[int, int], list[Step]] = defaultdict(list)
    for step in sorted(steps, key=lambda s: (s.layer, -(s.influence or 0.0), s.node)):
        members[step.position, band_of[step.layer]].append(step)
    cells: dict[tuple[int, int], _Cell] = {}
    for place, group in members.items():
        across = _cell_columns(len(group))
        sized = [(step, *step_size(step)) for step in group]
        cells[place] = _Cell(tuple(tuple(sized[i : i + across]) for i in range(0, len(sized), across)))
    return cells


@dataclass(frozen=True)
class _Column:
    """A token's column, or one for a long stretch of tokens that nothing touches."""

    tokens: tuple[Token, ...]
    x: float = 0.0
    width: float = 0.0

    @property
    def folded(self) -> bool:
        return len(self.tokens) > 1

    @property
    def centre(self) -> float:
        return self.x + self.width / 2


def _fold(circuit: Circuit) -> list[_Column]:
    """Columns in reading order, without measures."""
    ends = {link.source for link in circuit.links} | {link.destination for link in circuit.links}
    busy = {step.position for step in circuit.steps}
    columns: list[_Column] = []
    idle: list[Token] = []

    def close() -> None:
        together = [tuple(idle)] if len(idle) >= FOLD_FROM else [(token,) for token in idle]
        columns.extend(_Column(tokens) for tokens in together)
        idle.clear()

    for token in circuit.tokens:
        if token.node in ends or token.position in busy:
            close()
            columns.append(_Column((token,)))
        else:
            idle.append(token)
    close()
    return columns


def _columns(circuit: Circuit, cells: Mapping[tuple[int, int], _Cell]) -> list[_Column]:
    """Columns with their left edges and widths, as close as the page's width asks."""
    folded = _fold(circuit)
    widths: list[float] = []
    for column in folded:
        if column.folded:
            widths.append(text_width(f"… {len(column.tokens)} tokens", SMALL_SIZE) + 12)
        else:
            token = column.tokens[0]
            inside = [cell.width for (position, _), cell in cells.items() if position == token.position]
            widths.append(max([token_width(token), *inside]))
    spare = (PAGE_WIDTH - GUTTER - RIGHT_MARGIN - sum(widths)) / max(1, len(widths) - 1)
    gap = min(MAX_COLUMN_GAP, max(MIN_COLUMN_GAP, spare))
    columns: list[_Column] = []
    x = GUTTER
    for column, width in zip(folded, widths, strict=True):
        columns.append(_Column(column.tokens, x, width))
        x += width + gap
    return columns


def _place_outputs(outputs: Sequence[Output], centre: float, right: float) -> tuple[dict[str, Box], float]:
    """Outputs in one row, likeliest first, about the last token's column; and where the row ends."""
    widths = [output_width(output) for output in outputs]
    total = sum(widths) + OUTPUT_GAP * max(0, len(widths) - 1)
    x = max(GUTTER, min(centre - total / 2, right - total))
    boxes: dict[str, Box] = {}
    for output, width in zip(outputs, widths, strict=True):
        boxes[output.node] = Box(x, EDGE_MARGIN, width, OUTPUT_HEIGHT)
        x += width + OUTPUT_GAP
    return boxes, x - OUTPUT_GAP


def _place_tokens(columns: Sequence[_Column], y: float) -> tuple[dict[str, Box], tuple[Fold, ...]]:
    boxes: dict[str, Box] = {}
    folds: list[Fold] = []
    for column in columns:
        if column.folded:
            texts = tuple(token.text for token in column.tokens)
            folds.append(Fold(texts, Box(column.x, y, column.width, TOKEN_HEIGHT)))
        else:
            own = token_width(column.tokens[0])
            boxes[column.tokens[0].node] = Box(column.centre - own / 2, y, own, TOKEN_HEIGHT)
    return boxes, tuple(folds)


def _place_steps(
    steps: Sequence[Step], cells: Mapping[tuple[int, int], _Cell], centres: Mapping[int, float], y: float
) -> tuple[dict[str, Box], tuple[Band, ...], float]:
    """Boxes of the steps, the bands they stand in, top first, and where the last band's gap ends."""
    boxes: dict[str, Box] = {}
    rows: list[Band] = []
    for index, layers in reversed(list(enumerate(layer_bands(steps)))):
        inside = {position: cell for (position, band), cell in cells.items() if band == index}
        height = max(cell.height for cell in inside.values())
        rows.append(Band(_band_name(layers), y, height))
        for position, cell in inside.items():
            boxes |= cell.place(centres[position], y + height)
        y += height + BAND_GAP
    return boxes, tuple(rows), y


def lay_out(circuit: Circuit) -> Placement:
    """Give every token, step and output of a circuit its box."""
    cells = _cells(circuit.steps, layer_bands(circuit.steps))
    columns = _columns(circuit, cells)
    right = columns[-1].x + columns[-1].width
    centres = {token.position: column.centre for column in columns for token in column.tokens}
    outputs, outputs_right = _place_outputs(circuit.outputs, columns[-1].centre, right)
    top = EDGE_MARGIN + OUTPUT_HEIGHT + BAND_GAP
    steps, bands, y = _place_steps(circuit.steps, cells, centres, top)
    tokens, folds = _place_tokens(columns, y)
    lines: dict[str, tuple[str, ...]] = {step.node: step_lines(step) for step in circuit.steps}
    lines |= {token.node: (token_line(token),) for token in circuit.tokens}
    lines |= {output.node: (output_line(output),) for output in circuit.outputs}
    return Placement(
        width=max(right + RIGHT_MARGIN, outputs_right + EDGE_MARGIN),
        height=y + TOKEN_HEIGHT + EDGE_MARGIN,
        boxes=tokens | steps | outputs,
        lines=lines,
        bands=bands,
        folds=folds,
    )
