"""A store of its own for each test, with keys and anchors that are nobody's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.postgres_server import PostgresServer
from tracescribe.runs.store.database import Store, open_store, parse_address


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys and anchors lie in the test's own folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRACESCRIBE_AUDIT_KEY", raising=False)
    monkeypatch.delenv("TRACESCRIBE_STORE", raising=False)
    return tmp_path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store on SQLite."""
    opened = open_store(parse_address(str(tmp_path / "store")), create=True)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def either_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, on SQLite and on a real PostgreSQL server."""
    if request.param == "sqlite":
        address = parse_address(str(tmp_path / "either"))
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        address = parse_address(server.new_database(), artefacts=str(tmp_path / "artefacts"))
    opened = open_store(address, create=True)
    yield opened
    opened.close()
