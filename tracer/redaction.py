"""Cuts secrets and personal data out of whatever is written: one redactor for texts, JSON values and tokens.

What is cut is replaced by a placeholder such as `[redacted email]`, which no pattern looks into: redacting twice gives
what redacting once gave. Secrets (keys of the environment, and whatever is shaped like one) are always cut; of personal
data, what a job's specification names.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.pattern_rules import Pattern, own_pattern
from tracescribe.tracer.personal_patterns import PERSONAL
from tracescribe.tracer.secret_patterns import SECRET_FIELDS, SHAPES, exact_pattern, is_secret, secrets_of
from tracescribe.tracer.token_places import places_of

__all__ = ["PLACEHOLDER", "Redactor", "current_redactor", "redacting", "redactor_of", "secrets_redactor"]

PLACEHOLDER = re.compile(r"\[redacted [a-z][a-z0-9_]{0,39}\]")
"""What stands for something cut."""
_SHORTEST = 5
"""Characters of the shortest thing that a built-in pattern matches."""
_MOST_ROUNDS = 6
"""Rounds in which what was hidden by what was cut beside it is looked for; hostile text that still has matches is cut
whole."""


@dataclass(frozen=True)
class _Cut:
    """Characters that are replaced."""

    start: int
    end: int
    name: str


class Redactor:
    """Cuts what patterns and known secrets match. Immutable, and safe to use from several threads.

    Args:
        patterns: personal data, searched beside the shapes of secrets, which always are.
        secrets: exact values that must never be written; words are none, nor what is too short.
        shapes: whether whatever is shaped like a secret is cut too.
    """

    def __init__(self, patterns: Iterable[Pattern] = (), secrets: Iterable[str] = (), *, shapes: bool = True) -> None:
        self._personal = tuple(patterns)
        self._secrets = tuple(dict.fromkeys(secret for secret in secrets if is_secret(secret)))
        self._shapes = SHAPES if shapes else ()
        self._patterns = (*map(_exact, self._secrets), *self._shapes, *self._personal)
        self._shortest = _SHORTEST if all(pattern in PERSONAL.values() for pattern in self._personal) else 1

    def with_secrets(self, *secrets: str) -> Redactor:
        """The same redactor, which also knows these secrets."""
        new = [secret for secret in secrets if is_secret(secret) and secret not in self._secrets]
        shapes = bool(self._shapes)
        return Redactor(self._personal, (*self._secrets, *new), shapes=shapes) if new else self

    def text(self, text: str) -> str:
        """A text without what must not be written.

        A text that is JSON stays JSON: quotes and whole escapes are left where they are.
        """
        cuts = self._cuts(text)
        if not cuts:
            return text
        parts: list[str] = []
        at = 0
        for cut in cuts:
            parts += [text[at : cut.start], f"[redacted {cut.name}]"]
            at = cut.end
        return "".join([*parts, text[at:]])

    def value(self, value: Any) -> Any:
        """A JSON value without what must not be written: every text in it, keys of objects too; numbers stay.

        Fields that are named like secrets (`password`, `api_key`, `authorization`) lose their whole value. Two keys
        that become the same are told apart by a number.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            cleaned: dict[Any, Any] = {}
            for key, inner in value.items():
                cleaned[self._key(key, cleaned)] = self.field(key, inner)
            return cleaned
        if isinstance(value, tuple):
            return tuple(map(self.value, value))
        return [self.value(inner) for inner in value] if isinstance(value, list) else value

    def json_text(self, text: str) -> str:
        """A text that may be JSON: what its strings say is redacted, also where it is written in escapes.

        A text without anything to cut comes back as it was, byte for byte.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return self.text(text)
        cleaned = self.value(value)
        return self.text(text) if cleaned == value else self.text(json.dumps(cleaned, ensure_ascii=False))

    def tokens(self, tokens: Sequence[str], text: str | None = None) -> tuple[str, ...]:
        """Tokens without what must not be written; as many as before.

        They are searched together, so that what spans several tokens is found, and each by itself; every token that has
        a part in a match is replaced whole.

        Args:
            text: that was cut into these tokens; None, or a text in which they are not found, searches what they make
                when nothing stands between them.
        """
        spans = None if text is None else places_of(tokens, text)
        if spans is None:
            ends = list(accumulate(map(len, tokens)))
            text, spans = "".join(tokens), list(zip([0, *ends], ends, strict=False))
        assert text is not None
        cleaned = [self.text(token) for token in tokens]
        cuts = iter(self._cuts(text))
        cut = next(cuts, None)
        for number, (start, end) in enumerate(spans):
            while cut is not None and cut.end <= start:
                cut = next(cuts, None)
            if cut is not None and cut.start < end and start < cut.end and not PLACEHOLDER.search(tokens[number]):
                cleaned[number] = f"[redacted {cut.name}]"
        return tuple(cleaned)

    def found(self, text: str) -> Counter[str]:
        """How often each pattern cuts something from a text."""
        return Counter(cut.name for cut in self._cuts(text))

    def touches(self, texts: Iterable[str]) -> bool:
        """Whether anything would be cut from any of these texts; they are searched together, a text a line."""
        return bool(self._cuts("\n".join(texts)))

    def _key(self, key: Any, taken: Mapping[Any, Any]) -> Any:
        if not isinstance(key, str):
            return key
        name = base = self.text(key)
        number = 1
        while name in taken:
            number += 1
            name = f"{base} {number}"
        return name

    def field(self, key: Any, value: Any) -> Any:
        """The value of one field of an object; one that is named like a secret is cut whole."""
        if isinstance(key, str) and isinstance(value, str) and value and SECRET_FIELDS.match(key):
            return value if PLACEHOLDER.fullmatch(value) else "[redacted secret]"
        return self.value(value)

    def _cuts(self, text: str) -> list[_Cut]:
        """What is cut from a text, in order, without overlaps."""
        cuts: list[_Cut] = []
        at = 0
        for there in PLACEHOLDER.finditer(text) if "[redacted " in text else ():
            cuts += self._cuts_between(text, at, there.start())
            at = there.end()
        return cuts + self._cuts_between(text, at, len(text))

    def _cuts_between(self, text: str, start: int, end: int) -> list[_Cut]:
        """Cuts from a part of a text that holds no placeholder, until what is left has no match either."""
        done: list[_Cut] = []
        open_parts = [(start, end)]
        for turn in range(_MOST_ROUNDS):
            left: list[tuple[int, int]] = []
            for begin, stop in open_parts:
                cuts = self._matches(text[begin:stop], begin)
                if not cuts:
                    continue
                if turn == _MOST_ROUNDS - 1:
                    done.append(_Cut(begin, stop, cuts[0].name))
                    continue
                done += cuts
                edges = [begin, *(edge for cut in cuts for edge in (cut.start, cut.end)), stop]
                left += [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= self._shortest]
            open_parts = left
        return sorted(done, key=lambda cut: cut.start)

    def _matches(self, part: str, offset: int) -> list[_Cut]:
        """What the patterns match, overlapping matches as one, named after the pattern that comes first."""
        if len(part) < self._shortest:
            return []
        lowered = part.lower()
        spans = [
            (*_whole_escapes(part, start, end), rank)
            for rank, pattern in enumerate(self._patterns)
            for start, end in pattern.spans(part, lowered)
        ]
        merged: list[list[int]] = []
        for start, end, rank in sorted(spans):
            if start >= end:
                continue
            if merged and start < merged[-1][1]:
                merged[-1][1:] = [max(end, merged[-1][1]), min(rank, merged[-1][2])]
            else:
                merged.append([start, end, rank])
        return [_Cut(start + offset, end + offset, self._patterns[rank].name) for start, end, rank in merged]


def _whole_escapes(text: str, start: int, end: int) -> tuple[int, int]:
    """A span that parts no escape of JSON: `\\nbob` loses its backslash too, and `bob\\"` keeps it."""
    if _backslashes(text, start) % 2:
        start -= 1
    if end < len(text) and _backslashes(text, end) % 2:
        end = end - 1 if text[end] in "\"'" else end + 1
    return start, end


def _backslashes(text: str, end: int) -> int:
    """Backslashes that stand right before a place."""
    start = end
    while start and text[start - 1] == "\\":
        start -= 1
    return end - start


@lru_cache(maxsize=64)
def _exact(secret: str) -> Pattern:
    return exact_pattern(secret)


def redactor_of(
    patterns: Iterable[str] = ("email",),
    more: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Redactor:
    """The redactor that a job's `privacy` asks for.

    Args:
        patterns: names of built-in patterns: `email`, `phone`, `ipv4`, `iban`, `credit_card`, `us_ssn`.
        more: further patterns by name, as regular expressions whose repeats all have an upper bound.
        environment: where secrets are taken from; None reads `os.environ`.

    Raises:
        SettingError: no such pattern, or an expression that cannot be used.
    """
    wanted = list(dict.fromkeys(patterns))
    for name in wanted:
        if name not in PERSONAL:
            raise SettingError(f"privacy pattern {name[:40]!r} is none of {', '.join(PERSONAL)}; correct the name")
    own = [own_pattern(name, expression) for name, expression in (more or {}).items()]
    built_in = [pattern for name, pattern in PERSONAL.items() if name in wanted]
    return Redactor([*own, *built_in], secrets_of(os.environ if environment is None else environment))


def secrets_redactor(environment: Mapping[str, str] | None = None) -> Redactor:
    """A redactor of secrets alone: what is in force where nobody asked for more."""
    return redactor_of((), None, environment)


_CURRENT: ContextVar[Redactor | None] = ContextVar("tracescribe_redactor", default=None)


def current_redactor() -> Redactor:
    """The redactor in force here: that of `redacting`, or one of secrets alone."""
    return _CURRENT.get() or _of_environment()


_seen: list[tuple[dict[Any, Any], Redactor]] = []


def _of_environment() -> Redactor:
    """The redactor of this process's secrets, made anew when the environment has changed."""
    # read where it lies: to decode every variable, and to judge it, takes longer than most texts do
    variables: dict[Any, Any] = getattr(os.environ, "_data", None) or dict(os.environ)
    seen = _seen[-1] if _seen else None
    if seen is None or seen[0] != variables:
        seen = (dict(variables), secrets_redactor())
        _seen[:] = [seen]
    return seen[1]


@contextmanager
def redacting(redactor: Redactor) -> Iterator[Redactor]:
    """Put a redactor in force for everything that is done inside; threads must be given the context."""
    token = _CURRENT.set(redactor)
    try:
        yield redactor
    finally:
        _CURRENT.reset(token)
