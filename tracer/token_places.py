"""Where tokens stand in the text that they were cut from."""

from __future__ import annotations

from collections.abc import Sequence

_WIDEST_GAP = 4
"""Characters between two tokens of a text: white space."""
_MOST_MARKS = 2
"""Tokens that no text holds: marks of its beginning and its end."""


def places_of(tokens: Sequence[str], text: str) -> list[tuple[int, int]] | None:
    """Start and end of each token; marks that are not in the text, such as BOS, stand nowhere.

    Returns:
        None where the tokens are not those of the text.
    """
    places: list[tuple[int, int]] = []
    at = missing = 0
    for token in tokens:
        word = token.strip()
        start = text.find(word, at) if word else at
        if start < 0 or start - at > _WIDEST_GAP:
            missing += 1
            places.append((at, at))
            continue
        at = start + len(word)
        places.append((start, at))
    return places if missing <= _MOST_MARKS else None
