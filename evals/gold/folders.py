"""Folders of gold outside the repository: published circuits with their graphs, or gold files of our own.

Two layouts are read. In the first, `circuits/` holds one document of the layout `gold-circuit/1` for each circuit, with
paths of graphs relative to the folder. In the second, gold files lie in the folder or one folder below it, with paths
of graphs relative to each file. A folder may hold both. Other files are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracescribe.evals.gold.checks import circuit_faults, raise_if, repeated
from tracescribe.evals.gold.ids import inside
from tracescribe.evals.gold.published import PUBLISHED_SCHEMA, published_circuit
from tracescribe.evals.gold.reading import MAX_GOLD_BYTES, parse_gold
from tracescribe.evals.gold.schema import GoldCircuit, GoldSet
from tracescribe.tracer.errors import GoldFormatError, GraphFormatError
from tracescribe.tracer.graph_document import load_json, read_bytes, unpack

CIRCUITS = "circuits"
"""Sub-folder that holds published circuits."""

MAX_FILES = 5000
"""Most files of a gold folder that are looked at."""

_MARK = b'"tracescribe-gold'


@dataclass(frozen=True)
class GoldFolder:
    """What a folder of gold holds.

    Attributes:
        folder: paths of graphs are relative to it.
        name: of the folder.
        circuits: sorted by file, ids unique.
    """

    folder: Path
    name: str
    circuits: tuple[GoldCircuit, ...]

    def __iter__(self) -> Iterator[GoldCircuit]:
        return iter(self.circuits)

    def __len__(self) -> int:
        return len(self.circuits)

    @property
    def sensitive(self) -> frozenset[str]:
        """Ids of circuits whose prompts are about doing harm; tables report without them too."""
        return frozenset(circuit.gold_id for circuit in self.circuits if "sensitive" in circuit.tags)

    @property
    def gold_set(self) -> GoldSet:
        """The circuits as a set."""
        return GoldSet(name=self.name, circuits=self.circuits)

    def graph_path(self, circuit: GoldCircuit) -> Path | None:
        """Where a circuit's graph lies, or None where it has none.

        Raises:
            GoldFormatError: the path leads out of the folder.
        """
        return graph_path(self.folder, circuit)


def graph_path(folder: Path, circuit: GoldCircuit) -> Path | None:
    """Where a circuit's graph lies, or None where it has none.

    Raises:
        GoldFormatError: the path leads out of the folder.
    """
    if circuit.graph is None:
        return None
    return inside(folder, circuit.graph.path, f"gold circuit {circuit.gold_id}: graph.path")


def read_gold_folder(folder: Path) -> GoldFolder:
    """Read a folder of gold, or a single gold file as the folder that it lies in.

    Raises:
        GoldFormatError: no such folder, no gold in it, a malformed or oversized file, an id that two circuits have, or
            a graph's path that leads out of the folder.
    """
    folder = folder.expanduser()
    if folder.is_file():
        return _checked(folder.parent, read_circuits(folder, folder.parent, must=True), folder.stem)
    circuits = [circuit for path in files_of(folder) for circuit in read_circuits(path, folder)]
    if not circuits:
        raise GoldFormatError(
            f"{folder}: no gold in it; expected {CIRCUITS}/*.json of the layout {PUBLISHED_SCHEMA}, or gold files"
        )
    return _checked(folder, circuits, folder.resolve().name)


def files_of(folder: Path) -> list[Path]:
    """Files of a folder that may hold gold, sorted.

    Raises:
        GoldFormatError: no such folder, or too many files.
    """
    try:
        files = sorted(_files(folder))
    except OSError as error:
        raise GoldFormatError(f"cannot read gold folder {folder}: {error.strerror or error}; check the path") from error
    if len(files) > MAX_FILES:
        raise GoldFormatError(f"{folder}: {len(files)} files, at most {MAX_FILES} are looked at; split the folder")
    return files


def _files(folder: Path) -> Iterator[Path]:
    """Files that may hold gold: those in the folder, and those one folder below; graphs and features are no gold."""
    for path in folder.iterdir():
        if path.is_dir() and path.name not in ("graphs", "features", "unlabelled") and not path.name.startswith("."):
            yield from (one for one in path.iterdir() if _may_hold_gold(one))
        elif _may_hold_gold(path):
            yield path


def _may_hold_gold(path: Path) -> bool:
    return path.name.endswith((".json", ".json.gz")) and path.is_file() and not path.name.startswith(".")


def _checked(folder: Path, circuits: list[GoldCircuit], name: str) -> GoldFolder:
    faults = [f"id {gold_id} is used twice" for gold_id in repeated(circuit.gold_id for circuit in circuits)]
    raise_if(faults, str(folder), "give each circuit an id of its own")
    for circuit in circuits:
        raise_if(circuit_faults(circuit), f"{folder}: gold circuit {circuit.gold_id}", "correct the file")
        graph_path(folder, circuit)
    return GoldFolder(folder, name, tuple(circuits))


def read_circuits(path: Path, folder: Path, *, must: bool = False, checked: bool = True) -> list[GoldCircuit]:
    """The circuits of one file; none where it is another document and need not be gold.

    Args:
        path: of the file.
        folder: the gold's; paths of graphs become relative to it.
        must: whether a document that is no gold is refused; in the folder of published circuits it always is.
        checked: whether faults that types cannot express are refused too.

    Raises:
        GoldFormatError: an oversized or malformed file, or a link that leads out of the folder.
    """
    inside(folder, path.relative_to(folder).as_posix(), str(path))
    content = content_of(path)
    if is_own(content):
        gold = parse_gold(content.decode("utf-8", errors="replace"), str(path), checked=checked)
        return [_rebased(circuit, path.parent, folder) for circuit in gold.circuits]
    if not must and path.parent.name != CIRCUITS:
        return []
    return [published_circuit(_document(content, path), str(path))]


def is_own(content: bytes) -> bool:
    """Whether a file's bytes call themselves gold of ours."""
    return _MARK in content


def content_of(path: Path) -> bytes:
    """A gold file's bytes, unpacked where it is gzipped.

    Raises:
        GoldFormatError: it cannot be read, or is larger than is read.
    """
    try:
        content = unpack(read_bytes(path, MAX_GOLD_BYTES), str(path))
    except GraphFormatError as error:
        raise GoldFormatError(str(error).replace("graph file", "gold file", 1)) from error
    if len(content) > MAX_GOLD_BYTES:
        raise GoldFormatError(f"{path}: unpacks to {len(content)} bytes, the limit is {MAX_GOLD_BYTES}; split the set")
    return content


def _document(content: bytes, path: Path) -> Any:
    try:
        document = load_json(content, str(path))
    except GraphFormatError as error:
        raise GoldFormatError(str(error)) from error
    if not isinstance(document, dict) or document.get("schema") != PUBLISHED_SCHEMA:
        told = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise GoldFormatError(
            f"{path}: schema {str(told)[:60]!r}, expected {PUBLISHED_SCHEMA} or a gold file of tracescribe"
        )
    return document


def _rebased(circuit: GoldCircuit, home: Path, folder: Path) -> GoldCircuit:
    """A circuit with its graph's path relative to the folder, not to its file."""
    if circuit.graph is None or home == folder:
        return circuit
    path = (home.relative_to(folder) / circuit.graph.path).as_posix()
    return circuit.model_copy(update={"graph": circuit.graph.model_copy(update={"path": path})})
