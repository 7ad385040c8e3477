"""A strip plot of one experiment: every control set as a dot, the tested set as a marked line, the threshold dashed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.visible_text import text_width

WIDTH, HEIGHT = 280, 74
_LEFT, _RIGHT = 8.0, WIDTH - 8.0
_AXIS_Y, _TOP_Y = 54.0, 22.0
_DOT = 3.4
"""Pixels between neighbouring dots; a taller pile is pressed together to fit."""
_TEXT_SIZE = 11.5


@dataclass(frozen=True)
class StripPlot:
    """Geometry of a strip plot in pixels.

    Attributes:
        dots: centres of the control dots.
        values: the controls' effects, in the order of their dots.
        effect_x, threshold_x, zero_x: where the tested set, the threshold and zero stand.
        effect_label_x, threshold_label_x: middles of their captions, kept inside the picture.
        passed: whether the effect reaches the threshold.
    """

    dots: tuple[tuple[float, float], ...]
    values: tuple[float, ...]
    effect_x: float | None
    threshold_x: float | None
    zero_x: float
    effect_label_x: float
    threshold_label_x: float
    effect_text: str
    threshold_text: str
    passed: bool
    description: str


def _inside(x: float, text: str) -> float:
    half = text_width(text, _TEXT_SIZE, bold=True) / 2
    return min(max(x, _LEFT + half - 6), _RIGHT - half + 6)


def _pile(positions: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Dots stacked upward where they would cover each other, the lowest first."""
    piles: dict[int, int] = defaultdict(int)
    slots: list[tuple[int, int]] = []
    for x in sorted(positions):
        column = round(x / _DOT)
        slots.append((column, piles[column]))
        piles[column] += 1
    tallest = max(piles.values(), default=1)
    step = min(_DOT, (_AXIS_Y - _TOP_Y - 4) / tallest)
    return tuple((column * _DOT, _AXIS_Y - 2.5 - height * step) for column, height in slots)


def strip_plot(
    effect: float | None,
    threshold: float | None,
    controls: Sequence[float],
    one: str = "control set",
    words: Callable[[float], str] = numbers.effect,
) -> StripPlot | None:
    """Lay out a strip plot; None where there is nothing to show.

    Args:
        effect: of the tested set; None where the experiment failed.
        threshold: smallest effect that supports the claim, in the same units; None where nothing is needed.
        controls: effects of the control sets.
        one: what a control is called.
        words: an effect with its unit, as the numbers beside the plot have it.
    """
    finite = [value for value in controls if math.isfinite(value)]
    tested = effect if effect is not None and math.isfinite(effect) else None
    if not finite and tested is None:
        return None
    shown = [*finite, 0.0, *(value for value in (threshold, tested) if value is not None)]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    low, high = low - 0.03 * span, high + 0.03 * span

    def place(value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low)

    effect_text = f"tested {words(tested)}" if tested is not None else "no measurement"
    threshold_text = f"needed {words(threshold)}" if threshold is not None else ""
    threshold_x = place(threshold) if threshold is not None else None
    effect_x = place(tested) if tested is not None else None
    larger = sum(value >= tested for value in finite) if tested is not None else 0
    return StripPlot(
        dots=_pile([place(value) for value in finite]),
        values=tuple(sorted(finite)),
        effect_x=effect_x,
        threshold_x=threshold_x,
        zero_x=place(0.0),
        effect_label_x=_inside(effect_x if effect_x is not None else WIDTH / 2, effect_text),
        threshold_label_x=_inside(threshold_x if threshold_x is not None else WIDTH / 2, threshold_text),
        effect_text=effect_text,
        threshold_text=threshold_text,
        passed=tested is not None and threshold is not None and tested >= threshold,
        description=(
            f"{effect_text}{', ' if threshold_text else ''}{threshold_text}; {numbers.count(larger)} of "
            f"{numbers.counted(len(finite), one)} "
            "did as much or more"
        ),
    )
