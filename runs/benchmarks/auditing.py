"""Speed of the audit log: entries appended one in a transaction, and a long log verified, whole and tampered with."""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tracescribe.runs.audit.chain import chain_sha256
from tracescribe.runs.audit.heads import sign_head
from tracescribe.runs.audit.keys import PublicKey, SigningKey
from tracescribe.runs.audit.log import append, details_text, end_of_log, moment
from tracescribe.runs.audit.sources import source_of
from tracescribe.runs.audit.verifying import Trust, verify_log
from tracescribe.runs.benchmarks.figures import Figure, FigureBench
from tracescribe.runs.benchmarks.machine import describe_machine
from tracescribe.runs.store.database import open_store, parse_address
from tracescribe.runs.store.tables import audit_entries, audit_heads, audit_keys
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

SEALED_EVERY = 10_000
"""Entries between two signed heads of the long log."""
N_APPENDED = 1_000
_BATCH = 20_000
_KIB = 1024
Progress = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class _Log:
    """A long log.

    Attributes:
        middle: number of an entry somewhere in it.
    """

    trust: Trust
    middle: int


def bench_audit(
    entries: int, *, store: str | None = None, seed: int = 0, progress: Progress | None = None
) -> FigureBench:
    """Measure the audit log.

    Args:
        entries: in the log that is verified.
        store: an empty store, such as one on PostgreSQL; None takes SQLite in a temporary folder.
        seed: of the place that is tampered with.

    Raises:
        InputError: the store is not empty.
        StoreError: the store cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="tracescribe-bench-") as folder:
        opened = open_store(parse_address(store or str(Path(folder) / "store")), create=True)
        try:
            if source_of(opened).last_number() >= 0:
                raise InputError(
                    f"the store {opened.address.shown} has an audit log already; give an empty one to --store"
                )
            rows = [_append(opened)]
            log = _build(opened, entries, random.Random(seed), progress)
            rows += [_verify(opened, log, "verify", None, progress)]
            opened.write(lambda connection: _tamper(connection, log.middle))
            rows += [_verify(opened, log, "verify, one entry edited", log.middle, progress)]
        finally:
            opened.close()
    return FigureBench(
        bench="audit",
        settings={"entries": entries, "sealed_every": SEALED_EVERY, "seed": seed},
        machine=describe_machine(1),
        clock="wall",
        rows=tuple(rows),
        notes=(
            "Each entry hashed, each signature checked, in one process. 'right' is whether what should be told is.",
        ),
    )


def _append(store: Store) -> dict[str, Figure]:
    begun = time.perf_counter()
    for number in range(N_APPENDED):
        details = _details(number)
        store.write(
            lambda connection, number=number, details=details: append(  # type: ignore[misc]
                connection, act="verdict", subject=f"bench.{number}", details=details, actor="worker:bench"
            )
        )
    return _row("append, one in a transaction", N_APPENDED, time.perf_counter() - begun, True, None)


def _build(store: Store, entries: int, draw: random.Random, progress: Progress | None) -> _Log:
    """Fill the log by bulk, with the hashes and signatures that single appends and seals would give it."""
    private = Ed25519PrivateKey.generate()
    key = SigningKey(Path("bench"), private)  # never written: it signs this log alone
    public = key.public
    store.write(lambda connection: _insert_key(connection, public))
    sequence, previous = store.read(end_of_log)
    while sequence + 1 < entries:
        rows: list[dict[str, Any]] = []
        heads: list[dict[str, Any]] = []
        for number in range(sequence + 1, min(entries, sequence + 1 + _BATCH)):
            text = details_text(_details(number)) if number % 1000 == 0 else _details_text(number)
            row = (number, moment(), "worker:bench", "experiment run", f"bench.{number // 50}", text, previous)
            previous = chain_sha256(*row)
            rows.append(dict(zip((c.name for c in audit_entries.columns), (*row, previous), strict=True)))
            if number % SEALED_EVERY == SEALED_EVERY - 1 or number == entries - 1:
                heads.append(vars(sign_head(store.store_id, number, previous, moment(), key)))
        store.write(lambda connection, rows=rows, heads=heads: _insert(connection, rows, heads))  # type: ignore[misc]
        sequence = int(rows[-1]["sequence"])
        if progress is not None:
            progress("build", sequence + 1, entries, "")
    return _Log(Trust(keys=(public,)), draw.randrange(entries))


def _verify(store: Store, log: _Log, what: str, tampered: int | None, progress: Progress | None) -> dict[str, Figure]:
    before = _peak_bytes()
    begun = time.perf_counter()
    source = source_of(store)
    total = source.last_number() + 1
    found = verify_log(source, log.trust, None if progress is None else lambda n: progress(what, n, total, ""))
    seconds = time.perf_counter() - begun
    places = [(damage.kind, damage.first, damage.last) for damage in found.damages]
    right = places == ([] if tampered is None else [("edited", tampered, tampered)])
    return _row(what, found.n_entries, seconds, right, max(0, _peak_bytes() - before))


def _row(what: str, entries: int, seconds: float, right: bool, memory: int | None) -> dict[str, Figure]:
    return {
        "what": what,
        "entries": entries,
        "seconds": round(seconds, 3),
        "entries_per_second": round(entries / seconds),
        "right": right,
        "more_memory_bytes": memory,
    }


def _details(number: int) -> dict[str, Any]:
    return {
        "job": "bench",
        "id": f"c{number % 50}",
        "sha256": f"{number:064x}",
        "registry": number % 200,
        "chain": f"{number * 7:064x}",
    }


def _details_text(number: int) -> str:
    """`details_text(_details(number))`, which redacts nothing here, in a fraction of the time."""
    return (
        f'{{"chain":"{number * 7:064x}","id":"c{number % 50}","job":"bench","registry":{number % 200},'
        f'"sha256":"{number:064x}"}}'
    )


def _insert_key(connection: Connection, key: PublicKey) -> None:
    row = {"key_id": key.key_id, "public_key": key.text, "created_at": time.time()}
    connection.execute(sa.insert(audit_keys), row)


def _insert(connection: Connection, rows: list[dict[str, Any]], heads: list[dict[str, Any]]) -> None:
    connection.execute(sa.insert(audit_entries), rows)
    if heads:
        connection.execute(sa.insert(audit_heads), heads)


def _tamper(connection: Connection, number: int) -> None:
    edited = sa.update(audit_entries).where(audit_entries.c.sequence == number).values(actor="worker:nobody")
    connection.execute(edited)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB
