"""Sentences put together from words and numbers, so that every number keeps the place where the report holds its value."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tracescribe.agents.reporting.report_model import Sentence
from tracescribe.agents.reporting.report_numbers import SourcedNumber


@dataclass(frozen=True)
class Number:
    """A number as written, and the JSON Pointer to its value."""

    text: str
    source: str


Piece = str | Number
Phrase = tuple[Piece, ...]
"""Words and numbers, in order."""


def phrase(*parts: Piece | Phrase) -> Phrase:
    """One phrase of pieces and phrases."""
    out: list[Piece] = []
    for part in parts:
        out.extend(part if isinstance(part, tuple) else (part,))
    return tuple(out)


def joined(phrases: list[Phrase], between: str, last: str | None = None) -> Phrase:
    """Phrases one after another with words between them, and others before the last one."""
    out: list[Piece | Phrase] = []
    for place, part in enumerate(phrases):
        if place:
            out.append(last if last is not None and place == len(phrases) - 1 else between)
        out.append(part)
    return phrase(*out)


def sentence(said: Phrase, claims: tuple[str, ...]) -> Sentence:
    """The sentence that a phrase makes, resting on these claims."""
    return Sentence(
        text="".join(piece if isinstance(piece, str) else piece.text for piece in said),
        claims=claims,
        numbers=tuple(SourcedNumber(text=p.text, source=p.source) for p in said if isinstance(p, Number)),
    )


def probability(value: float | None, source: str) -> Piece:
    """A probability, p or q value: two decimals, three below one in ten; `?` where unknown."""
    if value is None or not math.isfinite(value):
        return "?"
    text = f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
    return Number(text.removeprefix("0"), source)


def percent(value: float, source: str) -> Piece:
    """A share in whole per cent."""
    return Number(f"{value:.0%}", source)


def amount(value: float, source: str) -> Piece:
    """A quantity in two significant digits, whole from one hundred on, in thousandths below a hundredth."""
    if abs(value) < 0.01:
        return Number(f"{value:.3f}" if value else "0", source)
    return Number(f"{value:.0f}" if abs(value) >= 99.5 else f"{value:.2g}", source)


def count(value: int, source: str) -> Piece:
    """A whole number."""
    return Number(str(value), source)
