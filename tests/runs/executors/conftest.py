"""Stores for tests of executors: SQLite always, PostgreSQL where its server is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tracescribe.runs.store.database import Store, StoreAddress, open_store, parse_address

if TYPE_CHECKING:
    from tests.runs.postgres_server import PostgresServer


@pytest.fixture(autouse=True)
def importable_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the case functions of tests by name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))


@pytest.fixture(autouse=True)
def own_audit_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys and anchors of the audit log stay in the test's folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def address(tmp_path: Path) -> StoreAddress:
    """Of a store that was just made."""
    made = parse_address(str(tmp_path / "store"))
    open_store(made, create=True).close()
    return made


@pytest.fixture
def store(address: StoreAddress) -> Iterator[Store]:
    """A store that was just made, on SQLite."""
    opened = open_store(address)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgres"])
def any_address(request: pytest.FixtureRequest, tmp_path: Path) -> StoreAddress:
    """Of a store that was just made, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        made = parse_address(str(tmp_path / "store"))
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        made = StoreAddress(server.new_database(), str(tmp_path / "artefacts"), tmp_path / "scratch")
    open_store(made, create=True).close()
    return made


@pytest.fixture
def any_store(any_address: StoreAddress) -> Iterator[Store]:
    """A store that was just made, on SQLite and on PostgreSQL."""
    opened = open_store(any_address)
    yield opened
    opened.close()
