"""What a store holds of a job when it is done, read with plain queries on its tables: nothing of the product's own
readers is trusted here. And what must hold of it, however often the job was killed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.pool import NullPool

from tests.batch.job_site import Site, without_times
from tracescribe.runs.store.tables import (
    artefact_uses,
    artefacts,
    audit_entries,
    call_events,
    calls,
    cases,
    jobs,
    staged_artefacts,
)

ALWAYS_ANEW = ("graph.json", "circuit.svg")
"""Artefacts beside the report that hold no times, so that their bytes must be equal too."""
ACTS_OF_CLAIMS = ("claim registered", "experiment planned", "experiment run", "verdict")


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """A connection that leaves nothing open."""
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@dataclass(eq=False)
class Look:
    """Looks into the store of a site.

    Attributes:
        url: SQLAlchemy's, of the database.
        artefacts: folder of the files.
        scratch: folder of cases that are being worked on.
    """

    url: str
    artefacts: Path
    scratch: Path

    def rows(self, query: Any) -> list[dict[str, Any]]:
        """What a query finds."""
        with reading(self.url) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def finished(self) -> int:
        """Cases that are done or failed; 0 where there is no store yet."""
        try:
            with reading(self.url) as connection:
                query = select(func.count()).select_from(cases).where(cases.c.status.in_(("done", "failed")))
                return int(connection.execute(query).scalar_one())
        except Exception as error:  # no table yet, a database that is just being made, or one that is away
            if "OperationalError" in type(error).__name__ or "ProgrammingError" in type(error).__name__:
                return 0
            raise

    def content(self, sha256: str) -> bytes:
        """Bytes of an artefact; its file is found by its name alone, wherever it lies."""
        (file,) = [path for path in self.artefacts.rglob("*") if path.is_file() and sha256 in path.as_posix()[-90:]]
        return file.read_bytes()

    def files(self) -> list[Path]:
        """Every file below the folder of artefacts."""
        return [path for path in self.artefacts.rglob("*") if path.is_file()]

    def results(self, job_id: str) -> dict[str, dict[str, bytes]]:
        """By case key, the artefacts by name."""
        query = (
            select(cases.c.case_key, artefact_uses.c.name, artefact_uses.c.sha256)
            .join(artefact_uses, artefact_uses.c.case_id == cases.c.case_id)
            .where(cases.c.job_id == job_id)
        )
        by_hash = {path.name: path for path in self.files()}
        found: dict[str, dict[str, bytes]] = {}
        for row in self.rows(query):
            path = next(p for name, p in by_hash.items() if row["sha256"].endswith(name) or name == row["sha256"])
            found.setdefault(row["case_key"], {})[row["name"]] = path.read_bytes()
        return found

    def job_id(self) -> str:
        """The only job's."""
        (job,) = self.rows(select(jobs))
        return str(job["job_id"])


def look(site: Site) -> Look:
    """Look into the store of a site: a folder, or a database's URL."""
    if "://" in site.store:
        url = site.store.replace("postgresql://", "postgresql+psycopg://")
    else:
        url = f"sqlite:///{Path(site.store) / 'store.db'}"
    return Look(url, site.files / "artefacts", site.scratch)


# -- what must hold ---------------------------------------------------------------------------------------------------


def check_cases(found: Look, job_id: str, count: int, finishings: int | None = 1) -> None:
    """Every case is done, and so often in the audit log: once; None where cases were made anew on purpose."""
    (job,) = found.rows(select(jobs).where(jobs.c.job_id == job_id))
    rows = found.rows(select(cases).where(cases.c.job_id == job_id))
    assert Counter(row["status"] for row in rows) == {"done": count}, [
        (row["case_id"], row["failure_kind"], row["failure_message"]) for row in rows if row["status"] != "done"
    ][:5]
    assert job["status"] == "done"
    assert all(row["figures"] and row["finished_at"] for row in rows)
    if finishings is None:
        return
    entries = found.rows(select(audit_entries).where(audit_entries.c.act == "report finished"))
    subjects = Counter(entry["subject"] for entry in entries)
    told = {row["case_id"]: sum(n for s, n in subjects.items() if row["case_id"] in s.split()) for row in rows}
    assert set(told.values()) == {finishings}, told


def check_claims(found: Look) -> None:
    """Every claim was registered, planned, measured and judged once in the audit log, however often its case began."""
    told = Counter[tuple[str, str, str, str]]()
    by_act = Counter[str]()
    for entry in found.rows(select(audit_entries).where(audit_entries.c.act.in_(ACTS_OF_CLAIMS))):
        details = json.loads(entry["details"])
        identity = details.get("id", details.get("claim", ""))
        told[entry["subject"], entry["act"], str(identity), str(details.get("sha256"))] += 1
        by_act[entry["act"]] += 1
    assert [twice for twice, times in told.items() if times > 1] == []
    assert by_act["claim registered"] == by_act["verdict"] > 0
    assert by_act["experiment planned"] == by_act["experiment run"] > 0


def check_files(found: Look) -> None:
    """The files of artefacts are those that the store knows, with the bytes that it promises; nothing else is left."""
    known = {row["sha256"]: row for row in found.rows(select(artefacts))}
    used = {row["sha256"] for row in found.rows(select(artefact_uses))}
    files = found.files()
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in files}
    assert len(hashes) == len(files), "a file lies there twice"
    assert set(hashes) == set(known), "files and rows of artefacts differ"
    assert all(path.stat().st_size == known[sha256]["size"] for sha256, path in hashes.items())
    assert used <= set(known)
    assert found.rows(select(staged_artefacts)) == []
    assert [path for path in found.scratch.rglob("*") if path.is_file()] == []


def check_calls(found: Look, sent: Mapping[str, int], most_resent: int) -> Counter[str]:
    """No answered request was sent again; each that was sent twice was in flight at a kill, and the ledger says so.

    Args:
        sent: requests that the server got, by idempotency key.
        most_resent: requests that can have been in flight at the kills.

    Returns:
        What stands in the ledger, by kind of event, and the repeats as `resent`.
    """
    answered, by_key = set[str](), Counter[str]()
    intents = Counter[str]()
    events = found.rows(select(call_events).order_by(call_events.c.event_id))
    kinds = Counter(event["event"] for event in events)
    for event in events:
        sha256, content = event["request_sha256"], json.loads(event["content"])
        if event["event"] == "intent":
            assert sha256 not in answered, "an answered request was sent again"
            intents[content["idempotency_key"]] += 1
            by_key[content["idempotency_key"]] += bool(content["resent"])
        elif event["event"] == "answer":
            assert sha256 not in answered, "a request has two answers"
            answered.add(sha256)
    assert set(sent) == set(intents), "server and ledger know different requests"
    again = {key: times - 1 for key, times in sent.items() if times > 1}
    assert all(times <= by_key[key] for key, times in again.items()), "a repeat is missing in the ledger"
    # what is on record as sent but never arrived was cut off on its way; nothing arrived without standing there
    assert all(times <= intents[key] for key, times in sent.items())
    assert by_key.total() <= most_resent
    rows = found.rows(select(calls))
    assert {row["status"] for row in rows} <= {"answered"}
    assert {row["request_sha256"] for row in rows} == answered
    assert len(answered) == len(sent)
    kinds["resent"] = by_key.total()
    return kinds


def check_results(results: Mapping[str, Mapping[str, bytes]], whole: Mapping[str, Mapping[str, bytes]]) -> None:
    """The same artefacts as an undisturbed run: the reports but for their times, the rest to the byte."""
    assert set(results) == set(whole)
    for key, expected in whole.items():
        got = results[key]
        assert set(got) == set(expected)
        for name in ALWAYS_ANEW:
            assert got.get(name) == expected.get(name), f"{key}: {name} differs"
        mine, theirs = (without_times(json.loads(side["report.json"])) for side in (got, expected))
        assert mine == theirs, f"{key}: {[n for n in theirs if mine.get(n) != theirs[n]]} differ"
