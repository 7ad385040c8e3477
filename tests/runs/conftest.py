"""Runs commands within this process: the same code as the script, without importing torch each time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tracescribe.runs.cli import main


@pytest.fixture(autouse=True, scope="session")
def no_order_that_was_not_asked_for() -> Iterator[None]:
    """SQLite gives the rows of a query without ORDER BY backwards in this process, as PostgreSQL gives them as it likes.

    See https://www.sqlite.org/pragma.html#pragma_reverse_unordered_selects
    """

    def prepare(connection: object, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA reverse_unordered_selects = ON")

    event.listen(Engine, "connect", prepare)
    yield
    event.remove(Engine, "connect", prepare)


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as the JSON document that it must be."""
        return json.loads(self.out)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Call the command line with arguments, in an empty folder and without keys in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TRACESCRIBE_LLM_API_KEY"):
        monkeypatch.delenv(key, raising=False)

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return Done(code, shown.out, shown.err)

    return call
