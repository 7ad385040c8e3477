"""The circuit as an SVG drawing, for the page and as a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracescribe.agents.findings import Outcome
from tracescribe.agents.rendering import boxes, layout, numbers
from tracescribe.agents.rendering.boxes import Box
from tracescribe.agents.rendering.circuit import Circuit, Step
from tracescribe.agents.rendering.layout import Placement
from tracescribe.agents.rendering.routes import Route, route
from tracescribe.agents.rendering.templating import render_markup
from tracescribe.agents.rendering.visible_text import text_width


@dataclass(frozen=True)
class Mark:
    """One verdict mark in a box: how many claims came out so, and where the mark stands."""

    outcome: Outcome
    count: int
    x: float
    y: float


@dataclass(frozen=True)
class DrawnStep:
    """A step with everything that its box shows; coordinates in pixels, baselines for text."""

    step: Step
    box: Box
    lines: tuple[tuple[str, float], ...]
    role_y: float
    marks_y: float
    marks: tuple[Mark, ...]
    title: str


@dataclass(frozen=True)
class DrawnLabel:
    """A token or output: its box, its lines of text, and the full text for a pointer that rests on it."""

    box: Box
    lines: tuple[str, ...]
    title: str


@dataclass(frozen=True)
class DrawnRoute:
    """A link with its explanation in words."""

    route: Route
    title: str


def _drawn_step(step: Step, placement: Placement) -> DrawnStep:
    box, lines = placement.boxes[step.node], placement.lines[step.node]
    first = box.y + boxes.PAD + boxes.LABEL_SIZE - 2
    placed = tuple((line, first + i * boxes.LABEL_LINE) for i, line in enumerate(lines))
    role_y = placed[-1][1] + boxes.SMALL_LINE
    marks_y = role_y + boxes.MARK_ROW - 12
    x = box.x + boxes.PAD
    marks: list[Mark] = []
    for outcome, count in step.outcomes:
        marks.append(Mark(outcome, count, x, marks_y))
        x += boxes.MARK_SIZE + 10 + text_width("00", boxes.SMALL_SIZE)
    low, high = step.layers
    layers = f"layer {low}" if low == high else f"layers {low} to {high}"
    verdicts = ", ".join(f"{count} {outcome}" for outcome, count in step.outcomes) or "no claim tested"
    role = f"rejected, taken for {step.role}" if step.rejected else step.role
    share = "" if step.influence is None else f", {numbers.percent(step.influence)} of the influence"
    title = f"{step.label}: {role}, {layers}{share}; {verdicts}"
    return DrawnStep(step, box, placed, role_y, marks_y, tuple(marks), title)


def names_of(circuit: Circuit) -> Mapping[str, str]:
    """What people call each drawn thing, by node id."""
    names = {token.node: f"“{token.text}” (prompt)" for token in circuit.tokens}
    names |= {step.node: step.label for step in circuit.steps}
    names |= {output.node: f"“{output.text}” (output)" for output in circuit.outputs}
    return names


def _drawn_routes(circuit: Circuit, placement: Placement) -> tuple[DrawnRoute, ...]:
    names = names_of(circuit)
    outputs = frozenset(output.node for output in circuit.outputs)

    def title(item: Route) -> str:
        link = item.link
        text = f"{names[link.source]} → {names[link.destination]}: {numbers.signed(link.weight)}"
        return f"{text}; claim {link.claim} {link.outcome}" if link.outcome else text

    return tuple(DrawnRoute(item, title(item)) for item in route(circuit.links, placement, outputs))


@dataclass(frozen=True)
class Drawing:
    """A circuit with the place of everything in it, ready to be written as SVG."""

    placement: Placement
    tokens: tuple[DrawnLabel, ...]
    outputs: tuple[DrawnLabel, ...]
    steps: tuple[DrawnStep, ...]
    routes: tuple[DrawnRoute, ...]

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.placement.width


def draw(circuit: Circuit) -> Drawing:
    """Lay a circuit out and route its links."""
    placement = layout.lay_out(circuit)
    tokens = tuple(
        DrawnLabel(placement.boxes[token.node], placement.lines[token.node], f"token {token.position}: {token.text}")
        for token in circuit.tokens
        if token.node in placement.boxes
    )
    outputs = tuple(
        DrawnLabel(
            placement.boxes[output.node],
            (*placement.lines[output.node], numbers.percent(output.probability)),
            f"{output.text}: {numbers.percent(output.probability)}",
        )
        for output in circuit.outputs
    )
    steps = tuple(_drawn_step(step, placement) for step in circuit.steps)
    return Drawing(placement, tokens, outputs, steps, _drawn_routes(circuit, placement))


def svg_of(drawing: Drawing, *, standalone: bool) -> str:
    """A drawing as SVG text.

    Args:
        drawing: from `draw`.
        standalone: True for a file of its own, which carries its styles and has no links; False for a part of the page.
    """
    return render_markup("circuit.svg", drawing=drawing, standalone=standalone)
