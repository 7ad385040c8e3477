"""Brings reports from elsewhere into a store: each becomes the one done case of a job of its own.

So everything that holds for results of jobs holds for them: content addresses, retention, the access log, exports. The
job's specification says what the report's own provenance says. The same report brought in twice is one case.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tracescribe.runs.review.brought_rows import FIRST_ATTEMPT, MAX_NAME, BroughtRows, rows_of
from tracescribe.runs.review.errors import BroughtInError
from tracescribe.runs.review.stored import (
    GRAPH_FILE,
    GRAPH_FILES,
    MAX_GRAPH_BYTES,
    NATIVE_FILE,
    REPORT_FILE,
    parse_bytes,
    read_graph,
    reading_a_graph,
)
from tracescribe.runs.review.texts import storable
from tracescribe.tracer.errors import InputError, ReportError, TracescribeError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.executors.case_scoring import CaseScores
    from tracescribe.runs.store.artefacts import Artefact
    from tracescribe.runs.store.database import Store
    from tracescribe.tracer.graph import AttributionGraph

MAX_REPORT_BYTES = 32 << 20
_ID_LETTERS = 12
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Case:
    """A case that may be there, with the names of what it has."""

    case_id: str
    attempt: int
    names: frozenset[str]


def bring_in_folder(store: Store, folder: str | Path, actor: str | None = None, *, gold: Path | None = None) -> str:
    """Bring in what `tracescribe demo` or `tracescribe interpret` wrote: `report.json`, and the graph beside it.

    Args:
        folder: of the report, or the report's file.
        actor: who does it, as the audit log names them; None for the person at this machine.
        gold: gold of one's own to score it against, beside the built-in one.

    Returns:
        The id of its case.

    Raises:
        BroughtInError: there is no report, or report and graph cannot be brought in.
        StoreError: the store cannot be used; nothing of the report is in it then.
    """
    path = Path(folder).expanduser()
    file = path / REPORT_FILE if path.is_dir() or path.suffix != ".json" else path
    content = _read(file, MAX_REPORT_BYTES)
    beside = next((file.parent / name for name in GRAPH_FILES if (file.parent / name).is_file()), None)
    graph = None if beside is None else _read(beside, MAX_GRAPH_BYTES)
    return bring_in(store, content, graph, file.parent.resolve().name or "report", actor, gold=gold)


def bring_in(
    store: Store,
    report_bytes: bytes,
    graph_bytes: bytes | None,
    name: str,
    actor: str | None = None,
    *,
    gold: Path | None = None,
) -> str:
    """Store a report and its graph as the result of a done case, scored where there is gold of its prompt and weights.

    Args:
        report_bytes: of `report.json`.
        graph_bytes: of the graph that it interprets, as JSON (plain or gzipped) or in the native format; None where
            there is none: then only what the report names can be put into supernodes.
        name: for people: of the folder or file that it comes from.
        actor: who does it, as the audit log names them; None for the person at this machine.
        gold: gold of one's own to score it against, beside the built-in one.

    Returns:
        The id of the case: that of an earlier one where the store has this very report.

    Raises:
        BroughtInError: what was given is no valid report, too large, or the graph is not the report's.
        StoreError: the store cannot be used; nothing of the report is in it then.
    """
    from tracescribe.runs.executors.liveness import new_worker_id
    from tracescribe.runs.store.artefacts import Artefact

    report = _report(report_bytes)
    wanted, graph = [Artefact(REPORT_FILE, "report", report_bytes)], None
    if graph_bytes is not None:
        kept_graph, graph = _graph_artefact(report, graph_bytes)
        wanted.append(kept_graph)
    sha256 = wanted[0].sha256
    found = store.read(lambda connection: _find(connection, sha256))
    if found is not None and (graph_bytes is None or found.names & {*GRAPH_FILES}):
        return found.case_id
    job_id = base64.b32encode(hashlib.sha256(bytes.fromhex(sha256)).digest()).decode().lower()[:_ID_LETTERS]
    case_id, attempt = (f"{job_id}.0", FIRST_ATTEMPT) if found is None else (found.case_id, found.attempt)
    new = wanted if found is None else wanted[1:]
    bringer = new_worker_id()  # nobody's: what it leaves behind is swept
    kept = store.artefacts.put_all(store, bringer, case_id, attempt, new)
    scores = _scores(report, graph, gold)
    rows = rows_of(report, wanted, job_id, case_id, name, actor, scores) if found is None else None

    def work(connection: Connection) -> None:
        _enter(connection, store, rows, case_id, attempt, kept, report, actor, name)
        if rows is None and scores.values:
            _enter_scores(connection, case_id, report, scores)

    try:
        store.write(work, durable=True)
    except BaseException:
        store.artefacts.abandon(store, case_id, attempt)
        raise
    return case_id


# -- inside -----------------------------------------------------------------------------------------------------------


def _read(path: Path, most: int) -> bytes:
    """A file's bytes; a pipe or a device, which may never end, is not read."""
    try:
        # without waiting: else opening a pipe lasts until somebody writes to it
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BroughtInError(f"{path} is no file; name a folder that 'tracescribe interpret' wrote")
            content = file.read(most + 1)
        if len(content) > most:
            raise BroughtInError(f"{path} has more than {most} bytes, and no more are read")
        return content
    except OSError as error:
        raise BroughtInError(
            f"{path} cannot be read ({error.strerror or error}); name a folder that 'tracescribe demo' or 'tracescribe "
            "interpret' wrote"
        ) from error


def _report(content: bytes) -> CircuitReport:
    if len(content) > MAX_REPORT_BYTES:
        raise BroughtInError(f"the report has {len(content)} bytes, at most {MAX_REPORT_BYTES} are read")
    try:
        return parse_bytes(content)
    except ReportError as error:
        raise BroughtInError(f"the report cannot be brought in: {error}") from error


def _scores(report: CircuitReport, graph: AttributionGraph | None, gold: Path | None) -> CaseScores:
    """As `tracescribe score` scores it; none without a graph, or without gold of the prompt and the weights."""
    from tracescribe.evals.scores import score_report
    from tracescribe.runs.executors.case_scoring import CaseScores
    from tracescribe.runs.review.gold_lookup import gold_for

    if graph is None:
        return CaseScores()
    try:
        circuit, _ = gold_for(report, gold)
        if circuit is None:
            return CaseScores()
        found = score_report(report, circuit, graph)
    except TracescribeError as error:  # the report is worth having all the same; its page says why there are none
        _log.warning("report %s is brought in without scores: %s", report.report_id, error)
        return CaseScores()
    return CaseScores(
        {name: score.value for name, score in found.values.items()},
        {"family": circuit.family, "tags": list(circuit.tags)},
    )


def _enter_scores(connection: Connection, case_id: str, report: CircuitReport, scores: CaseScores) -> None:
    """Add scores to a report that was there before its graph."""
    from tracescribe.runs.review.brought_rows import figures_of
    from tracescribe.runs.review.indexing import headline_of
    from tracescribe.runs.store.tables import cases, reports

    in_case = sa.update(cases).where(cases.c.case_id == case_id).values(figures=figures_of(report, scores))
    connection.execute(in_case)
    connection.execute(sa.update(reports).where(reports.c.case_id == case_id).values(headline_of(scores.values)))


def _graph_artefact(report: CircuitReport, content: bytes) -> tuple[Artefact, AttributionGraph]:
    """The graph as it is stored and as it is read, once it is known to be the report's."""
    from tracescribe.agents.reporting.assembly import graph_sha256
    from tracescribe.runs.store.artefacts import Artefact
    from tracescribe.tracer.blinding import blind
    from tracescribe.tracer.graph_json import dump, to_json

    if len(content) > MAX_GRAPH_BYTES:
        raise BroughtInError(f"the graph has {len(content)} bytes, at most {MAX_GRAPH_BYTES} are read")
    try:
        with reading_a_graph:
            graph, native = _parsed(content)
        hashes = (graph_sha256(graph), graph_sha256(blind(graph)))
    except InputError as error:
        raise BroughtInError(f"the graph cannot be brought in: {error}") from error
    if report.provenance.graph_sha256 not in hashes:
        raise BroughtInError(
            f"the graph is not the one that report {report.report_id} interprets: its hash is {hashes[1][:12]}, the report "
            f"says {report.provenance.graph_sha256[:12]}; give the unpruned graph of the same run, or none"
        )
    if native:
        return Artefact(NATIVE_FILE, "graph", content), graph
    gzipped = content[:2] == b"\x1f\x8b"
    return Artefact(GRAPH_FILE, "graph", dump(to_json(graph), Path(GRAPH_FILE)) if gzipped else content), graph


def _parsed(content: bytes) -> tuple[AttributionGraph, bool]:
    native = content[:2] != b"\x1f\x8b" and content.lstrip()[:1] != b"{"
    return read_graph(NATIVE_FILE if native else "graph", content), native


def _find(connection: Connection, sha256: str) -> _Case | None:
    """The done case that has this very report, the first where there are several."""
    from tracescribe.runs.store.tables import artefact_uses, cases

    query = (
        sa.select(cases.c.case_id, cases.c.attempt)
        .join(artefact_uses, artefact_uses.c.case_id == cases.c.case_id)
        .where(artefact_uses.c.sha256 == sha256, artefact_uses.c.name == REPORT_FILE, cases.c.status == "done")
        .order_by(cases.c.finished_at, cases.c.case_id)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    names = connection.scalars(sa.select(artefact_uses.c.name).where(artefact_uses.c.case_id == row.case_id))
    return _Case(str(row.case_id), int(row.attempt), frozenset(names))


def _enter(
    connection: Connection,
    store: Store,
    rows: BroughtRows | None,
    case_id: str,
    attempt: int,
    kept: dict[str, str],
    report: CircuitReport,
    actor: str | None,
    name: str,
) -> None:
    from tracescribe.runs.audit.log import append
    from tracescribe.runs.review.indexing import enter
    from tracescribe.runs.store.statements import insert_if_absent
    from tracescribe.runs.store.tables import artefact_uses, cases, jobs

    first = rows is None or insert_if_absent(connection, jobs, [rows.job]) == 1
    if rows is not None:
        insert_if_absent(connection, cases, [rows.case])
    had = sa.select(artefact_uses.c.name).where(artefact_uses.c.case_id == case_id)
    there = set(connection.scalars(had))
    store.artefacts.keep(connection, case_id, attempt, kept)
    if not first and there >= set(kept):
        return  # somebody brought the same in at the same moment, or this is a repetition
    if first and rows is not None:
        enter(connection, rows.job["job_id"], case_id, rows.listing, rows.case["finished_at"])
    details = {"from": storable(name, MAX_NAME), "report_id": report.report_id, "artefacts": kept}
    append(connection, act="report brought in", subject=case_id, details=details, actor=actor)
