"""Parquet tables, written block by block and read block by block.

A block is one row group with a name; the names stand in the file's own metadata, so that a block is found without
reading any other. Files are written beside their place and moved into it when they are whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.errors import EvidenceError, OutputError

Columns = dict[str, NDArray[Any]]
"""Arrays by column name; a list column is two arrays, `name` (all values) and `name.lengths`."""

_BLOCKS = b"tracescribe.blocks"
_LENGTHS = ".lengths"
TEMPORARY_SUFFIX = ".part"
"""Files that are being written; whatever a killed process left under such a name is rubbish."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place to write a file of any size, moved to `path` when the block ends without an error.

    Raises:
        OutputError: the folder cannot be written to.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; choose a folder with room that you can write to"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


class BlockWriter:
    """Writes blocks of rows in the order given. Use as a context manager around `write`.

    The same blocks give the same bytes.
    """

    def __init__(self, path: Path, kinds: Mapping[str, str]) -> None:
        """Args:
        path: where the file is written; see `whole_file`.
        kinds: numpy type by column name, `list:TYPE` for list columns.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa: Any = pa
        self._kinds = dict(kinds)
        fields = [(name, self._type(kind)) for name, kind in kinds.items()]
        self._schema: Any = self._pa.schema(fields)
        self._names: list[str] = []
        self._writer: Any = pq.ParquetWriter(path, self._schema, compression="zstd", use_dictionary=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.add_key_value_metadata({_BLOCKS: json.dumps(self._names).encode()})
        self._writer.close()

    def write(self, name: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add one block; one without rows is left out."""
        arrays = [self._array(column, columns) for column in self._kinds]
        n_rows = len(arrays[0])
        if not n_rows:
            return
        table = self._pa.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(table, row_group_size=n_rows)
        self._names.append(name)

    def _type(self, kind: str) -> Any:
        if kind.startswith("list:"):
            return self._pa.list_(self._type(kind.removeprefix("list:")))
        return self._pa.from_numpy_dtype(np.dtype(kind))

    def _array(self, column: str, columns: Mapping[str, NDArray[Any]]) -> Any:
        kind = self._kinds[column]
        if not kind.startswith("list:"):
            return self._pa.array(columns[column].astype(kind, copy=False))
        values = self._pa.array(columns[column].astype(kind.removeprefix("list:"), copy=False))
        offsets = np.concatenate([[0], np.cumsum(columns[column + _LENGTHS])]).astype(np.int32)
        return self._pa.ListArray.from_arrays(self._pa.array(offsets), values)


class BlockReader:
    """Reads blocks by name. The file stays open."""

    def __init__(self, path: Path, kinds: Mapping[str, str]) -> None:
        """Args:
        path: what a `BlockWriter` wrote.
        kinds: the columns expected in it.

        Raises:
            EvidenceError: no such file, damaged, or with other columns.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        self._kinds = dict(kinds)
        self._faults: tuple[type[Exception], ...] = (pa.ArrowException, OSError, ValueError, KeyError)
        try:
            self._file: Any = pq.ParquetFile(path, memory_map=True)
            names = json.loads(self._file.metadata.metadata[_BLOCKS])
            found = list(self._file.schema_arrow.names)
        except (*self._faults, TypeError) as error:
            raise self._damaged(error) from error
        if found != list(self._kinds) or len(names) != self._file.num_row_groups:
            raise EvidenceError(f"{path} holds {found}, expected {list(self._kinds)}: of another version; scan again")
        self._groups = {str(name): place for place, name in enumerate(names)}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the blocks, in order."""
        return tuple(self._groups)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, name: str, columns: Sequence[str] | None = None) -> Columns | None:
        """One block as arrays, or None where there is none of this name.

        Args:
            name: of the block.
            columns: the ones wanted; all if None.

        Raises:
            EvidenceError: the file is damaged.
        """
        if name not in self._groups:
            return None
        wanted = list(self._kinds if columns is None else columns)
        try:
            table = self._file.read_row_group(self._groups[name], columns=wanted, use_threads=False)
            return {key: array for column in wanted for key, array in self._arrays(column, table).items()}
        except self._faults as error:
            raise self._damaged(error) from error

    def _arrays(self, column: str, table: Any) -> Columns:
        data = table.column(column).combine_chunks()
        if data.null_count:
            raise ValueError(f"{column} has gaps")
        kind = self._kinds[column]
        if not kind.startswith("list:"):
            return {column: data.to_numpy(zero_copy_only=False).astype(kind, copy=False)}
        lengths = np.diff(data.offsets.to_numpy(zero_copy_only=False))
        values = data.flatten()
        if values.null_count or int(lengths.sum()) != len(values):
            raise ValueError(f"{column} has gaps")
        numbers = values.to_numpy(zero_copy_only=False).astype(kind.removeprefix("list:"), copy=False)
        return {column: numbers, column + _LENGTHS: lengths.astype(np.int64)}

    def _damaged(self, error: Exception) -> EvidenceError:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        return EvidenceError(
            f"cannot read {self.path} ({first}): missing, truncated or damaged; "
            "scan again with: tracescribe evidence build"
        )


def concatenated(parts: Sequence[Columns], kinds: Mapping[str, str]) -> Columns:
    """Blocks one after another; with no parts, columns without rows."""
    keys = [key for name, kind in kinds.items() for key in _keys(name, kind)]
    if not parts:
        return {key: np.zeros(0, dtype=_dtype(key, kinds)) for key in keys}
    return {key: np.concatenate([part[key] for part in parts]) for key in keys}


def take(columns: Columns, kinds: Mapping[str, str], rows: NDArray[np.int64]) -> Columns:
    """Some rows, in the order given."""
    taken: Columns = {}
    for name, kind in kinds.items():
        if not kind.startswith("list:"):
            taken[name] = columns[name][rows]
            continue
        lengths = columns[name + _LENGTHS].astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        chosen = lengths[rows]
        total = int(chosen.sum())
        inside = np.arange(total) - np.repeat(np.cumsum(chosen) - chosen, chosen)
        taken[name] = columns[name][np.repeat(starts[rows], chosen) + inside]
        taken[name + _LENGTHS] = chosen
    return taken


def _keys(name: str, kind: str) -> tuple[str, ...]:
    return (name, name + _LENGTHS) if kind.startswith("list:") else (name,)


def _dtype(key: str, kinds: Mapping[str, str]) -> np.dtype[Any]:
    if key.endswith(_LENGTHS):
        return np.dtype(np.int64)
    return np.dtype(kinds[key].removeprefix("list:"))
