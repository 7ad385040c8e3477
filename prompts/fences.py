"""Data fences: how text that somebody else wrote stands in a prompt without becoming part of it.

A fence is a pair of lines with a boundary word derived from the content's hash. The content cannot hold its own
boundary: that is checked, and no author can choose a text that contains a hash of itself. No random draw is needed, so
the same content always gives the same prompt, and so the same request hash.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache

_BOUNDARY_DIGITS = 16
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Control, format (bidirectional marks, zero-width, tag characters), unassigned, private use, surrogate, line
separators."""
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks by category that nothing is drawn for: fillers, the grapheme joiner, the blank Braille cell."""
_SELECTORS = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
"""Variation selectors: 260 marks without a shape of their own, enough to carry any bytes behind one letter."""


def is_hidden(character: str) -> bool:
    """Whether a reader cannot see this character: it is not drawn, or it changes how others are. Newline and tab count."""
    if character.isascii():
        return not character.isprintable()
    return (
        unicodedata.category(character) in _HIDDEN_CATEGORIES
        or character in _BLANK_LETTERS
        or any(ord(character) in block for block in _SELECTORS)
    )


def visible(text: str) -> str:
    r"""The text with every character that a reader cannot see written out as `\u{hex}`; newline and tab stay.

    >>> visible("left\u202eright")
    'left\\u{202e}right'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


@lru_cache(maxsize=8192)
def _shown(character: str) -> str:
    """One character as it is shown; kept, because contexts hold the same few over and over."""
    return character if character in "\n\t" or not is_hidden(character) else f"\\u{{{ord(character):x}}}"


def capped(text: str, max_chars: int) -> str:
    """The text, or its first `max_chars` characters and a note of how many were cut."""
    if len(text) <= max_chars:
        return text
    return f"{text[:max_chars]}\n[cut: {len(text) - max_chars} more characters]"


def boundary_of(text: str) -> str:
    """A boundary word that does not occur in the text: `DATA-` and hexadecimal digits of the text's SHA-256."""
    round_number = 0
    while True:
        digest = hashlib.sha256(f"{round_number}\0{text}".encode()).hexdigest()
        boundary = f"DATA-{digest[:_BOUNDARY_DIGITS]}"
        if boundary not in text:
            return boundary
        round_number += 1


def fence(name: str, text: str, *, max_chars: int) -> str:
    """The text as a fenced block, made visible and capped.

    Args:
        name: what the block holds; stands on the opening line, so it must come from a template, not from data.
        text: anything.
        max_chars: longest content kept.
    """
    content = capped(visible(text), max_chars)
    boundary = boundary_of(content)
    return f"<<<{boundary} {name}\n{content}\n{boundary}>>>"
