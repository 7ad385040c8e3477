"""Whatever is done to a signed and anchored log is found, and told where it was done."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from tests.runs.audit.tampering import Tampered, Tamperer
from tracescribe.runs.audit.log import Entry, append_many
from tracescribe.runs.audit.sealing import seal
from tracescribe.runs.audit.sources import LogSource
from tracescribe.runs.audit.verifying import Trust, Verification, local_trust, verify_log
from tracescribe.runs.store.database import Store

Result = TypeVar("Result")
N_ENTRIES = 240
SEALED_EVERY = 40


@dataclass(frozen=True)
class SignedLog:
    """A log with several heads and an anchor, and what is known of it elsewhere."""

    database: Path
    store_id: str
    trust: Trust


@pytest.fixture
def signed(store: Store, tmp_path: Path) -> SignedLog:
    """A log of some hundred entries, sealed every so often and at its end."""
    for start in range(0, N_ENTRIES, SEALED_EVERY):
        entries = [
            Entry("verdict", f"job.{n}", {"claim": f"c{n}", "effect": n / 7}, "worker:w1")
            for n in range(start, start + SEALED_EVERY)
        ]
        store.write(lambda connection, entries=entries: append_many(connection, entries))  # type: ignore[misc]
        seal(store)
    database = tmp_path / "log.db"
    with sqlite3.connect(str(store.engine.url.database)) as source, sqlite3.connect(database) as target:
        source.backup(target)
    source.close()
    target.close()
    return SignedLog(database, store.store_id, local_trust(store.store_id))


@contextmanager
def copy_of(log: SignedLog) -> Iterator[tuple[sqlite3.Connection, LogSource]]:
    """A copy of the log in memory, to tamper with."""
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    original = sqlite3.connect(log.database)
    original.backup(memory)
    original.close()
    engine = sa.create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool)

    def read(work: Callable[[sa.Connection], Result]) -> Result:
        with engine.connect() as connection:
            return work(connection)

    try:
        yield memory, LogSource(log.store_id, read)
    finally:
        engine.dispose()
        memory.close()


def places_of(found: Verification) -> set[tuple[str, int, int]]:
    """Kinds and places of all damages that have a place of their own."""
    return {(d.kind, d.first, d.last) for d in found.damages if d.kind not in ("key", "signature") or d.first >= 0}


def is_told(done: Tampered, found: Verification) -> bool:
    """Whether exactly what was done is told."""
    places = places_of(found)
    kinds = {damage.kind for damage in found.damages}
    ignored = {place for place in places if place[0] in done.beside and place[0] not in {p[0] for p in done.places}}
    return done.beside <= kinds and (places - ignored == done.places or places == done.instead)


def tamper_often(log: SignedLog, n: int, seed: int) -> Counter[str]:
    """Tamper with `n` copies; returns how often each way was taken."""
    ways: Counter[str] = Counter()
    for trial in range(n):
        with copy_of(log) as (connection, source):
            done = Tamperer(connection, log.store_id, random.Random(f"{seed} {trial}")).tamper()
            found = verify_log(source, log.trust)
        assert not found.is_whole, f"trial {trial}: {done.what}: not found"
        assert is_told(done, found), f"trial {trial}: {done.what}: {done} but {found.damages}"
        ways[done.what.translate(str.maketrans("", "", "0123456789"))] += 1
    return ways


def test_the_log_is_whole_before_anybody_touches_it(signed: SignedLog) -> None:
    with copy_of(signed) as (_, source):
        found = verify_log(source, signed.trust)
    assert found.is_whole
    assert (found.n_entries, found.n_heads) == (N_ENTRIES + 1, N_ENTRIES // SEALED_EVERY)
    assert (found.signed_through, found.unsigned) == (N_ENTRIES, 0)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("audit_heads SET signature = upper(signature)", "signature"),
        ("audit_heads SET signature = signature || ' '", "signature"),
        ("audit_heads SET chain = CAST(chain AS BLOB)", "signature"),
        ("audit_heads SET at = CAST(at AS BLOB)", "signature"),
        ("audit_heads SET key_id = CAST(key_id AS BLOB)", "signature"),
        ("audit_keys SET public_key = upper(public_key)", "key"),
        ("audit_keys SET public_key = public_key || ' '", "key"),
        ("audit_keys SET public_key = CAST(public_key AS BLOB)", "key"),
    ],
)
def test_the_same_in_another_spelling_or_type_is_a_change(signed: SignedLog, change: str, kind: str) -> None:
    with copy_of(signed) as (connection, source):
        connection.execute(f"UPDATE {change}")
        connection.commit()
        found = verify_log(source, signed.trust)
    assert kind in {damage.kind for damage in found.damages}


def test_seventy_tamperings_are_found_and_located(signed: SignedLog) -> None:
    assert len(tamper_often(signed, 70, seed=1)) > 20


@pytest.mark.batch
def test_a_thousand_tamperings_are_found_and_located(signed: SignedLog) -> None:
    assert len(tamper_often(signed, 1000, seed=2)) > 25
