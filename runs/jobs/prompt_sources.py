"""What a job's cases are made of: prompts from its file, from other files or data sets; graphs; gold.

Sources are strangers' files: each fault is told with file and line, and the reading goes on to find the others.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs.jobs.faults import Fault, Place, shown
from tracescribe.runs.jobs.locating import beside
from tracescribe.runs.workspace import MAX_PROMPT_FILE_BYTES as MAX_PROMPT_BYTES
from tracescribe.tracer.errors import EvidenceError, GoldFormatError

if TYPE_CHECKING:
    from tracescribe.runs.jobs.reading import JobFile

SOURCES = ("inline", "file", "dataset", "graphs", "gold")
"""Fields of `prompts` of which exactly one is given."""
PROMPT_SUFFIXES = (".txt", ".jsonl", ".ndjson", ".csv", ".parquet")
COLUMN = "prompt"
"""Field or column of files of prompts; `id` beside it is taken where it is there."""
MAX_SOURCES = 1_000_000
"""Most prompts or graphs of one job."""
MAX_FAULTS = 100
"""Faults after which a source is not read further."""


@dataclass(frozen=True)
class SourcedCase:
    """A prompt or a graph file, and where it comes from.

    Attributes:
        prompt: text; None for a graph.
        graph: file; None for a prompt.
        source: place, for people.
        place: where faults of it are told.
        name: that the source gives it; None for none.
        gold_id: gold that it comes with.
    """

    source: str
    place: Place
    prompt: str | None = None
    graph: Path | None = None
    name: str | None = None
    gold_id: str | None = None


@dataclass(eq=False)
class Sources:
    """What a job interprets.

    Attributes:
        cases: in order.
        faults: of sources; a job with any is not submitted.
        notes: what people should know: files that were left alone, gold that can score nothing.
    """

    cases: list[SourcedCase] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fault(self, place: Place, field: str, problem: str, hint: str = "") -> None:
        """Note a fault of a source."""
        self.faults.append(Fault(place, field, problem, hint))


def read_sources(job: JobFile) -> Sources:
    """All prompts or graphs of a job; graphs are named, not read."""
    found = Sources()
    prompts = job.specification.prompts
    given = [name for name in SOURCES if getattr(prompts, name) is not None]
    if len(given) != 1:
        told = "nothing to interpret" if not given else f"{' and '.join(given)} are given"
        found.faults.append(job.fault("prompts", f"{told}; expected exactly one of {', '.join(SOURCES)}"))
        return found
    reader = _READERS[given[0]](job, found)
    limit = MAX_SOURCES + 1 if prompts.limit is None else prompts.limit
    place = job.document.at(("prompts", given[0]))
    for case in islice(reader, limit):
        _check_text(case, found)
        found.cases.append(case)
        if len(found.faults) >= MAX_FAULTS:
            found.fault(place, f"prompts.{given[0]}", f"more than {MAX_FAULTS} faults; the rest was not read")
            return found
    if len(found.cases) > MAX_SOURCES:
        found.fault(place, f"prompts.{given[0]}", f"more than {MAX_SOURCES} prompts; split the job")
    if not found.cases and not found.faults:
        found.fault(place, f"prompts.{given[0]}", "holds nothing to interpret; expected at least one prompt or graph")
    return found


def _check_text(case: SourcedCase, found: Sources) -> None:
    text = case.prompt
    if text is None:
        return
    if not text.strip():
        found.fault(case.place, "", "the prompt is empty; expected at least one word")
    elif "\0" in text:
        found.fault(case.place, "", "the prompt holds a NUL character; expected text")
    elif len(text) > MAX_PROMPT_BYTES:
        found.fault(case.place, "", f"the prompt has {len(text)} characters; expected at most {MAX_PROMPT_BYTES}")


def _inline(job: JobFile, found: Sources) -> Iterator[SourcedCase]:
    for number, prompt in enumerate(job.specification.prompts.inline or ()):
        place = job.document.at(("prompts", "inline", number))
        yield SourcedCase(f"prompts.inline[{number}]", place, prompt=prompt)


def _file(job: JobFile, found: Sources) -> Iterator[SourcedCase]:
    told = str(job.specification.prompts.file)
    path = beside(job.folder, told)
    place = job.document.at(("prompts", "file"))
    suffix = path.suffix.lower()
    if suffix not in PROMPT_SUFFIXES:
        hint = f"expected a name that ends in {', '.join(PROMPT_SUFFIXES)}"
        found.fault(place, "prompts.file", f"found {shown(told)}", hint)
        return
    try:
        if suffix == ".parquet":
            yield from _parquet(path, found)
        elif suffix == ".csv":
            yield from _csv(path, found)
        else:
            yield from _lines(path, found, as_json=suffix != ".txt")
    except OSError as error:
        told = f"cannot read {path}: {error.strerror or error}"
        found.fault(place, "prompts.file", told, "check the path; it is relative to the job's file")


def _lines(path: Path, found: Sources, *, as_json: bool) -> Iterator[SourcedCase]:
    with path.open("rb") as handle:
        number = 0
        while line := handle.readline(MAX_PROMPT_BYTES + 1):
            number += 1
            place = Place(str(path), number, 1)
            if len(line) > MAX_PROMPT_BYTES:
                found.fault(place, "", f"the line is longer than {MAX_PROMPT_BYTES} bytes; expected a prompt a line")
                return
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                found.fault(place, "", f"not UTF-8 text (byte {error.start})", "save the file as UTF-8")
                continue
            if not text.strip():
                continue
            source = f"{path.name} line {number}"
            if not as_json:
                yield SourcedCase(source, place, prompt=text)
                continue
            try:
                record = json.loads(text)
            except (ValueError, RecursionError) as error:
                told = f"not JSON ({str(error)[:80]})"
                found.fault(place, "", told, f"give an object with {COLUMN!r} in each line")
                continue
            if not isinstance(record, dict):
                found.fault(place, "", f"found {shown(record)}; expected an object with {COLUMN!r}")
                continue
            yield from _record(record, source, place, found)


def _csv(path: Path, found: Sources) -> Iterator[SourcedCase]:
    # undecodable bytes are told by line, not by a position in a buffer
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
        rows = csv.DictReader(handle, strict=True)
        try:
            if COLUMN not in (rows.fieldnames or ()):
                columns = ", ".join(map(repr, (rows.fieldnames or ())[:8])) or "none"
                found.fault(Place(str(path), 1, 1), "", f"found columns {columns}; expected a column {COLUMN!r}")
                return
            end = rows.line_num
            for row in rows:
                place, end = Place(str(path), end + 1, 1), rows.line_num
                source = f"{path.name} line {place.line}"
                if any("\udc80" <= c <= "\udcff" for c in row.get(COLUMN) or ""):
                    found.fault(place, COLUMN, "not UTF-8 text", "save the file as UTF-8")
                    continue
                yield from _record(row, source, place, found)
        except csv.Error as error:
            found.fault(Place(str(path), rows.line_num, 1), "", f"not CSV: {error}")


def _parquet(path: Path, found: Sources) -> Iterator[SourcedCase]:
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as handle, pyarrow.parquet.ParquetFile(handle) as file:
            names = file.schema_arrow.names
            if COLUMN not in names:
                told = f"found columns {', '.join(map(repr, names[:8]))}; expected a column {COLUMN!r}"
                found.fault(Place(str(path)), "", told)
                return
            number = 0
            for batch in file.iter_batches(batch_size=1000, columns=[name for name in (COLUMN, "id") if name in names]):
                for record in batch.to_pylist():
                    number += 1
                    yield from _record(record, f"{path.name} row {number}", Place(f"{path} row {number}"), found)
    except pyarrow.ArrowException as error:
        found.fault(Place(str(path)), "", f"not Parquet: {' '.join(str(error).split())[:120]}")


def _record(record: dict[str, Any], source: str, place: Place, found: Sources) -> Iterator[SourcedCase]:
    prompt, name = record.get(COLUMN), record.get("id")
    if not isinstance(prompt, str):
        told = f"found {shown(prompt)}" if COLUMN in record else "the field is missing"
        found.fault(place, COLUMN, f"{told}; expected text")
        return
    if name is not None and not isinstance(name, str | int):
        found.fault(place, "id", f"found {shown(name)}; expected text")
        return
    yield SourcedCase(source, place, prompt=prompt, name=None if name in (None, "") else str(name)[:200])


def _dataset(job: JobFile, found: Sources) -> Iterator[SourcedCase]:
    from tracescribe.tracer.corpus import DatasetCorpus

    asked = job.specification.prompts.dataset
    assert asked is not None, "the reader was chosen by this field"
    local = beside(job.folder, asked.name)
    name = str(local) if os.path.exists(local) else asked.name
    corpus = DatasetCorpus(name, asked.split, asked.column, asked.config, asked.revision)
    try:
        for document in islice(corpus.documents(), asked.limit):
            source = f"{asked.name} {asked.split} text {document.number + 1}"
            yield SourcedCase(source, Place(source), prompt=document.text)
    except EvidenceError as error:
        found.fault(job.document.at(("prompts", "dataset")), "prompts.dataset", str(error))


def _graphs(job: JobFile, found: Sources) -> Iterator[SourcedCase]:
    from tracescribe.tracer.graph_files import FORMATS

    path = beside(job.folder, str(job.specification.prompts.graphs))
    place = job.document.at(("prompts", "graphs"))
    if os.path.isfile(path):  # never raises, however long a name is
        yield SourcedCase(path.name, Place(str(path)), graph=path)
        return
    try:
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError as error:
        hint = "check the path; it is relative to the job's file"
        found.fault(place, "prompts.graphs", f"cannot read {path}: {error.strerror or error}", hint)
        return
    known = [file for file in files if file.name.lower().endswith(tuple(FORMATS))]
    if len(known) < len(files):
        found.notes.append(f"left alone in {path}, as no graphs by their names: {len(files) - len(known)}")
    for file in known:
        yield SourcedCase(file.name, Place(str(file)), graph=file)


def _gold(job: JobFile, found: Sources) -> Iterator[SourcedCase]:
    from tracescribe.evals.gold import graph_path
    from tracescribe.runs.jobs.gold_sources import open_gold_source

    name = str(job.specification.prompts.gold)
    place = job.document.at(("prompts", "gold"))
    try:
        folder, gold = open_gold_source(job.folder, name)
        for circuit in gold.circuits:
            if not circuit.can_score:
                found.notes.append(f"gold {circuit.gold_id} can score nothing and was left out")
                continue
            graph = None if folder is None else graph_path(folder, circuit)
            if graph is None and not job.specification.weights.load:
                told = f"gold {circuit.gold_id} has no graph, and weights.load is false"
                found.fault(place, "prompts.gold", told, "load weights, or leave that circuit out")
                continue
            source, prompt = f"gold {circuit.gold_id}", circuit.prompt if graph is None else None
            yield SourcedCase(source, place, prompt=prompt, graph=graph, name=circuit.gold_id, gold_id=circuit.gold_id)
    except GoldFormatError as error:
        found.fault(place, "prompts.gold", str(error))


_READERS: dict[str, Callable[[JobFile, Sources], Iterator[SourcedCase]]] = {
    "inline": _inline,
    "file": _file,
    "dataset": _dataset,
    "graphs": _graphs,
    "gold": _gold,
}
