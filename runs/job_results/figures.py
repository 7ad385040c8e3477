"""Geometry of the plots of a job's page, in pixels: histograms, amounts over time, and intervals around zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 340.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, WIDTH - 12.0, 10.0, 140.0
GAP_WIDTH, GAP_HEIGHT = 150.0, 16.0
_EDGE = 4.0
_MOST_TICKS = 5


@dataclass(frozen=True)
class Tick:
    """A number on an axis; `at` in pixels along it."""

    at: float
    text: str


@dataclass(frozen=True)
class Column:
    """A column of a histogram, in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Plot:
    """A plot with its axes.

    Attributes:
        columns: of a histogram; empty for a line.
        path: of a line, as SVG has it; empty for a histogram.
        mark: pixels from the left of a mean; None for none.
        description: the same in words.
    """

    title: str
    x_title: str
    y_title: str
    columns: tuple[Column, ...]
    path: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    mark: float | None
    description: str


@dataclass(frozen=True)
class Gap:
    """A difference with its interval on a scale around zero, in pixels."""

    zero: float
    low: float
    value: float
    high: float


def histogram_plot(
    title: str, x_title: str, counts: Sequence[int], first: float, last: float, mean: float | None = None
) -> Plot | None:
    """Columns of a histogram; None where there is nothing to draw."""
    most = max(counts, default=0)
    if not most or not last > first:
        return None
    up = round_values(0.0, float(most))
    top = max(float(most), up[-1])
    step = (RIGHT - LEFT) / len(counts)
    columns = tuple(
        Column(LEFT + i * step + 0.5, _up(n, top), step - 1.0, BOTTOM - _up(n, top)) for i, n in enumerate(counts) if n
    )
    place = max(range(len(counts)), key=counts.__getitem__)
    width = (last - first) / len(counts)
    told = f"most between {number(first + place * width)} and {number(first + (place + 1) * width)}"
    return Plot(
        title=title,
        x_title=x_title,
        y_title="cases",
        columns=columns,
        path="",
        across=_across(first, last),
        up=tuple(Tick(_up(value, top), number(value)) for value in up),
        mark=None if mean is None else _over(mean, first, last),
        description=f"{sum(counts):,} cases by {x_title}; {told}" + ("" if mean is None else f", mean {number(mean)}"),
    )


def line_plot(title: str, x_title: str, y_title: str, points: Sequence[tuple[float, float]]) -> Plot | None:
    """A line through points in order; None where there are not two."""
    if len(points) < 2 or points[-1][0] <= points[0][0] or max(y for _, y in points) <= 0:
        return None
    first, last = points[0][0], points[-1][0]
    up = round_values(0.0, max(y for _, y in points))
    top = max(up[-1], max(y for _, y in points))
    drawn = " ".join(f"{_over(x, first, last):.1f},{_up(y, top):.1f}" for x, y in points)
    return Plot(
        title=title,
        x_title=x_title,
        y_title=y_title,
        columns=(),
        path="M" + drawn,
        across=_across(first, last),
        up=tuple(Tick(_up(value, top), number(value)) for value in up),
        mark=None,
        description=f"{y_title} against {x_title}: {number(points[-1][1])} after {number(last)}",
    )


def gap(value: float, low: float, high: float, widest: float) -> Gap:
    """A difference on a scale from `-widest` to `widest`."""

    def place(x: float) -> float:
        share = (x + widest) / (2 * widest) if widest > 0 else 0.5
        return _EDGE + (GAP_WIDTH - 2 * _EDGE) * min(1.0, max(0.0, share))

    return Gap(place(0.0), place(low), place(value), place(high))


def number(value: float) -> str:
    """A short number for an axis: 0.01, 1, 100, 5k, 1.5M, 1e+12."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1e12:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def round_values(bottom: float, top: float) -> list[float]:
    """A few round values that cover a range, both ends held where they are round."""
    if not top > bottom:
        return [bottom]
    size = 10.0 ** math.floor(math.log10((top - bottom) / _MOST_TICKS))
    step = next(size * f for f in (1.0, 2.0, 5.0, 10.0, 20.0) if (top - bottom) / (size * f) <= _MOST_TICKS)
    start, end = math.ceil(bottom / step - 1e-9), math.ceil(top / step - 1e-9)
    return [round(k * step, 12) for k in range(start, end + 1)]


def _across(first: float, last: float) -> tuple[Tick, ...]:
    return tuple(Tick(_over(x, first, last), number(x)) for x in round_values(first, last) if x <= last * (1 + 1e-9))


def _over(x: float, first: float, last: float) -> float:
    return LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, (x - first) / (last - first)))


def _up(y: float, top: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * min(1.0, y / top)
