"""A pattern that is searched for, and what a pattern of a user's own must not do.

A search with Python's expressions can take time that grows with the square of a text, or without any bound, and cannot
be stopped. So an expression from outside is taken only if its worst case is bounded by its own size.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from tracescribe.tracer.errors import SettingError

Check = Callable[[re.Match[str]], "tuple[int, int] | None"]
"""What of a match is to be cut, or None where it only looks like one."""

MOST_STEPS = 20_000
"""Ways in which a user's expression may try to fit at one place."""
LONGEST_REPEAT = 1_000
"""Largest upper bound of a repeat in it."""
_TOO_MANY = 10**9
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


@dataclass(frozen=True)
class Pattern:
    """One kind of text that is cut out.

    Attributes:
        name: stands in its place, as in `[redacted email]`.
        expression: finds candidates.
        check: None cuts every candidate whole.
        needs: a text without any of these, in lower case, has no match; empty if that cannot be told.
    """

    name: str
    expression: re.Pattern[str]
    check: Check | None = None
    needs: tuple[str, ...] = ()

    def spans(self, text: str, lowered: str) -> Iterator[tuple[int, int]]:
        """What is to be cut from a text, in order.

        Args:
            lowered: the text in lower case.
        """
        if self.needs and not any(need in lowered for need in self.needs):
            return
        for match in self.expression.finditer(text):
            span = match.span() if self.check is None else self.check(match)
            if span is not None and span[0] < span[1]:
                yield span


def own_pattern(name: str, expression: str) -> Pattern:
    """A pattern from a user's expression.

    Args:
        name: lower-case letters, digits and `_`.
        expression: of Python's `re`; every repeat must have an upper bound.

    Raises:
        SettingError: a bad name, an expression that is malformed or matches nothing at all, or one that could take too
            long.
    """
    if not _NAME.match(name):
        raise SettingError(
            f"privacy pattern {name[:40]!r}: a name is up to 40 of a-z, 0-9 and _, beginning with a letter; rename it"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(expression)
            steps = _steps(_parsed(expression))
    except (re.error, RecursionError, OverflowError, FutureWarning, DeprecationWarning) as error:
        raise SettingError(f"privacy pattern {name}: not a regular expression ({error}); correct it") from None
    if compiled.search("") is not None:
        raise SettingError(f"privacy pattern {name}: it matches the empty text; let it match at least one character")
    if steps > MOST_STEPS:
        raise SettingError(
            f"privacy pattern {name}: it may try {steps:,} ways to fit at one place, at most {MOST_STEPS:,} are allowed; "
            "write smaller repeats"
        )
    return Pattern(name, compiled)


def _parsed(expression: str) -> Iterable[Any]:
    """The expression's tree, as Python's own compiler reads it."""
    import re._parser as parser  # type: ignore[import-not-found, unused-ignore]  # no public way leads to the tree

    return cast("Iterable[Any]", parser.parse(expression))


def _steps(tree: Iterable[Any]) -> int:
    """An upper bound of the ways in which an expression can fit or fail at one place."""
    steps = 1
    for operation, argument in tree:
        steps *= _steps_of(str(operation), argument)
        if steps > _TOO_MANY:
            return steps
    return steps


def _steps_of(operation: str, argument: Any) -> int:
    match operation:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, once = int(argument[0]), int(argument[1]), _steps(argument[2])
            if most > LONGEST_REPEAT:
                raise re.error("a repeat without an upper bound; write {0,64} in place of *, {1,64} in place of +")
            if operation == "POSSESSIVE_REPEAT" and once == 1:
                return 1
            return min(once ** max(1, most) if once > 1 else 1, _TOO_MANY) * (most - least + 1)
        case "BRANCH":
            return sum(_steps(branch) for branch in argument[1])
        case "SUBPATTERN":
            return _steps(argument[-1])
        case "ATOMIC_GROUP":
            return _steps(argument)
        case "ASSERT" | "ASSERT_NOT":
            return _steps(argument[1])
        case "GROUPREF" | "GROUPREF_EXISTS":
            raise re.error("a reference to another group; write what is meant")
        case _:
            return 1
