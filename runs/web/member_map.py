"""Where the features of two circuits stand, in pixels: tokens along x, layers up y, those that both have drawn as such."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tracescribe.agents.rendering.visible_text import shorten, text_width, visible_token

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport

Where = Literal["both", "a", "b"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 12.0, 12.0, 34.0
_STEP = 15.0
_PER_LINE, _LINES = 4, 3
_WIDEST_TOKEN, _NARROWEST_TOKEN, _TEXT = 150.0, 48.0, 12.0


@dataclass(frozen=True)
class Dot:
    """A feature at a token; `told` names it, for people who point at it."""

    x: float
    y: float
    where: Where
    told: str


@dataclass(frozen=True)
class Place:
    """A text on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class MemberMap:
    """The drawing.

    Attributes:
        hidden: features that found no room in their cell.
        description: for people who do not see it.
    """

    width: float
    height: float
    dots: tuple[Dot, ...]
    tokens: tuple[Place, ...]
    layers: tuple[Place, ...]
    hidden: int
    description: str


def member_map(a: CircuitReport, b: CircuitReport) -> MemberMap:
    """Lay out the features of the circuits that two reports stand by. Only tokens and layers with features have room."""
    names: dict[tuple[int, int, int], dict[Where, str]] = defaultdict(dict)
    for where, report in (("a", a), ("b", b)):
        for node in report.supernodes:
            if not node.rejected:
                for member in node.members:
                    names[member.layer, member.position, member.feature]["a" if where == "a" else "b"] = node.label
    tokens = a.tokens
    positions, layers = sorted({key[1] for key in names}), sorted({key[0] for key in names})
    columns: dict[int, tuple[float, float]] = {}
    x = _LEFT
    for position in positions:
        width = min(_WIDEST_TOKEN, max(_NARROWEST_TOKEN, text_width(_token(tokens, position), _TEXT) + 18))
        columns[position] = x, width
        x += width
    row = _STEP * _LINES + 12
    heights = {layer: _TOP + row * (len(layers) - 1 - at) for at, layer in enumerate(layers)}
    cells: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for key in sorted(names, key=lambda key: (len(names[key]) != 2, key)):
        cells[key[0], key[1]].append(key)
    dots: list[Dot] = []
    for (layer, position), keys in cells.items():
        left, width = columns[position]
        per_line = max(1, min(_PER_LINE, int((width - 8) / _STEP)))
        shown = keys[: per_line * _LINES]
        for place, key in enumerate(shown):
            line, at = divmod(place, per_line)
            in_line = min(per_line, len(shown) - line * per_line)
            centre = left + width / 2 + (at - (in_line - 1) / 2) * _STEP
            n_lines = -(-len(shown) // per_line)
            middle = heights[layer] + row / 2 + (line - (n_lines - 1) / 2) * _STEP
            dots.append(Dot(centre, middle, _where(names[key]), _told(key, names[key], tokens)))
    bottom = _TOP + row * len(layers)
    counts = {where: sum(_where(name) == where for name in names.values()) for where in ("both", "a", "b")}
    return MemberMap(
        width=x + _RIGHT,
        height=bottom + _BOTTOM,
        dots=tuple(dots),
        tokens=tuple(
            Place(left + width / 2, shorten(_token(tokens, position), width - 8, _TEXT))
            for position, (left, width) in columns.items()
        ),
        layers=tuple(Place(top + row / 2, f"layer {layer}") for layer, top in heights.items()),
        hidden=len(names) - len(dots),
        description=f"{counts['both']} features are in both circuits, {counts['a']} in A alone, {counts['b']} in B alone.",
    )


def _where(names: dict[Where, str]) -> Where:
    return "both" if len(names) == 2 else "a" if "a" in names else "b"


def _told(key: tuple[int, int, int], names: dict[Where, str], tokens: Sequence[str]) -> str:
    layer, position, feature = key
    said = "; ".join(f"{where.upper()}: {name}" for where, name in sorted(names.items()))
    return f"feature {layer}/{feature} at '{_token(tokens, position)}' – {said}"


def _token(tokens: Sequence[str], position: int) -> str:
    return visible_token(tokens[position]) if position < len(tokens) else str(position)
