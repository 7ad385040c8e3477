"""Transactions wait for what passes, and say what does not."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from tests.runs.postgres_server import PostgresServer
from tracescribe.runs.store.database import Store, StoreAddress, open_store, parse_address
from tracescribe.runs.store.errors import (
    StoreAddressError,
    StoreBusyError,
    StoreDamagedError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnreachableError,
)
from tracescribe.runs.store.tables import settings

Opening = Callable[[StoreAddress], Store]


def put(store: Store, name: str, value: str = "0") -> None:
    """One row in a transaction of its own."""
    store.write(lambda connection: connection.execute(insert(settings), {"name": name, "value": value}))


def value_of(store: Store, name: str) -> str | None:
    """What a row holds."""
    return store.read(lambda connection: connection.scalar(select(settings.c.value).where(settings.c.name == name)))


def test_an_error_undoes_the_whole_transaction(store: Store) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(settings), {"name": "a", "value": "1"})
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        store.write(work)
    assert value_of(store, "a") is None


def test_a_mistake_in_a_statement_is_not_tried_again(store: Store) -> None:
    tries = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(insert(settings), [{"name": "a", "value": "1"}] * 2)

    with pytest.raises(IntegrityError):
        store.write(work)
    assert len(tries) == 1


def test_counters_of_many_threads_lose_nothing(store: Store) -> None:
    """Each reads, thinks and writes: without a lock from the beginning, some would write over others."""
    put(store, "n")

    def count(connection: Connection) -> None:
        row = select(settings.c.value).where(settings.c.name == "n").with_for_update()
        found = int(connection.scalars(row).one())
        connection.execute(update(settings).where(settings.c.name == "n").values(value=str(found + 1)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.write(count), range(60)))
    assert value_of(store, "n") == "60"


def test_a_write_within_a_write_is_refused_at_once(store: Store) -> None:
    with pytest.raises(RuntimeError, match="would wait for itself"):
        store.write(lambda _: put(store, "a"))
    put(store, "a")  # and nothing of it stays


def test_a_locked_store_is_waited_for_and_then_told(address: StoreAddress, store: Store, opened: Opening) -> None:
    hurried = opened(replace(address, patience=0.3))
    held, let_go = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        connection.execute(insert(settings), {"name": "held", "value": "1"})
        held.set()
        let_go.wait(300)

    with ThreadPoolExecutor(2) as pool:
        holder = pool.submit(store.write, hold)
        assert held.wait(300)
        with pytest.raises(StoreBusyError, match="locked by another"):
            put(hurried, "held")
        waiting = pool.submit(put, store, "other")
        let_go.set()
        holder.result(30)
        waiting.result(30)
    assert value_of(hurried, "other") == "0"


def test_a_forked_child_opens_connections_of_its_own(store: Store) -> None:
    put(store, "parent")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            put(store, "child")
            store.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    put(store, "parent again")
    assert value_of(store, "child") == "0"


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path: Path, opened: Opening) -> None:
    store = opened(parse_address(str(tmp_path)))
    put(store, "before")

    def fill(connection: Connection) -> None:
        pages = connection.scalar(text("PRAGMA page_count"))
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.execute(insert(settings), {"name": "large", "value": "x" * 100_000})

    with pytest.raises(StoreFullError, match="disk of the store .*store.db is full"):
        store.write(fill)
    assert value_of(store, "before") == "0"
    assert value_of(store, "large") is None


@pytest.mark.parametrize(
    "content", [b"this is no database, though it is long enough for one" * 100, b"SQLite format 3\0"]
)
def test_a_file_that_is_no_database_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "store.db").write_bytes(content)
    with pytest.raises((StoreDamagedError, StoreAddressError), match="store.db"):
        open_store(parse_address(str(tmp_path)))


def test_a_torn_database_is_told(tmp_path: Path, opened: Opening) -> None:
    address = parse_address(str(tmp_path))
    store = opened(address)
    for n in range(50):
        put(store, f"n{n}", "x" * 2000)
    store.close()
    file = tmp_path / "store.db"
    content = bytearray(file.read_bytes())
    content[4096 * 2 :] = b"\x55" * (len(content) - 4096 * 2)
    file.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="is damaged .*store check"):
        open_store(address).read(lambda connection: connection.execute(select(settings)).all())


def test_a_store_that_cannot_be_written_to_is_told_and_can_be_read(tmp_path: Path, opened: Opening) -> None:
    address = parse_address(str(tmp_path))
    put(opened(address), "a")
    store = opened(address)
    # as a file system that is mounted read-only answers; root may write whatever the permissions say
    with sqlite3.connect(address.database_file or "") as held:

        def forbid(connection: Connection) -> None:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.execute(insert(settings), {"name": "b", "value": "1"})

        with pytest.raises(StoreReadOnlyError, match="cannot be written to; change its permissions"):
            store.write(forbid)
    held.close()
    assert value_of(store, "a") == "0"


def test_reading_goes_on_while_somebody_writes(store: Store, address: StoreAddress, opened: Opening) -> None:
    reader = opened(replace(address, patience=0.3))

    def write_slowly(connection: Connection) -> str | None:
        connection.execute(insert(settings), {"name": "a", "value": "1"})
        return value_of(reader, "a")

    assert store.write(write_slowly) is None
    assert value_of(reader, "a") == "1"


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_restart_of_the_server_is_waited_for(
    tmp_path: Path, postgres: PostgresServer, opened: Opening, how: str
) -> None:
    store = opened(parse_address(postgres.new_database(), artefacts=str(tmp_path)))
    tries = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(insert(settings), {"name": "a", "value": "1"})
        if len(tries) == 1:
            postgres.restart(how)
            connection.execute(insert(settings), {"name": "b", "value": "1"})

    store.write(work)
    assert len(tries) == 2
    assert (value_of(store, "a"), value_of(store, "b")) == ("1", None)


def test_a_server_that_is_away_is_waited_for_and_then_told(
    tmp_path: Path, postgres: PostgresServer, opened: Opening
) -> None:
    address = parse_address(postgres.new_database(), artefacts=str(tmp_path))
    store, hurried = opened(address), opened(replace(address, patience=0.2))
    postgres.kill()
    try:
        with pytest.raises(StoreUnreachableError, match="cannot be reached .*; start its server"):
            put(hurried, "a")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(put, store, "b")
            time.sleep(0.2)
            postgres.start()
            waiting.result(300)
    finally:
        postgres.start()
    assert value_of(hurried, "b") == "0"


def test_a_database_that_does_not_exist_is_told_at_once(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    with pytest.raises(StoreAddressError, match="cannot be entered: .*does not exist"):
        open_store(parse_address(url + "x"))


def test_two_transactions_that_wait_for_each_other_both_end(
    tmp_path: Path, postgres: PostgresServer, opened: Opening
) -> None:
    store = opened(parse_address(postgres.new_database(), artefacts=str(tmp_path)))
    for name in ("a", "b"):
        put(store, name)
    both = threading.Barrier(2)

    def crossing(names: tuple[str, str]) -> None:
        first = True

        def work(connection: Connection) -> None:
            nonlocal first
            for name in names:
                row = settings.c.name == name
                connection.execute(update(settings).where(row).values(value=settings.c.value + "1"))
                if first:
                    first = False
                    both.wait(300)

        store.write(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(crossing, [("a", "b"), ("b", "a")]))
    assert (value_of(store, "a"), value_of(store, "b")) == ("011", "011")


def test_a_process_killed_in_mid_transaction_leaves_nothing_of_it(address: StoreAddress, store: Store) -> None:
    code = """
import os, signal, sys
from sqlalchemy import insert
from tracescribe.runs.store.database import open_store, parse_address
from tracescribe.runs.store.tables import settings
store = open_store(parse_address(sys.argv[1]))
def work(connection):
    connection.execute(insert(settings), {"name": "half", "value": "1"})
    os.kill(os.getpid(), signal.SIGKILL)
store.write(work)
"""
    url = address.url.replace("+psycopg", "")
    assert subprocess.run([sys.executable, "-c", code, url], check=False).returncode == -9
    assert store.read(lambda connection: connection.scalar(select(func.count()).where(settings.c.name == "half"))) == 0
    put(store, "half")
