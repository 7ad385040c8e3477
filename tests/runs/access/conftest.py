"""A store with one finished case, and keys and anchors that are nobody's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.store.rows import add_case, add_worker, finish
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import Store, open_store, parse_address

REPORT = b'{"report": 1}'


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and anchors lie in the test's own folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRACESCRIBE_AUDIT_KEY", raising=False)
    monkeypatch.delenv("TRACESCRIBE_STORE", raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store on SQLite with the finished case `c1`."""
    opened = open_store(parse_address(str(tmp_path / "store")), create=True)
    add_worker(opened, "w1")
    add_case(opened, "c1", worker_id="w1")
    finish(
        opened,
        "c1",
        Artefact("report.json", "report", REPORT),
        Artefact("scores.json", "summary", b'{"score": 1}'),
        Artefact("evidence.json", "evidence", b'{"evidence": 1}'),
    )
    yield opened
    opened.close()
