"""Where a log is read from: a store, or a file that a log was exported to."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import sqlalchemy as sa

from tracescribe.runs.audit.chain import COLUMNS
from tracescribe.runs.audit.damage import Damage
from tracescribe.runs.audit.errors import AuditInputError
from tracescribe.runs.audit.heads import Head
from tracescribe.runs.store.tables import audit_entries, audit_heads, audit_keys, metadata
from tracescribe.tracer.errors import OutputError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

BATCH = 20_000
"""Entries read at once."""
EXPORT_SCHEMA = "tracescribe-audit-log/1"
MAX_LINE = 1_000_000
Result = TypeVar("Result")


class Reader(Protocol):
    """Runs a transaction that reads."""

    def __call__(self, work: Callable[[Connection], Result], /) -> Result:
        """Run it."""
        ...


@dataclass(frozen=True)
class LogSource:
    """A log that can be read.

    Attributes:
        read: runs a transaction.
        faults: what was found while it was opened.
    """

    store_id: str
    read: Reader
    faults: tuple[Damage, ...] = ()

    def batches(self) -> Iterator[list[Any]]:
        """All entries in the order of their numbers, some at once, each batch in a short transaction of its own."""
        columns = [audit_entries.c[name] for name in COLUMNS]
        query = sa.select(*columns).order_by(audit_entries.c.sequence).limit(BATCH)
        further = query.where(audit_entries.c.sequence > sa.bindparam("last", type_=sa.types.NullType()))
        rows = self.read(lambda connection: list(connection.execute(query)))
        while rows:
            yield rows
            if len(rows) < BATCH:
                return
            last = rows[-1][0]
            rows = self.read(lambda connection, last=last: list(connection.execute(further, {"last": last})))  # type: ignore[misc]

    def heads(self) -> list[Head]:
        """All heads."""
        query = sa.select(
            audit_heads.c.sequence,
            audit_heads.c.chain,
            audit_heads.c.at,
            audit_heads.c.key_id,
            audit_heads.c.signature,
        ).order_by(audit_heads.c.sequence)
        return [Head(*row) for row in self.read(lambda connection: list(connection.execute(query)))]

    def public_keys(self) -> list[tuple[str, str]]:
        """Ids and public keys as the log has them."""
        query = sa.select(audit_keys.c.key_id, audit_keys.c.public_key).order_by(audit_keys.c.key_id)
        return [(str(row[0]), str(row[1])) for row in self.read(lambda connection: list(connection.execute(query)))]

    def last_number(self) -> int:
        """The largest number; -1 for none."""
        query = sa.select(audit_entries.c.sequence).order_by(audit_entries.c.sequence.desc()).limit(1)
        found = self.read(lambda connection: connection.execute(query).scalar())
        return found if isinstance(found, int) else -1

    def find(self, column: str, value: str) -> int | None:
        """The number of some entry whose column has a value; reads the whole log."""
        query = sa.select(audit_entries.c.sequence).where(audit_entries.c[column] == value).limit(1)
        found = self.read(lambda connection: connection.execute(query).scalar())
        return found if isinstance(found, int) else None


def source_of(store: Store) -> LogSource:
    """The log of an open store."""
    return LogSource(store.store_id, store.read)


def export_log(source: LogSource, path: Path) -> int:
    """Write a log to a file of JSON lines: what it is, keys, heads, then the entries; returns how many entries.

    Raises:
        OutputError: it cannot be written.
    """
    n_entries = 0
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as out:
            out.write(_line({"schema": EXPORT_SCHEMA, "store_id": source.store_id}))
            for key_id, public_key in source.public_keys():
                out.write(_line({"key": [key_id, public_key]}))
            for head in source.heads():
                out.write(_line({"head": [head.sequence, head.chain, head.at, head.key_id, head.signature]}))
            for rows in source.batches():
                n_entries += len(rows)
                out.writelines(_line({"entry": list(row)}) for row in rows)
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose a writable folder") from error
    finally:
        with suppress(OSError):  # where it was not finished, also because of an interrupt
            partial.unlink(missing_ok=True)
    return n_entries


@contextmanager
def open_export(path: Path) -> Iterator[LogSource]:
    """A log from the file that it was exported to, brought into a database in a temporary folder.

    Raises:
        AuditInputError: the file is not such a log.
    """
    with tempfile.TemporaryDirectory(prefix="tracescribe-audit-") as folder:
        engine = sa.create_engine(f"sqlite:///{folder}/log.db")
        try:
            metadata.create_all(engine, tables=[audit_entries, audit_heads, audit_keys])
            loading = _Loading(path)
            with engine.begin() as connection:
                loading.load(connection)

            def read(work: Callable[[Connection], Result]) -> Result:
                with engine.connect() as connection:
                    return work(connection)

            yield LogSource(loading.store_id, read, tuple(loading.faults))
        finally:
            engine.dispose()


@dataclass
class _Loading:
    """Reads an exported log, line by line."""

    path: Path
    store_id: str = ""
    faults: list[Damage] = field(default_factory=list)

    def load(self, connection: Connection) -> None:
        last: int | None = None
        seen_back: set[int] = set()
        batch: list[dict[str, Any]] = []
        for number, content in self._lines():
            if number == 1:
                self.store_id = self._header(content)
            elif "key" in content:
                key_id, public_key = self._texts(number, content["key"], 2)
                connection.execute(
                    sa.insert(audit_keys).prefix_with("OR IGNORE"),
                    {"key_id": key_id, "public_key": public_key, "created_at": 0.0},
                )
            elif "head" in content:
                values = self._row(number, content["head"], 5)
                names = ("sequence", "chain", "at", "key_id", "signature")
                connection.execute(
                    sa.insert(audit_heads).prefix_with("OR IGNORE"), dict(zip(names, values, strict=True))
                )
            else:
                values = self._row(number, content.get("entry"), len(COLUMNS))
                sequence = values[0]
                if last is not None and sequence <= last:
                    if sequence in seen_back or self._known(connection, batch, sequence):
                        message = f"line {number} has the number {sequence}, as another line has"
                        self.faults.append(Damage("inserted", sequence, sequence, message))
                        continue
                    seen_back.add(sequence)
                    message = f"line {number} has the number {sequence}, but comes after {last}"
                    self.faults.append(Damage("moved", sequence, sequence, message))
                else:
                    last = sequence
                batch.append(dict(zip(COLUMNS, values, strict=True)))
                if len(batch) >= BATCH:
                    connection.execute(sa.insert(audit_entries), batch)
                    batch.clear()
        if not self.store_id:
            raise AuditInputError(f"{self.path} is empty; 'tracescribe audit export' writes such files")
        if batch:
            connection.execute(sa.insert(audit_entries), batch)

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            with self.path.open("rb") as lines:
                number = 0
                while line := lines.readline(MAX_LINE):
                    number += 1
                    yield number, self._parsed(number, line)
        except OSError as error:
            raise AuditInputError(f"cannot read {self.path}: {error.strerror}") from error

    def _parsed(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._fault(number, "is no JSON") from error
        if not isinstance(content, dict):
            raise self._fault(number, "is no JSON object")
        return content

    def _header(self, content: dict[str, Any]) -> str:
        store_id = content.get("store_id")
        if content.get("schema") != EXPORT_SCHEMA or not isinstance(store_id, str) or not store_id:
            raise self._fault(1, f"does not say that this is a {EXPORT_SCHEMA}")
        return store_id

    def _row(self, number: int, values: Any, n: int) -> list[Any]:
        if not isinstance(values, list) or len(values) != n or type(values[0]) is not int or abs(values[0]) >= 2**63:
            raise self._fault(number, f"holds no {n} values that begin with a number")
        return [values[0], *self._texts(number, values[1:], n - 1)]

    def _texts(self, number: int, values: Any, n: int) -> list[str]:
        if not isinstance(values, list) or len(values) != n or not all(isinstance(value, str) for value in values):
            raise self._fault(number, "holds something else than texts")
        return [value.encode("utf-8", "replace").decode() for value in values]

    def _known(self, connection: Connection, batch: list[dict[str, Any]], sequence: int) -> bool:
        if any(row["sequence"] == sequence for row in batch):
            return True
        query = sa.select(audit_entries.c.sequence).where(audit_entries.c.sequence == sequence)
        return connection.execute(query).first() is not None

    def _fault(self, number: int, what: str) -> AuditInputError:
        return AuditInputError(
            f"line {number} of {self.path} {what}; the file was damaged, or 'tracescribe audit export' did not write it"
        )


def _line(content: dict[str, Any]) -> str:
    try:
        return json.dumps(content, ensure_ascii=True, separators=(",", ":")) + "\n"
    except (TypeError, ValueError) as error:
        raise OutputError(
            "the log holds what cannot be exported; 'tracescribe audit verify' tells where it was damaged"
        ) from error
