"""Takes a job's results out of the store: its summary, its table, and the files of its cases, in one folder.

    summary.md, summary.html, summary.json     what came of the job
    cases.parquet                              a row for each case
    cases.jsonl                                which folder belongs to which case, and what its files must hash to
    cases/000017-the-opposite-of-1a2b3c4d/     report.json, report.html, ..., graph.json, llm_calls.jsonl
    export.json                                what was asked for

No name comes from a prompt or an answer: titles are reduced to a few ASCII words and a hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tracescribe.runs.job_results.folders import whole_folder, write_mark
from tracescribe.runs.store.tables import artefact_uses, artefacts, cases
from tracescribe.runs.workspace import slug
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.provenance import version

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

PARTS = ("summary", "parquet", "reports", "graphs", "calls")
DEFAULT_PARTS = ("summary", "parquet")
CALLS_FILE = "llm_calls.jsonl"
_KINDS = {
    "reports": ("report", "page", "markdown", "drawing", "evidence"),
    "graphs": ("graph",),
    "calls": (),
}
_SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*", re.ASCII)
_LONGEST_NAME = 60
_AT_ONCE = 200


@dataclass(frozen=True)
class Written:
    """What an export wrote.

    Attributes:
        folder: where.
        files: how many files, its own mark among them.
    """

    folder: Path
    files: int


def export_job(
    store: Store, job_id: str, out: Path, *, what: Sequence[str] = DEFAULT_PARTS, force: bool = False
) -> Written:
    """Write a job's results to a folder, which appears whole or not at all; who took what out is logged before.

    Args:
        job_id: in full.
        what: of `PARTS`.
        force: replace what an earlier export wrote to the folder.

    Raises:
        UnknownIdError: there is no such job.
        InputError: `what` names no part.
        OutputError: something else is in the folder's place, or it cannot be written.
        StoreError: the store cannot be read; an artefact is damaged or missing.
    """
    unknown = [part for part in what if part not in PARTS]
    if unknown or not what:
        raise InputError(f"nothing is exported as {', '.join(unknown) or 'nothing'}; choose of {', '.join(PARTS)}")
    from tracescribe.runs.access import log_export
    from tracescribe.runs.job_results.origin import redactor_of_job
    from tracescribe.runs.job_results.summing import read_job_row
    from tracescribe.tracer.redaction import redacting

    job = read_job_row(store, job_id)
    redactor = redactor_of_job(json.loads(job["specification"]))
    parts = tuple(part for part in PARTS if part in what)
    of_cases = tuple(part for part in parts if part in _KINDS)
    opened = _finished(store, job_id) if of_cases else []
    # where it goes to may be named after a person: the log keeps it for ever
    with whole_folder(out, force=force) as folder, redacting(redactor):
        log_export(store, None, job_id, opened, form=", ".join(parts), to=str(out))
        n = _write_tables(store, job_id, folder, parts)
        if of_cases:
            n += _write_cases(store, job_id, folder, of_cases)
        write_mark(folder, job=job_id, parts=list(parts), product=version(), files=n + 1)
    return Written(out.expanduser().absolute(), n + 1)


def case_folder(position: int, title: str) -> str:
    """Name of a case's folder: its number, then a few words of its title and their hash."""
    return f"{position:06d}-{slug(title)}"


def _write_tables(store: Store, job_id: str, folder: Path, parts: Sequence[str]) -> int:
    if not {"summary", "parquet"} & set(parts):
        return 0
    from tracescribe.runs.job_results.markdown import summary_markdown
    from tracescribe.runs.job_results.page import summary_page
    from tracescribe.runs.job_results.summing import sum_up
    from tracescribe.runs.job_results.tables import write_parquet

    summary, n = sum_up(store, job_id), 0
    if "summary" in parts:
        text = json.dumps(summary.as_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        for name, content in (
            ("summary.md", summary_markdown(summary)),
            ("summary.html", summary_page(summary)),
            ("summary.json", text),
        ):
            # what a lone surrogate stood for cannot be written in any encoding
            (folder / name).write_bytes(content.encode("utf-8", "replace"))
            n += 1
    if "parquet" in parts:
        write_parquet(store, job_id, folder / "cases.parquet", [score.name for score in summary.scores])
        n += 1
    return n


def _write_cases(store: Store, job_id: str, folder: Path, parts: Sequence[str]) -> int:
    kinds = {kind for part in parts for kind in _KINDS[part]}
    n = 1
    with (folder / "cases.jsonl").open("w", encoding="utf-8") as index:
        found = _case_files(store, job_id, kinds)
        while chunk := list(islice(found, _AT_ONCE)):
            for case_id, position, title, files in chunk:
                place = folder / "cases" / case_folder(position, title)
                contents = {name: store.artefacts.read(sha256) for name, sha256 in files.items()}
                if "calls" in parts and (calls := _calls(store, case_id)):
                    contents[CALLS_FILE] = calls
                if not contents:
                    continue
                place.mkdir(parents=True)
                for name, content in contents.items():
                    (place / name).write_bytes(content)
                hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
                line = {"case_id": case_id, "folder": f"cases/{place.name}", "files": hashes}
                index.write(json.dumps(line, ensure_ascii=True) + "\n")
                n += len(contents)
    return n


def _calls(store: Store, case_id: str) -> bytes:
    from tracescribe.runs.executors.call_ledger import case_call_log

    return case_call_log(store, case_id)


def _finished(store: Store, job_id: str) -> list[str]:
    query = sa.select(cases.c.case_id).where(cases.c.job_id == job_id, cases.c.status.in_(("done", "failed")))
    return list(store.read(lambda connection: connection.execute(query.order_by(cases.c.position)).scalars()))


def _case_files(store: Store, job_id: str, kinds: set[str]) -> Iterator[tuple[str, int, str, dict[str, str]]]:
    """Finished cases with SHA-256 by file name, a few hundred at a time."""
    after = -1
    while True:
        chosen = (
            sa.select(cases.c.case_id, cases.c.position, cases.c.title)
            .where(cases.c.job_id == job_id, cases.c.position > after, cases.c.status.in_(("done", "failed")))
            .order_by(cases.c.position)
            .limit(_AT_ONCE)
        )
        rows = _rows(store, chosen)
        used = (
            sa.select(artefact_uses.c.case_id, artefact_uses.c.name, artefact_uses.c.sha256)
            .join(artefacts, artefacts.c.sha256 == artefact_uses.c.sha256)
            .where(artefact_uses.c.case_id.in_([row.case_id for row in rows]), artefacts.c.kind.in_(kinds))
            .order_by(artefact_uses.c.case_id, artefact_uses.c.name)
        )
        files: dict[str, dict[str, str]] = {}
        for case_id, name, sha256 in _rows(store, used):
            files.setdefault(case_id, {})[_file_name(name, sha256)] = sha256
        for row in rows:
            yield row.case_id, row.position, row.title, files.get(row.case_id, {})
        if len(rows) < _AT_ONCE:
            return
        after = rows[-1].position


def _rows(store: Store, query: sa.Executable) -> list[Any]:
    return store.read(lambda connection: list(connection.execute(query)))


def _file_name(name: str, sha256: str) -> str:
    """The artefact's name where it is one of ours, else its hash."""
    return name if len(name) <= _LONGEST_NAME and _SAFE_NAME.fullmatch(name) else sha256
