"""Line charts on logarithmic axes, as one plain SVG file: no drawing library is needed for this."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.benchmarks import calls

if TYPE_CHECKING:
    from tracescribe.runs.benchmarks.tracing import TracerBench, TracerCase

WIDTH, HEIGHT = 460, 330
"""Of one panel, in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 92
_COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7a4e9f", "#b8860b", "#444444")
_LINE = 14  # pixels of one line of the legend


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: for the legend.
        points: x and y, all above zero.
        dashed: whether it is drawn dashed, as references are.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart: both axes logarithmic."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]


def draw_tracer(bench: TracerBench, path: Path) -> None:
    """Draw time and memory against the length of the prompt.

    Raises:
        OutputError: the file cannot be written.
    """

    def curves(figure: str) -> tuple[Curve, ...]:
        found: list[Curve] = []
        for kind, width in dict.fromkeys((case.kind, case.n_features) for case in bench.cases):
            cases = [case for case in bench.cases if (case.kind, case.n_features) == (kind, width)]
            for name in (calls.TRACE, calls.PIPELINE, calls.REFERENCE_TRACE, calls.REFERENCE_PIPELINE):
                points = [(float(case.n_pos), y) for case in cases if (y := value(case, figure, name))]
                if points:
                    dashed = name in (calls.REFERENCE_TRACE, calls.REFERENCE_PIPELINE)
                    found.append(Curve(f"{kind} {width}: {name}", tuple(points), dashed))
        return tuple(found)

    def value(case: TracerCase, figure: str, name: str) -> float:
        if figure == "memory":
            return case.memory[name].additional / 1e6 if name in case.memory else 0.0
        return case.seconds(bench.clock, name) if name in case.timings else 0.0

    panels = [Panel("time", "tokens", f"{bench.clock} seconds", curves("time"))]
    if any(case.memory for case in bench.cases):
        panels.append(Panel("peak memory", "tokens", "MB beyond the loaded pair", curves("memory")))
    write_chart(path, panels)


def write_chart(path: Path, panels: Sequence[Panel]) -> None:
    """Write panels side by side.

    Raises:
        OutputError: the file cannot be written.
    """
    from tracescribe.tracer.provenance import write_text_atomic

    write_text_atomic(path, chart_svg(panels))


def chart_svg(panels: Sequence[Panel]) -> str:
    """Panels side by side as an SVG document."""
    height = HEIGHT + _LINE * max(0, max(len(panel.curves) for panel in panels) - 4)
    width = WIDTH * len(panels)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, panel in enumerate(panels):
        parts.append(f'<g transform="translate({index * WIDTH} 0)">{_panel(panel)}</g>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> str:
    from html import escape

    points = [point for curve in panel.curves for point in curve.points]
    x_axis = _Axis.of([x for x, _ in points], _LEFT, WIDTH - _RIGHT)
    y_axis = _Axis.of([y for _, y in points], HEIGHT - _BOTTOM, _TOP)
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = [f'<text x="{_LEFT}" y="20" font-size="13" font-weight="bold">{escape(panel.title)}</text>']
    for tick in sorted({x for x, _ in points}):
        x = x_axis.at(tick)
        parts.append(f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#eee"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>')
    for tick in y_axis.decades():
        y = y_axis.at(tick)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#333"/>')
    middle = (_LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 29}" text-anchor="middle">{escape(panel.x_label)}</text>')
    turn = f"rotate(-90 14 {(_TOP + bottom) / 2})"
    parts.append(
        f'<text x="14" y="{(_TOP + bottom) / 2}" text-anchor="middle" transform="{turn}">{escape(panel.y_label)}</text>'
    )
    for index, curve in enumerate(panel.curves):
        colour = _COLOURS[index % len(_COLOURS)]
        dash = ' stroke-dasharray="5 3"' if curve.dashed else ""
        steps = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in curve.points)
        parts.append(f'<polyline points="{steps}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        for x, y in curve.points:
            parts.append(f'<circle cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="2.5" fill="{colour}"/>')
        row = bottom + 46 + _LINE * index
        parts.append(f'<path d="M{_LEFT} {row - 4}h22" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{_LEFT + 28}" y="{row}">{escape(curve.name)}</text>')
    return "\n".join(parts)


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis from a value at one pixel to another value at another pixel."""

    low: float
    high: float
    begin: float
    end: float

    @classmethod
    def of(cls, values: Sequence[float], begin: float, end: float) -> _Axis:
        """An axis that holds the values with a little room on both sides."""
        low, high = min(values, default=1.0), max(values, default=10.0)
        return cls(low / 1.25, high * 1.25, begin, end)

    def at(self, value: float) -> float:
        """Pixel of a value."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.begin + share * (self.end - self.begin)

    def decades(self) -> list[float]:
        """Round numbers within the axis: powers of ten, with 2 and 5 where there are few."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1,), (1, 2, 5)):
            found = [s * 10.0**p for p in powers for s in steps if self.low <= s * 10.0**p <= self.high]
            if len(found) >= 3:
                break
        return found
