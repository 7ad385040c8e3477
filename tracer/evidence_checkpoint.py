"""The unfinished scan on disk: what is done stays done, whatever kills the process, and no work is done twice.

A scan goes shard by shard. A shard leaves a *run*: one file of candidates and one of counts, sorted by layer and block
of features; its windows are appended to a log. Then the state file is replaced, and only then does the shard count.
Whatever else lies in the folder when a scan is taken up again is rubbish of the killed process and is removed. Eight
runs are merged into one of the next level, so that a scan of any length leaves few files and little on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.tracer.corpus_windows import Position, Window
from tracescribe.tracer.errors import EvidenceError, OutputError
from tracescribe.tracer.evidence_rows import (
    CANDIDATE_KINDS,
    COUNT_KINDS,
    KeepRules,
    merge_counts,
    reduce_candidates,
    rows_between,
)
from tracescribe.tracer.parquet_files import BlockReader, BlockWriter, Columns, whole_file
from tracescribe.tracer.provenance import write_json_atomic
from tracescribe.tracer.scan_plan import differences

CHECKPOINT = "checkpoint"
"""Folder of the unfinished scan, inside the folder of the evidence."""
BLOCK_FEATURES = 512
"""Features that are merged together: the unit of memory of every merge."""
FAN_IN = 8
"""Runs of one level that are merged into one of the next."""
SAMPLE_KINDS = {"window": "int64", "position": "uint16", "feature": "int32", "value": "float32"}
"""Every activation on the windows of the reference sample; one block for each layer."""
TOKEN_TYPE = np.dtype([("id", "<i4"), ("next", "<i4")])
"""A token of the log, and the model's most probable next one."""
WINDOW_TYPE = np.dtype([("offset", "<i8"), ("length", "<i4"), ("test", "<i4"), ("priority", "<u8")])
"""A window of the log: where its tokens begin, how many there are, its half, its priority."""

_PLAN, _STATE, _TOKENS, _WINDOWS, _LOCK = "plan.json", "state.json", "tokens.bin", "windows.bin", "lock"
_OVER = "start over with --force, or choose another folder"


class ScanState(BaseModel):
    """How far a scan is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: int = Field(default=0, ge=0)
    windows: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    document: int = Field(default=0, ge=0)
    part: int = Field(default=0, ge=0)
    documents: int = Field(default=0, ge=0)
    digest: str = ""
    finished: bool = False
    runs: tuple[tuple[int, int], ...] = ()

    @property
    def position(self) -> Position:
        """The next window."""
        return Position(self.document, self.part)


@dataclass(frozen=True, eq=False)
class ScannedWindows:
    """The log of all windows that were scanned; arrays are mapped, not read.

    Attributes:
        tokens: `[n_tokens]` of `TOKEN_TYPE`.
        windows: `[n_windows]` of `WINDOW_TYPE`.
    """

    tokens: NDArray[Any]
    windows: NDArray[Any]


def blocks_of(n_features: Sequence[int]) -> Iterator[tuple[str, int, int, int]]:
    """Name, layer, first feature and the one after the last of every block, in order."""
    for layer, width in enumerate(n_features):
        for first in range(0, width, BLOCK_FEATURES):
            yield f"{layer}:{first}", layer, first, min(first + BLOCK_FEATURES, width)


class ShardFiles:
    """Files of the shard that is being written."""

    def __init__(self, candidates: BlockWriter, counts: BlockWriter, sample: BlockWriter) -> None:
        self._candidates, self._counts, self._sample = candidates, counts, sample

    def write_layer(self, layer: int, width: int, candidates: Columns, counts: Columns, sample: Columns) -> None:
        """Add one layer; layers come in order.

        Args:
            layer: which.
            width: its features.
            candidates, counts: reduced, sorted by feature.
            sample: activations on sampled windows.
        """
        for first in range(0, width, BLOCK_FEATURES):
            name, stop = f"{layer}:{first}", first + BLOCK_FEATURES
            self._candidates.write(name, rows_between(candidates, CANDIDATE_KINDS, first, stop))
            self._counts.write(name, rows_between(counts, COUNT_KINDS, first, stop))
        self._sample.write(str(layer), sample)


class Checkpoint:
    """An unfinished scan in a folder.

    Attributes:
        folder: of the checkpoint.
        state: how far the scan is.
    """

    def __init__(self, folder: Path, state: ScanState, rules: KeepRules, n_features: Sequence[int]) -> None:
        self.folder, self.state = folder, state
        self._rules, self._n_features = rules, tuple(n_features)

    @classmethod
    def open(cls, folder: Path, plan: Mapping[str, Any], rules: KeepRules, n_features: Sequence[int]) -> Checkpoint:
        """Take up the scan in a folder, or begin one.

        Args:
            folder: of the checkpoint.
            plan: everything that the result depends on, as JSON.
            rules, n_features: as in the plan.

        Raises:
            EvidenceError: a scan with another plan was begun there, or its files are damaged.
            OutputError: the folder cannot be written to.
        """
        if (folder / _PLAN).is_file():
            state = cls._resumed(folder, plan)
        else:
            state = ScanState()
            write_json_atomic(folder / _STATE, state.model_dump())
            write_json_atomic(folder / _PLAN, dict(plan))
        checkpoint = cls(folder, state, rules, n_features)
        checkpoint._clean()
        return checkpoint

    @staticmethod
    def _resumed(folder: Path, plan: Mapping[str, Any]) -> ScanState:
        try:
            begun = json.loads((folder / _PLAN).read_bytes())
            state = ScanState.model_validate_json((folder / _STATE).read_bytes())
        except (OSError, ValueError, ValidationError) as error:
            raise EvidenceError(
                f"the unfinished scan in {folder} is damaged ({type(error).__name__}); {_OVER}"
            ) from error
        wanted = json.loads(json.dumps(plan))
        other = differences(begun, wanted)
        if other:
            raise EvidenceError(f"{folder} holds an unfinished scan with another {'; '.join(other)}; {_OVER}")
        return state

    def windows(self) -> ScannedWindows:
        """All windows of finished shards."""
        return ScannedWindows(
            _mapped(self.folder / _TOKENS, TOKEN_TYPE, self.state.tokens),
            _mapped(self.folder / _WINDOWS, WINDOW_TYPE, self.state.windows),
        )

    @contextmanager
    def shard(self) -> Iterator[ShardFiles]:
        """Files for the next shard's activations; they count once `commit` was called.

        Raises:
            OutputError: the folder cannot be written to.
        """
        with ExitStack() as stack:
            writers = [
                stack.enter_context(BlockWriter(stack.enter_context(whole_file(self._run(kind, 0, number))), kinds))
                for kind, number, kinds in (
                    ("candidates", self.state.shards, CANDIDATE_KINDS),
                    ("counts", self.state.shards, COUNT_KINDS),
                    ("sample", self.state.shards, SAMPLE_KINDS),
                )
            ]
            yield ShardFiles(*writers)

    def commit(self, windows: Sequence[Window], next_ids: NDArray[Any], after: Position | None, digest: str) -> None:
        """Make the shard count, and merge runs where there are enough.

        Args:
            windows: those of the shard.
            next_ids: the model's most probable next tokens, `[n_tokens]`.
            after: of the next window; None at the end of the corpus.
            digest: of all documents before `after`.

        Raises:
            OutputError: the folder cannot be written to.
        """
        old = self.state
        lengths = np.array([len(window.ids) for window in windows])
        tokens = np.empty(int(lengths.sum()), dtype=TOKEN_TYPE)
        tokens["id"] = np.concatenate([window.ids for window in windows])
        tokens["next"] = next_ids
        table = np.empty(len(windows), dtype=WINDOW_TYPE)
        table["offset"] = old.tokens + np.cumsum(lengths) - lengths
        table["length"] = lengths
        table["test"] = [window.is_test for window in windows]
        table["priority"] = np.array([window.priority for window in windows], dtype=np.uint64)
        _append(self.folder / _TOKENS, tokens, old.tokens)
        _append(self.folder / _WINDOWS, table, old.windows)
        following = old.position if after is None else after
        last = windows[-1].position.document
        self._save(
            ScanState(
                shards=old.shards + 1,
                windows=old.windows + len(windows),
                tokens=old.tokens + len(tokens),
                document=following.document,
                part=following.part,
                documents=last + 1,
                digest=digest,
                finished=after is None,
                runs=(*old.runs, (0, old.shards)),
            )
        )
        self._merge_runs()

    def runs(self, kind: str) -> list[BlockReader]:
        """Open files of one kind (`candidates`, `counts`) that cover everything scanned so far.

        Raises:
            EvidenceError: one is damaged.
        """
        kinds = CANDIDATE_KINDS if kind == "candidates" else COUNT_KINDS
        return [BlockReader(self._run(kind, level, number), kinds) for level, number in self.state.runs]

    def sample_layer(self, layer: int) -> Iterator[Columns]:
        """Activations of one layer on windows that were in the sample when they were scanned, shard by shard.

        Raises:
            EvidenceError: a file is damaged.
        """
        for shard in range(self.state.shards):
            reader = BlockReader(self._run("sample", 0, shard), SAMPLE_KINDS)
            rows = reader.read(str(layer))
            reader.close()
            if rows is not None:
                yield rows

    def remove(self) -> None:
        """Delete the checkpoint: the scan is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, kind: str, level: int, number: int) -> Path:
        return self.folder / f"{kind}-{level}-{number}.parquet"

    def _save(self, state: ScanState) -> None:
        write_json_atomic(self.folder / _STATE, state.model_dump())
        self.state = state

    def _merge_runs(self) -> None:
        level = 0
        while len(full := [run for run in self.state.runs if run[0] == level]) >= FAN_IN:
            merged = (level + 1, full[0][1])
            for kind, kinds in (("candidates", CANDIDATE_KINDS), ("counts", COUNT_KINDS)):
                readers = [BlockReader(self._run(kind, *run), kinds) for run in full]
                with whole_file(self._run(kind, *merged)) as path, BlockWriter(path, kinds) as writer:
                    for name, *_ in blocks_of(self._n_features):
                        parts = [part for reader in readers if (part := reader.read(name)) is not None]
                        if kind == "counts":
                            writer.write(name, merge_counts(parts))
                        else:
                            writer.write(name, reduce_candidates(parts, self._rules))
                for reader in readers:
                    reader.close()
            left = tuple(run for run in self.state.runs if run not in full)
            self._save(self.state.model_copy(update={"runs": tuple(sorted((*left, merged), key=lambda run: run[1]))}))
            for run in full:
                for kind in ("candidates", "counts"):
                    self._run(kind, *run).unlink(missing_ok=True)
            level += 1

    def _clean(self) -> None:
        """Cut the log to what counts and remove every other file.

        Raises:
            EvidenceError: something that counts is missing.
        """
        sizes = {_TOKENS: self.state.tokens * TOKEN_TYPE.itemsize, _WINDOWS: self.state.windows * WINDOW_TYPE.itemsize}
        needed = [self._run(kind, *run) for run in self.state.runs for kind in ("candidates", "counts")]
        needed += [self._run("sample", 0, shard) for shard in range(self.state.shards)]
        gone = [path.name for path in needed if not path.is_file()]
        gone += [name for name, size in sizes.items() if _size(self.folder / name) < size]
        if gone:
            raise EvidenceError(f"the unfinished scan in {self.folder} lacks {', '.join(gone[:3])}; {_OVER}")
        for path in self.folder.iterdir():
            if path.name not in {_PLAN, _STATE, _LOCK, *sizes} and path not in needed:
                path.unlink()
        for name, size in sizes.items():
            if _size(self.folder / name) > size:
                os.truncate(self.folder / name, size)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Two scans into one folder would spoil each other: the second is refused.

    Raises:
        OutputError: another process scans into the folder, or it cannot be written to.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"another process is scanning into {folder.parent}; wait for it, or end it") from error
        yield


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _mapped(path: Path, kind: np.dtype[Any], n: int) -> NDArray[Any]:
    return np.memmap(path, dtype=kind, mode="r", shape=(n,)) if n else np.zeros(0, dtype=kind)


def _append(path: Path, rows: NDArray[Any], at: int) -> None:
    """Write rows behind the first `at` ones, and wait until they are on the disk."""
    try:
        with path.open("r+b" if path.exists() else "w+b") as handle:
            handle.truncate(at * rows.dtype.itemsize)
            handle.seek(0, os.SEEK_END)
            handle.write(rows.tobytes())
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; make room and run the command again"
        ) from error
