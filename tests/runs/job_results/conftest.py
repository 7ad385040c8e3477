"""A store in a folder; PostgreSQL where a test asks for both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.postgres_server import PostgresServer
from tracescribe.runs.store.database import Store, open_store, parse_address


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store; keys of the audit log are made in the test's own folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    opened = open_store(parse_address(str(tmp_path / "store")), create=True)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of either kind."""
    if request.param == "sqlite":
        address = parse_address(str(tmp_path / "store"))
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        address = parse_address(server.new_database(), artefacts=str(tmp_path / "artefacts"))
    opened = open_store(address, create=True)
    yield opened
    opened.close()
