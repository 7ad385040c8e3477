"""How edits are written on a command line: `LAYER/FEATURE@POSITION`, a position being a number or a word of the prompt.

1/34@7        feature 34 of layer 1 at position 7 (position 0 is the token that begins every prompt)
1/34@-1       the same at the last position
1/34@Dallas   the same at the one position where the prompt says 'Dallas'
1@Dallas      for swaps: every feature of layer 1 there
@Dallas       for swaps: every feature of every layer there
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tracescribe.tracer.errors import InputError
from tracescribe.tracer.graph import FeatureNode, FeatureRef

_REF = re.compile(r"(\d{1,9})/(\d{1,9})")
_PLACE = re.compile(r"(?:(\d{1,9})(?:/(\d{1,9}))?)?@(.+)")


@dataclass(frozen=True)
class Place:
    """Where a swap acts: one feature, a layer, or all layers, at one position; None stands for all."""

    layer: int | None
    feature: int | None
    position: int


def parse_ref(text: str) -> FeatureRef:
    """`LAYER/FEATURE`.

    Raises:
        InputError: the text is not of this form.
    """
    match = _REF.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} names no feature; write LAYER/FEATURE, for example 1/34")
    return FeatureRef(int(match[1]), int(match[2]))


def parse_place(text: str, tokens: Sequence[str]) -> Place:
    """`LAYER/FEATURE@POSITION`, `LAYER@POSITION` or `@POSITION`.

    Args:
        text: what was written.
        tokens: of the prompt, `[n_pos]`.

    Raises:
        InputError: the text is not of this form, or names no position of the prompt.
    """
    match = _PLACE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} names no place; write LAYER/FEATURE@POSITION, for example 1/34@7 or 1/34@Dallas")
    layer, feature = (None if group is None else int(group) for group in match.group(1, 2))
    return Place(layer, feature, parse_position(match[3], tokens))


def parse_node(text: str, tokens: Sequence[str]) -> FeatureNode:
    """`LAYER/FEATURE@POSITION`, complete.

    Raises:
        InputError: the text is not of this form, or names no position of the prompt.
    """
    place = parse_place(text, tokens)
    if place.layer is None or place.feature is None:
        raise InputError(f"{text!r} names no single feature; write LAYER/FEATURE@POSITION, for example 1/34@7")
    return FeatureNode(place.layer, place.position, place.feature)


def parse_setting(text: str, tokens: Sequence[str]) -> tuple[FeatureNode, float]:
    """`LAYER/FEATURE@POSITION=NUMBER`.

    Raises:
        InputError: the text is not of this form, or the number is not finite.
    """
    node, equals, number = text.rpartition("=")
    try:
        value = float(number) if equals else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{text!r} gives no number; write LAYER/FEATURE@POSITION=NUMBER, for example 1/34@Dallas=2.5")
    return parse_node(node, tokens), value


def parse_position(text: str, tokens: Sequence[str]) -> int:
    """A position from a number (negative counts from the end) or from a word that stands once in the prompt.

    Raises:
        InputError: outside the prompt, or a word that stands there never or more than once.
    """
    n_pos = len(tokens)
    if re.fullmatch(r"-?\d{1,9}", text):
        position = int(text)
        if not -n_pos <= position < n_pos:
            raise InputError(f"position {position} is outside the prompt; it has positions 0 to {n_pos - 1}")
        return position % n_pos
    found = [i for i, token in enumerate(tokens) if token.strip() == text]
    if len(found) != 1:
        count = "more than once" if found else "nowhere"
        where = f" (positions {', '.join(map(str, found))})" if found else ""
        raise InputError(f"the word {text!r} stands {count} in the prompt{where}; give the position as a number")
    return found[0]
