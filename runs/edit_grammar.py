"""How edits are written on a command line: `LAYER/FEATURE@POSITION`, a position being a number or a word of the prompt.

1/34@7            feature 34 of layer 1 at position 7 (position 0 is the token that begins every prompt)
1/34@-1           the same at the last position
1/34@Dallas       the same at the one position where the prompt says 'Dallas'
1/34@3:           the same from position 3 on, on generated tokens too; 3:5 at positions 3 and 4
1/34@7,1/35@7     a supernode: several features as one
1@Dallas          for swaps: every feature of layer 1 there; for errors: that layer's error
@Dallas           for swaps: every feature of every layer there
1/resid_mid@7     for directions: the residual stream of layer 1 between attention and MLP
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from tracescribe.tracer.errors import InputError
from tracescribe.tracer.graph import FeatureNode, FeatureRef

_REF = re.compile(r"(\d{1,9})/(\d{1,9})")
_PLACE = re.compile(r"(?:(\d{1,9})(?:/(\d{1,9}))?)?@(.+)")
_SITE = re.compile(r"(\d{1,9})/(\d{1,9})@(.+)")
_LAYER = re.compile(r"(\d{1,9})@(.+)")
_STREAM = re.compile(r"(\d{1,9})/(resid_pre|resid_mid|resid_post)@(.+)")
_SPAN = re.compile(r"(\d{1,9}):(\d{1,9})?")
_NEXT_MEMBER = re.compile(r",(?=\d{1,9}/\d{1,9}@)")

Position = int | slice
"""One position, or those from a start on."""


@dataclass(frozen=True)
class Place:
    """Where a swap acts: one feature, a layer, or all layers, at one position; None stands for all."""

    layer: int | None
    feature: int | None
    position: int


@dataclass(frozen=True)
class Site:
    """One feature at one position or several.

    Attributes:
        layer, feature: which.
        position: where; an open slice also covers generated tokens.
    """

    layer: int
    feature: int
    position: Position


@dataclass(frozen=True)
class StreamSite:
    """A place in the residual stream: a layer, a point in it, a position or several."""

    layer: int
    point: Literal["resid_pre", "resid_mid", "resid_post"]
    position: Position


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


def parse_sites(text: str, tokens: Sequence[str]) -> tuple[Site, ...]:
    """`LAYER/FEATURE@POSITION`, or several with commas between them: a supernode.

    Raises:
        InputError: a part is not of this form, or names no position of the prompt.
    """
    sites = []
    for part in _NEXT_MEMBER.split(text.strip()):
        match = _SITE.fullmatch(part)
        if match is None:
            raise InputError(f"{part!r} names no single feature; write LAYER/FEATURE@POSITION, for example 1/34@7")
        sites.append(Site(int(match[1]), int(match[2]), parse_span(match[3], tokens)))
    return tuple(sites)


def parse_layer_site(text: str, tokens: Sequence[str]) -> tuple[int, Position]:
    """`LAYER@POSITION`.

    Raises:
        InputError: the text is not of this form, or names no position of the prompt.
    """
    match = _LAYER.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} names no layer and position; write LAYER@POSITION, for example 1@7")
    return int(match[1]), parse_span(match[2], tokens)


def parse_stream_site(text: str, tokens: Sequence[str]) -> StreamSite:
    """`LAYER/POINT@POSITION`.

    Raises:
        InputError: the text is not of this form, or names no position of the prompt.
    """
    match = _STREAM.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"{text!r} names no place in the residual stream; write LAYER/POINT@POSITION with the point resid_pre, "
            "resid_mid or resid_post, for example 1/resid_post@7"
        )
    point = cast(Literal["resid_pre", "resid_mid", "resid_post"], match[2])
    return StreamSite(int(match[1]), point, parse_span(match[3], tokens))


def split_number(text: str, form: str, example: str) -> tuple[str, float]:
    """What stands before the last `=`, and the number behind it.

    Args:
        text: what was written.
        form, example: what to write, for the error.

    Raises:
        InputError: there is no finite number.
    """
    place, equals, number = text.rpartition("=")
    try:
        value = float(number) if equals else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{text!r} gives no number; write {form}=NUMBER, for example {example}")
    return place, value


def parse_setting(text: str, tokens: Sequence[str]) -> tuple[tuple[Site, ...], float]:
    """`LAYER/FEATURE@POSITION=NUMBER`, for one feature or a supernode.

    Raises:
        InputError: the text is not of this form, or the number is not finite.
    """
    places, value = split_number(text, "LAYER/FEATURE@POSITION", "1/34@Dallas=2.5")
    return parse_sites(places, tokens), value


def parse_span(text: str, tokens: Sequence[str]) -> Position:
    """A position as `parse_position` takes it, or `START:` or `START:STOP`.

    Raises:
        InputError: outside the prompt, empty, or a word that stands there never or more than once.
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        return parse_position(text, tokens)
    start, stop = int(match[1]), None if match[2] is None else int(match[2])
    if start > len(tokens) or (stop is not None and not start < stop <= len(tokens)):
        raise InputError(f"positions {text} do not lie in the prompt; it has positions 0 to {len(tokens) - 1}")
    return slice(start, stop)


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
