"""Text as both databases can store it, and as somebody can see it."""

from __future__ import annotations

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"})
"""Categories of what leaves nothing on a page by itself: controls, zero-width and direction marks, spaces, accents alone."""
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that are drawn as nothing."""
_IGNORED = range(0xE0000, 0xE1000)
"""Code points that are never drawn, assigned or not."""


def storable(text: str, most: int | None = None) -> str:
    """A text without lone surrogates, which are no UTF-8, and without NUL, which PostgreSQL refuses.

    Args:
        most: characters that are kept; None for all.
    """
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")[:most]


def is_seen(text: str) -> bool:
    """Whether anything of a text can be seen."""
    return any(
        char not in _FILLERS and ord(char) not in _IGNORED and unicodedata.category(char) not in _UNSEEN
        for char in text
    )
