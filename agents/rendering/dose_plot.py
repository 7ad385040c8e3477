"""A dose-response curve: the effect of steering at every dose, the claim's own dose marked, the threshold dashed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tracescribe.agents.findings import DosePoint
from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.visible_text import text_width

WIDTH, HEIGHT = 280, 132
_LEFT, _RIGHT, _TOP, _BOTTOM = 16.0, WIDTH - 16.0, 26.0, 96.0
_TEXT_SIZE = 11.5


@dataclass(frozen=True)
class Tick:
    """A dose written under the axis."""

    x: float
    text: str


@dataclass(frozen=True)
class DosePlot:
    """Geometry of a dose-response curve in pixels.

    Attributes:
        points: measured doses, from the smallest multiplier.
        own: the claim's own dose.
        path: corners of the line through all of them, as SVG wants them.
        threshold_y, zero_y: where the least effect and no effect stand.
        own_label_x, own_label_y: middle and baseline of the caption of the claim's own dose.
    """

    points: tuple[tuple[float, float], ...]
    own: tuple[float, float]
    path: str
    threshold_y: float
    zero_y: float
    ticks: tuple[Tick, ...]
    own_text: str
    own_label_x: float
    own_label_y: float
    description: str


def _inside(x: float, text: str) -> float:
    half = text_width(text, _TEXT_SIZE, bold=True) / 2
    return min(max(x, half + 2), WIDTH - half - 2)


def _ticks(places: Sequence[tuple[float, float]]) -> tuple[Tick, ...]:
    """Doses written under the axis: the ends first, then those that still find room."""
    written: list[tuple[float, float, Tick]] = []
    for dose, x in [places[0], places[-1], *places[1:-1]]:
        text = f"×{numbers.number(dose)}"
        centre, half = _inside(x, text), text_width(text, _TEXT_SIZE) / 2 + 3
        if all(centre + half <= low or centre - half >= high for low, high, _ in written):
            written.append((centre - half, centre + half, Tick(centre, text)))
    return tuple(sorted((tick for _, _, tick in written), key=lambda tick: tick.x))


def dose_plot(
    doses: Sequence[DosePoint],
    multiplier: float,
    effect: float | None,
    threshold: float,
    words: Callable[[float], str] = numbers.effect,
) -> DosePlot | None:
    """Lay out a dose-response curve; None where there is no curve to show.

    Args:
        doses: measured besides the claim's own.
        multiplier: the claim's own dose.
        effect: at that dose, in units of the metric; None where the experiment failed.
        threshold: smallest effect that supports the claim.
        words: an effect with its unit.
    """
    if not doses or effect is None or not math.isfinite(effect):
        return None
    values = {dose.multiplier: dose.effect for dose in doses if math.isfinite(dose.effect)} | {multiplier: effect}
    if len(values) < 2:
        return None
    ordered = sorted(values.items())
    lowest, highest = min(*values.values(), threshold, 0.0), max(*values.values(), threshold, 0.0)
    first, last = ordered[0][0], ordered[-1][0]

    def place(dose: float, value: float) -> tuple[float, float]:
        across = _LEFT + (_RIGHT - _LEFT) * (dose - first) / (last - first)
        return across, _BOTTOM - (_BOTTOM - _TOP) * (value - lowest) / ((highest - lowest) or 1.0)

    points = [place(dose, value) for dose, value in ordered]
    own = place(multiplier, effect)
    own_text = f"{words(effect)} at ×{numbers.number(multiplier)}"
    told = ", ".join(f"{words(value)} at {numbers.number(dose)}" for dose, value in ordered)
    return DosePlot(
        points=tuple(points),
        own=own,
        path=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        threshold_y=place(first, threshold)[1],
        zero_y=place(first, 0.0)[1],
        ticks=_ticks([(dose, point[0]) for (dose, _), point in zip(ordered, points, strict=True)]),
        own_text=own_text,
        own_label_x=_inside(own[0], own_text),
        own_label_y=own[1] - 9 if own[1] > _TOP else 12.0,
        description=f"effect by dose: {told}; needed {words(threshold)}",
    )
