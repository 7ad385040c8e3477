"""Geometry of the page's plots, in pixels: bars and gaps for rows of tables, and score against cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tracescribe.agents.rendering.visible_text import text_width, visible_text

BAR_WIDTH, BAR_HEIGHT = 150.0, 16.0
_EDGE = 3.0
"""Room at both ends of a row's plot, so that marks at the ends of the scale are whole."""
N_MARKS = 8
"""Shapes and colours that agents are told apart by; a ninth agent begins again, and has its name beside it as all do."""

SCATTER_WIDTH, SCATTER_HEIGHT = 360.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, SCATTER_WIDTH - 12.0, 14.0, 226.0
_LABEL_SIZE, _LABEL_STEP, _LABEL_LONGEST = 11.5, 14.0, 20
MOST_TICKS = 6
_STEPS = (0.1, *(base * 10.0**power for power in range(-1, 300) for base in (2.0, 2.5, 5.0, 10.0)))


@dataclass(frozen=True)
class Bar:
    """A value with its interval on a scale.

    Attributes:
        start: where the bar begins: zero on the scale, or its nearest end.
        value, low, high: of value and interval, inside the picture.
        chance: of the permutation control; None where there is none.
    """

    start: float
    value: float
    low: float
    high: float
    chance: float | None = None


@dataclass(frozen=True)
class Scale:
    """What the rows of one table share.

    Attributes:
        first, last: values at both ends.
    """

    first: float
    last: float

    @classmethod
    def of(cls, values: Sequence[float], always: Sequence[float] = (0.0, 1.0)) -> Scale:
        """From the smallest to the largest of the values, and of those that it always holds."""
        held = [value for value in (*values, *always) if math.isfinite(value)]
        first, last = min(held, default=0.0), max(held, default=1.0)
        return cls(first, last if last > first else first + 1.0)

    def place(self, value: float) -> float:
        """Pixels from the left; a value beyond an end stands at that end."""
        share = (value - self.first) / (self.last - self.first) if math.isfinite(value) else 0.0
        return _EDGE + (BAR_WIDTH - 2 * _EDGE) * min(1.0, max(0.0, share))

    def bar(self, value: float, low: float, high: float, chance: float | None = None) -> Bar:
        """A value with its interval."""
        return Bar(
            start=self.place(0.0),
            value=self.place(value),
            low=self.place(low),
            high=self.place(high),
            chance=None if chance is None else self.place(chance),
        )


@dataclass(frozen=True)
class Tick:
    """A number on an axis; `at` in pixels along it."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """One agent in the plot of score against cost.

    Attributes:
        x, y: of its mark.
        low_y, high_y: of the score's interval.
        label_x, label_y, anchor: of its name; `anchor` as SVG has it.
        mark: which shape and colour, from 0.
    """

    x: float
    y: float
    low_y: float
    high_y: float
    name: str
    label_x: float
    label_y: float
    anchor: str
    mark: int


@dataclass(frozen=True)
class Scatter:
    """Score against cost.

    Attributes:
        best_up: whether larger scores stand higher, which they always do; the words say whether that is better.
    """

    dots: tuple[Dot, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    x_title: str
    y_title: str
    description: str


@dataclass(frozen=True)
class Point:
    """What is drawn of one agent: a cost above 0, and a score with its interval."""

    name: str
    cost: float
    value: float
    low: float
    high: float
    mark: int


def scatter(points: Sequence[Point], x_title: str, y_title: str) -> Scatter | None:
    """Lay out score against cost, costs by powers of ten; None where nobody has both."""
    shown = [p for p in points if p.cost > 0 and all(map(math.isfinite, (p.cost, p.value, p.low, p.high)))]
    if not shown:
        return None
    logs = [math.log10(p.cost) for p in shown]
    first, last = math.floor(min(logs) - 0.1), math.ceil(max(logs) + 0.1)
    bottom, top = min(0.0, *(p.low for p in shown)), max(1.0, *(p.high for p in shown))

    def x_of(cost: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (math.log10(cost) - first) / (last - first)

    def y_of(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (value - bottom) / (top - bottom)

    placed = [(p, x_of(p.cost), y_of(p.value)) for p in shown]
    heights = _spread([y for _, _, y in placed])
    dots = []
    for (point, x, y), label_y in zip(placed, heights, strict=True):
        name = _short(point.name)
        before = x + 9 + text_width(name, _LABEL_SIZE) > SCATTER_WIDTH
        label_x, anchor = (x - 9, "end") if before else (x + 9, "start")
        dots.append(
            Dot(x, y, y_of(point.low), y_of(point.high), name, label_x, label_y + 4, anchor, point.mark % N_MARKS)
        )
    told = "; ".join(f"{_short(p.name)}: {p.value:.2f} at {number(p.cost)}" for p in shown)
    return Scatter(
        dots=tuple(dots),
        across=tuple(Tick(x_of(cost), number(cost)) for cost in _round_costs(first, last)),
        up=tuple(Tick(y_of(value), number(value)) for value in _round_values(bottom, top)),
        x_title=x_title,
        y_title=y_title,
        description=f"{y_title} against {x_title}: {told}",
    )


def number(value: float) -> str:
    """A short number for an axis: 0.01, 1, 100, 1e6."""
    return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-") if abs(value) >= 1e5 else f"{value:.4g}"


def _round_costs(first: int, last: int) -> list[float]:
    """Powers of ten, fewer where there are many, with 2 and 5 between them where there are few."""
    step, between = max(1, math.ceil((last - first) / MOST_TICKS)), (1, 2, 5) if last - first <= 2 else (1,)
    every = [factor * 10.0**power for power in range(first, last + 1, step) for factor in between]
    return [cost for cost in every if cost <= 10.0**last]


def _short(name: str) -> str:
    text = visible_text(name)
    return text if len(text) <= _LABEL_LONGEST else text[: _LABEL_LONGEST - 1] + "…"


def _round_values(bottom: float, top: float) -> list[float]:
    step = next(step for step in _STEPS if (top - bottom) / step <= MOST_TICKS)
    start = math.ceil(bottom / step - 1e-9)
    return [round(k * step, 10) for k in range(start, math.floor(top / step + 1e-9) + 1)]


def _spread(heights: Sequence[float]) -> list[float]:
    """Heights of labels, moved apart where they would cover each other, their order kept, none outside the picture."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    step = min(_LABEL_STEP, (_BOTTOM - _TOP) / max(1, len(order)))
    found = list(heights)
    for before, here in pairwise(order):
        found[here] = max(found[here], found[before] + step)
    limit = _BOTTOM
    for i in reversed(order):
        found[i] = min(found[i], limit)
        limit = found[i] - step
    return found
