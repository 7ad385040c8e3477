"""The error tree: drawn as it is, one exit code each."""

from __future__ import annotations

import inspect
import re

import pytest

from tracescribe.tracer import errors
from tracescribe.tracer.errors import HaltError, InputError, TracescribeError, WorkError

ERRORS = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, TracescribeError)]


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = re.findall(r"^[ │├└─]*(\w+Error)\b", str(errors.__doc__), flags=re.MULTILINE)
    assert sorted(drawn) == sorted(c.__name__ for c in ERRORS)


@pytest.mark.parametrize("error", ERRORS, ids=lambda c: c.__name__)
def test_every_error_has_an_exit_code_and_a_docstring(error: type[TracescribeError]) -> None:
    assert error.exit_code == (2 if issubclass(error, InputError) else 1)
    assert error.__doc__
    if error not in (TracescribeError, InputError, HaltError, WorkError):
        assert error.__base__ in (InputError, WorkError)
