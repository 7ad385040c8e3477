"""Stores of both kinds, empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.runs.postgres_server import PostgresServer
from tracescribe.runs.store.database import Store, StoreAddress, open_store, parse_address


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> StoreAddress:
    """An address where there is no store yet: a folder, and a database of a real server."""
    if request.param == "sqlite":
        return parse_address(str(tmp_path / "store"))
    server: PostgresServer = request.getfixturevalue("postgres")
    return parse_address(server.new_database(), artefacts=str(tmp_path / "artefacts"))


@pytest.fixture
def opened() -> Iterator[Callable[[StoreAddress], Store]]:
    """Opens stores, and closes them when the test is over."""
    stores: list[Store] = []

    def opening(address: StoreAddress) -> Store:
        stores.append(open_store(address, create=True))
        return stores[-1]

    yield opening
    for store in stores:
        store.close()


@pytest.fixture
def store(address: StoreAddress, opened: Callable[[StoreAddress], Store]) -> Store:
    """A new store."""
    return opened(address)
