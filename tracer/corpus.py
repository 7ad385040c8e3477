"""Where text comes from: documents of a text file, of a JSON-lines file, or of a data set of the `datasets` library.

Documents are read one at a time, so that a corpus may be far larger than memory. Files are untrusted: a line that is
no UTF-8, no JSON, or longer than `MAX_LINE_BYTES` is told with its number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from tracescribe.tracer.errors import EvidenceError

MAX_LINE_BYTES = 1 << 26
"""Longest line of a corpus file (64 MiB): a file without line ends is a mistake, better told than read into memory."""
DEFAULT_FIELD = "text"
"""Field that holds the text where nobody names one; the usual one of text data sets."""
JSON_SUFFIXES = (".jsonl", ".ndjson")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Document:
    """One text of a corpus.

    Attributes:
        number: its place among the documents, from 0; empty ones are not counted.
        text: never blank.
        end: bytes of the corpus up to its end, for progress; 0 where the size is not known.
    """

    number: int
    text: str
    end: int


class Corpus(Protocol):
    """A sequence of documents that can be read again from the start."""

    @property
    def size(self) -> int:
        """Bytes in all; 0 where that is not known."""
        ...

    def identity(self) -> dict[str, Any]:
        """What tells this corpus from another, as JSON: a scan is resumed only on the same one.

        Raises:
            EvidenceError: it cannot be read.
        """
        ...

    def documents(self) -> Iterator[Document]:
        """All documents in order, blank ones left out.

        Raises:
            EvidenceError: it cannot be read, or holds what is no text.
        """
        ...


@dataclass(frozen=True)
class FileCorpus:
    """A UTF-8 file with one document a line, plain or as JSON.

    Attributes:
        path: the file.
        field: name of the text field in each line's JSON object; None for plain lines.
    """

    path: Path
    field: str | None = None

    @property
    def size(self) -> int:
        """Bytes of the file; 0 if there is none."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def identity(self) -> dict[str, Any]:
        """Hash and size of the content; the name does not matter.

        Raises:
            EvidenceError: the file cannot be read.
        """
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as handle:
                while chunk := handle.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return {"kind": "file", "bytes": self.size, "sha256": digest.hexdigest(), "field": self.field}

    def documents(self) -> Iterator[Document]:
        """One document a line.

        Raises:
            EvidenceError: the file cannot be read, or a line of it.
        """
        number = 0
        try:
            with self.path.open("rb") as handle:
                line_number = 0
                while line := handle.readline(MAX_LINE_BYTES + 1):
                    line_number += 1
                    text = self._text(line, line_number).strip()
                    if text:
                        yield Document(number, text, handle.tell())
                        number += 1
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _text(self, line: bytes, number: int) -> str:
        where = f"cannot read the corpus {self.path}: line {number}"
        if len(line) > MAX_LINE_BYTES:
            raise EvidenceError(f"{where} is longer than {MAX_LINE_BYTES} bytes; give one document a line")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise EvidenceError(f"{where} is not UTF-8 (byte {error.start}); give a UTF-8 text") from error
        if self.field is None or not text.strip():
            return text
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EvidenceError(f"{where} is not JSON ({str(error)[:80]}); give one object a line") from error
        return text_field(record, self.field, where)


@dataclass(frozen=True)
class DatasetCorpus:
    """A data set that the `datasets` library streams, from a hub or a folder.

    Attributes:
        name: of the data set.
        split: for example `train`.
        field: name of the text field.
        config: configuration of the data set; None for its only one.
        revision: of the data set on the hub; None for its newest.
    """

    name: str
    split: str
    field: str = DEFAULT_FIELD
    config: str | None = None
    revision: str | None = None

    @property
    def size(self) -> int:
        """Not known of a stream."""
        return 0

    def identity(self) -> dict[str, Any]:
        """Names alone: the documents that were read are hashed as they come, and compared when a scan is resumed."""
        return {
            "kind": "dataset",
            "name": self.name,
            "config": self.config,
            "split": self.split,
            "field": self.field,
            **({} if self.revision is None else {"revision": self.revision}),
        }

    def documents(self) -> Iterator[Document]:
        """The data set's rows, streamed.

        Raises:
            EvidenceError: the library is not installed, the data set cannot be reached, or a row has no such text.
        """
        number = 0
        rows = iter(self._open())
        row_number = 0
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except Exception as error:  # the library raises many kinds for a network or a file that fails
                raise self._fault(f"row {row_number + 1} could not be fetched", error) from error
            row_number += 1
            text = text_field(row, self.field, f"data set {self.name!r}: row {row_number}").strip()
            if text:
                yield Document(number, text, 0)
                number += 1

    def _open(self) -> Any:
        try:
            load_dataset: Any = import_module("datasets").load_dataset
        except ImportError as error:
            raise EvidenceError(
                f"cannot read data set {self.name!r}: the datasets library is not installed; "
                "install it with: pip install 'tracescribe[datasets]'"
            ) from error
        revision = {} if self.revision is None else {"revision": self.revision}
        try:
            return load_dataset(self.name, self.config, split=self.split, streaming=True, **revision)
        except Exception as error:  # as above
            raise self._fault("it could not be opened", error) from error

    def _fault(self, what: str, error: Exception) -> EvidenceError:
        first = (str(error).strip().splitlines() or [""])[0][:200]
        return EvidenceError(
            f"cannot read data set {self.name!r}, split {self.split!r}: {what} ({type(error).__name__}: {first}); "
            "check the spelling and the network"
        )


def open_corpus(
    name_or_path: str | Path, *, field: str | None = None, split: str | None = None, config: str | None = None
) -> Corpus:
    """A file, or a data set of the `datasets` library where a split is named.

    Args:
        name_or_path: a file, or the name of a data set.
        field: name of the text field of JSON lines or data sets; `text` if None. Naming one makes any file JSON lines.
        split: makes the name that of a data set.
        config: configuration of the data set.
    """
    if split is not None:
        return DatasetCorpus(str(name_or_path), split, field or DEFAULT_FIELD, config)
    path = Path(name_or_path)
    if field is None and path.suffix in JSON_SUFFIXES:
        field = DEFAULT_FIELD
    return FileCorpus(path, field)


def text_field(record: Any, field: str, where: str) -> str:
    """The text of one record.

    Raises:
        EvidenceError: it is no object, has no such field, or the field is no text.
    """
    if not isinstance(record, dict):
        raise EvidenceError(f"{where} is {type(record).__name__}, expected an object with the field {field!r}")
    if field not in record:
        known = ", ".join(repr(key) for key in list(record)[:8])
        raise EvidenceError(f"{where} has no field {field!r} (it has {known}); name another with --field")
    text = record[field]
    if not isinstance(text, str):
        raise EvidenceError(f"{where}: field {field!r} is {type(text).__name__}, expected text; name another one")
    return text


def _unreadable(path: Path, error: OSError) -> EvidenceError:
    return EvidenceError(
        f"cannot read the corpus {path}: {error.strerror or error}; give a UTF-8 text with one document a line, or a "
        "data set with --split"
    )
