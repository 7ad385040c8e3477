"""JSON from outside, read strictly: what readers disagree about, and what could not be written again, is refused."""

from __future__ import annotations

import json
import re
from typing import Any

from tracescribe.prompts.fences import visible
from tracescribe.tracer.redaction import current_redactor

MAX_DEPTH = 32
"""Objects and lists within one another: an answer has five."""
_SHOWN = 160
_SEARCHED = 1 << 16


def read_object(line: bytes) -> dict[str, Any]:
    """One JSON object.

    Raises:
        ValueError: it is none; the message says why, in one line.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    _check_depth(text)
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}: {shown(text[error.pos :], 40)}") from None
    if not isinstance(found, dict):
        raise ValueError(f"a JSON object was expected, found a {_NAMES[type(found)]}")  # noqa: TRY004 - of the text
    if "\\ud" in text.lower():
        _check_text(found)
    return found


def shown(text: str, most: int = _SHOWN) -> str:
    """Foreign text as a message may hold it: on one line, with nothing hidden in it, cut where it runs long."""
    clean = current_redactor().text(text[:_SEARCHED])  # before it is cut: half a key is not known for one
    flat = " ".join(visible(clean[: 4 * most]).split())
    return flat if len(flat) <= most else f"{flat[:most]}..."


_NAMES: dict[type, str] = {
    list: "list",
    str: "string",
    int: "number",
    float: "number",
    bool: "truth value",
    type(None): "null",
}


_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[{]|[\]}]', re.DOTALL)
"""Strings, which may hold brackets, and brackets; a string that never ends is one, so that this takes linear time."""


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the parser recurses into it; brackets inside strings do not count."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        first = match.group()[0]
        depth += (first in "[{") - (first in "]}")
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _check_text(found: dict[str, Any]) -> None:
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a string holds half of a surrogate pair, which is no character") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice, 40)!r} stands twice in one object")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
