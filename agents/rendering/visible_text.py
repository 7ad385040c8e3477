"""Text from prompts, graphs, contexts and models made fit to be seen: no invisible, control or reordering characters.

Escaping for HTML and SVG is the template engine's job; this module removes what escaping leaves dangerous or
unreadable, and estimates how wide a text is drawn.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

ELLIPSIS = "…"
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (zero-width and text-direction overrides), surrogate, private, unassigned, line separators."""
_KEPT_FORMAT = "\u200d"
"""The joiner that composed emoji and some scripts need; it cannot reorder text."""
_SPACES = {"\n": "⏎", "\r": "⏎", "\t": "⇥"}

_NARROW = frozenset("ijl.,:;|'`!I[]()/\\ ·")
_SEMI = frozenset('frt-"*{}°')
_WIDE = frozenset("mwMW@%—…&")
_EM_NARROW, _EM_SEMI, _EM_LOWER, _EM_UPPER, _EM_WIDE, _EM_IDEOGRAPH = 0.40, 0.46, 0.65, 0.78, 1.03, 1.05
_BOLD_FACTOR = 1.12


def visible_text(text: str) -> str:
    """The text with every control, format or unassigned character replaced by a visible `⟨U+XXXX⟩` mark.

    Line breaks and tabs become spaces. Keeps letters of all scripts, right-to-left ones included: pages isolate them.
    """
    if text.isascii() and text.isprintable():
        return text  # nearly all: a page shows tens of thousands of texts
    out: list[str] = []
    for char in text:
        if char in _SPACES:
            out.append(" ")
        elif char != _KEPT_FORMAT and unicodedata.category(char) in _HIDDEN_CATEGORIES:
            out.append(f"⟨U+{ord(char):04X}⟩")
        else:
            out.append(char)
    return "".join(out)


def visible_token(token: str) -> str:
    """A token as people read it: without the space that many tokenizers put in front; white space alone is drawn."""
    for char, sign in _SPACES.items():
        token = token.replace(char, sign)
    return visible_text(token.strip()) or "␣" * max(1, len(token))


def _em(char: str) -> float:
    if char in _NARROW:
        return _EM_NARROW
    if char in _SEMI:
        return _EM_SEMI
    if char in _WIDE:
        return _EM_WIDE
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in "WF" or unicodedata.category(char) == "So":
        return _EM_IDEOGRAPH * 1.3
    if char.isupper() or char.isdigit() or ord(char) > 0x2FF:
        return _EM_UPPER
    return _EM_LOWER


def text_width(text: str, size: float, bold: bool = False) -> float:
    """An upper estimate, in pixels, of a text's drawn width at a font size in pixels.

    A drawing that lays itself out without a browser cannot know the reader's font, so the widths are those of a wide
    one (DejaVu Sans): other fonts come out narrower and leave room, never overlap.
    """
    return sum(_em(char) for char in text) * size * (_BOLD_FACTOR if bold else 1.0)


def shorten(text: str, width: float, size: float, bold: bool = False) -> str:
    """The text cut, with an ellipsis, to fit a width in pixels."""
    unit = size * (_BOLD_FACTOR if bold else 1.0)
    wide, kept = 0.0, 0
    for place, char in enumerate(text):
        if (wide + _em(ELLIPSIS)) * unit <= width:
            kept = place
        wide += _em(char)
        if wide * unit > width:  # what comes behind is not looked at: a text may have a million letters
            return text[:kept].rstrip() + ELLIPSIS
    return text


def _split_word(word: str, width: float, size: float, bold: bool) -> Iterator[str]:
    """A word too wide for a line, in pieces that fit."""
    unit = size * (_BOLD_FACTOR if bold else 1.0)
    begin, wide = 0, 0.0
    for place, char in enumerate(word):
        em = _em(char)
        if place > begin and (wide + em) * unit > width:
            yield word[begin:place]
            begin, wide = place, 0.0
        wide += em
    yield word[begin:]


def wrap(text: str, width: float, size: float, max_lines: int, bold: bool = False) -> list[str]:
    """Break a text into at most `max_lines` lines that fit a width in pixels; the last ends in an ellipsis if cut.

    Args:
        width: pixels available to a line.
        size: font size in pixels.
    """
    lines: list[str] = [""]
    for piece in (piece for word in text.split() for piece in _split_word(word, width, size, bold)):
        joined = f"{lines[-1]} {piece}".strip()
        if text_width(joined, size, bold) <= width:
            lines[-1] = joined
        elif len(lines) == max_lines:
            lines[-1] = shorten(f"{lines[-1]} {piece}", width, size, bold)
            break
        else:
            lines.append(piece)
    return lines
