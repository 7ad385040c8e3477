"""Stores of every version become stores of this one, by one process or several, or stay as they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from tracescribe.runs.jobs.listing import list_jobs
from tracescribe.runs.jobs.lookup import open_reader
from tracescribe.runs.store.database import Store, StoreAddress, open_store, parse_address
from tracescribe.runs.store.errors import StoreAddressError, StoreVersionError
from tracescribe.runs.store.tables import metadata
from tracescribe.runs.store.versions import SCHEMA_VERSION, known_versions

OPEN = """
import sys
from tracescribe.runs.store.database import open_store, parse_address
store = open_store(parse_address(sys.argv[1], artefacts=sys.argv[2]), create=True)
print(store.store_id)
store.close()
"""
DIE_IN_MIGRATION = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
left = int(sys.argv[3])
@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, parameters, context, executemany):
    global left
    if statement.lstrip().upper().startswith(("CREATE", "INSERT")):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def differences(store: Store) -> list[object]:
    """What a migration to `tables.py` would still have to do."""

    def compare(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": metadata}
        )
        return list(compare_metadata(context, metadata))

    return store.read(compare)


def in_process(code: str, address: StoreAddress, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code on a store in a process of its own."""
    url = address.url.replace("+psycopg", "")
    command = [sys.executable, "-c", code, url, address.artefacts or "artefacts", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)


def test_the_migrations_make_the_tables(store: Store) -> None:
    assert differences(store) == []


def test_the_version_of_this_program_is_the_last_migration() -> None:
    assert known_versions()[-1] == SCHEMA_VERSION


@pytest.mark.batch
def test_processes_that_open_a_new_store_at_once_make_one(address: StoreAddress) -> None:
    address = replace(address, artefacts=address.artefacts or "artefacts")
    with ThreadPoolExecutor(3) as pool:
        shown = list(pool.map(lambda _: in_process(OPEN, address), range(3)))
    assert [done.returncode for done in shown] == [0, 0, 0], shown
    assert len({done.stdout for done in shown}) == 1


@pytest.mark.parametrize(
    "after", [7, pytest.param(0, marks=pytest.mark.batch), pytest.param(30, marks=pytest.mark.batch)]
)
def test_a_kill_in_mid_migration_leaves_no_store_or_a_whole_one(
    address: StoreAddress, opened: Callable[[StoreAddress], Store], after: int
) -> None:
    killed = in_process(DIE_IN_MIGRATION + OPEN, address, str(after))
    assert killed.returncode == -signal.SIGKILL, killed
    with pytest.raises(StoreAddressError, match="there is no store"):
        open_store(address)
    assert differences(opened(address)) == []


def test_a_store_of_a_newer_version_is_refused(address: StoreAddress, store: Store) -> None:
    store.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StoreVersionError, match="has version 9999, .* made by a newer tracescribe"):
        open_store(address)
    with pytest.raises(StoreVersionError, match="made by a newer tracescribe"), open_reader(address):
        pass


def test_a_store_of_an_earlier_version_can_be_looked_at(address: StoreAddress, store: Store) -> None:
    store.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '0001'")))
    with open_reader(address) as reader:
        assert list_jobs(reader) == ()


def test_a_database_of_something_else_is_left_alone(
    address: StoreAddress, opened: Callable[[StoreAddress], Store]
) -> None:
    store = opened(address)
    store.write(lambda connection: metadata.drop_all(connection))
    store.write(lambda connection: connection.execute(text("DROP TABLE alembic_version")))
    store.write(lambda connection: connection.execute(text("CREATE TABLE customers (name TEXT)")))
    with pytest.raises(StoreAddressError, match="holds other tables and no store"):
        open_store(address, create=True)


def test_nothing_is_made_unless_asked_for(address: StoreAddress) -> None:
    with pytest.raises(StoreAddressError, match="there is no store at .*store init"):
        open_store(address)
    if address.database_file is not None:
        assert not address.database_file.parent.exists()


def test_a_store_keeps_its_id_and_its_place_of_artefacts(
    address: StoreAddress, opened: Callable[[StoreAddress], Store]
) -> None:
    first = opened(address)
    again = opened(replace(parse_address(address.url), artefacts=None))
    assert (again.store_id, again.artefacts.location) == (first.store_id, first.artefacts.location)
