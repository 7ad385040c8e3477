"""The graph file as it lies on disk: bounded reading of JSON, and the check of its rows against `graph_rows`.

Everything in a graph file is a stranger's: sizes, depth, numbers and types are checked here before anything is built.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.graph_rows import (
    MAX_INTEGER,
    MAX_LINKS,
    MAX_NODES,
    MAX_PROMPT,
    MAX_TEXT,
    LinkRow,
    Metadata,
    NodeRow,
    QueryParameters,
)

MAX_BYTES = 1 << 28
"""Largest graph document, unpacked: four million links take about this much, and ten times it while they are read."""

MAX_DEPTH = 32
"""Deepest nesting; the schema itself needs four."""

MAX_CONTAINERS = 2 * (MAX_NODES + MAX_LINKS)
"""Most objects and lists: an empty one takes two bytes on disk and thirty times that in memory."""

MAX_VALUES = 40_000_000
"""Most values, for the same reason."""

MAX_ENTRIES = MAX_LINKS
"""Most entries of any list or object."""

MAX_SHOWN_FAULTS = 5
"""Faults that one message lists; the rest are counted."""

MAX_FAULTS = 1000
"""Faults after which no further rows are looked at."""

_Checked = TypeVar("_Checked")

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 10_000  # rows checked at once: their models, and their faults, need more memory than what is kept
_NESTED = (dict, list)
_HALF = re.compile("[\ud800-\udfff]")
_SURROGATE = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
_NODES: TypeAdapter[list[NodeRow]] = TypeAdapter(list[NodeRow])
_LINKS: TypeAdapter[list[LinkRow]] = TypeAdapter(list[LinkRow])
_METADATA, _QUERY = TypeAdapter(Metadata), TypeAdapter(QueryParameters)


class GraphFaultsError(GraphFormatError):
    """A graph file with faults that are known one by one.

    Attributes:
        faults: all of them, each beginning with the place inside the document; the message lists the first few.
    """

    def __init__(self, name: str, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        more = len(self.faults) - MAX_SHOWN_FAULTS
        shown = "; ".join(self.faults[:MAX_SHOWN_FAULTS])
        super().__init__(f"{name}: {shown}{f'; and {more} more' if more > 0 else ''}")


@dataclass(frozen=True, eq=False)
class LinkColumns:
    """Links as parallel lists: node ids `source` and `target` as the file spells them, and `weight`."""

    source: list[str]
    target: list[str]
    weight: list[float]

    def __len__(self) -> int:
        return len(self.weight)


@dataclass(frozen=True, eq=False)
class GraphDocument:
    """A checked document: typed rows, and beside them the document as it was read."""

    metadata: Metadata
    nodes: list[NodeRow]
    links: LinkColumns
    raw: Mapping[str, Any]


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """Content of a graph file.

    Args:
        path: the file.
        limit: most bytes; `MAX_BYTES` if None.

    Raises:
        GraphFormatError: no such file, or one that cannot be read or is too large.
    """
    limit = MAX_BYTES if limit is None else limit
    try:
        with path.open("rb") as handle:
            # one byte more than allowed: the size that a file system tells need not be true (pipes, /proc)
            content = handle.read(limit + 1)
    except OSError as error:
        raise GraphFormatError(f"cannot read graph file {path}: {error.strerror or error}; check the path") from error
    if len(content) > limit:
        raise GraphFormatError(f"{path}: {max(path.stat().st_size, len(content))} bytes, at most {limit} are read")
    return content


def parse_document(content: bytes, name: str) -> GraphDocument:
    """Check a document, plain or gzipped.

    Args:
        content: the file's bytes.
        name: how messages call it.

    Raises:
        GraphFormatError: not JSON, too large, too deep, or with rows that break the schema (the path inside the
            document is named).
    """
    raw = load_json(unpack(content, name), name)
    if not isinstance(raw, dict):
        raise GraphFormatError(f"{name}: the document is a {type(raw).__name__}, expected an object")
    missing = [key for key in ("metadata", "nodes", "links") if key not in raw]
    if missing:
        raise GraphFormatError(f"{name}: no {', '.join(missing)}; expected a Neuronpedia / circuit-tracer graph")
    faults = _too_many(raw)
    if faults:
        raise GraphFaultsError(name, faults)
    metadata = validate(_METADATA, raw["metadata"], "metadata", faults)
    if raw.get("qParams") is not None:
        validate(_QUERY, raw["qParams"], "qParams", faults)
    nodes = [row for chunk in _checked(_NODES, raw["nodes"], "nodes", faults) for row in chunk]
    links = LinkColumns([], [], [])
    for chunk in _checked(_LINKS, raw["links"], "links", faults):
        links.source.extend(link.source for link in chunk)
        links.target.extend(link.target for link in chunk)
        links.weight.extend(link.weight for link in chunk)
    if metadata is None or faults:
        raise GraphFaultsError(name, faults)
    return GraphDocument(metadata, nodes, links, raw)


def unpack(content: bytes, name: str) -> bytes:
    """The document itself: bytes as they are, or unpacked if they are gzipped, up to `MAX_BYTES`.

    Raises:
        GraphFormatError: damaged or cut gzip data, or more than is read.
    """
    if not content.startswith(_GZIP_MAGIC):
        return content
    decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        unpacked = decompressor.decompress(content, MAX_BYTES)
    except zlib.error as error:
        raise GraphFormatError(f"{name}: damaged gzip data ({error}); download or write it again") from error
    if decompressor.unconsumed_tail:
        raise GraphFormatError(f"{name}: unpacks to more than {MAX_BYTES} bytes")
    if not decompressor.eof:
        raise GraphFormatError(f"{name}: the gzip data ends early; download or write it again")
    if decompressor.unused_data:
        raise GraphFormatError(f"{name}: {len(decompressor.unused_data)} bytes follow the gzip data; write it again")
    return unpacked


def load_json(content: bytes, name: str) -> Any:
    """The JSON value of untrusted bytes: strict, bounded in depth, number of values and length of texts.

    Raises:
        GraphFormatError: not JSON, a repeated key, a number that JSON does not have, half of a character, or too much.
    """
    n_containers, n_values = content.count(b"{") + content.count(b"["), content.count(b",")
    if n_containers > MAX_CONTAINERS or n_values > MAX_VALUES:
        raise GraphFormatError(
            f"{name}: about {n_containers} objects and {n_values} values, at most {MAX_CONTAINERS} and {MAX_VALUES} "
            "are read"
        )
    try:
        value = json.loads(
            content.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated_keys
        )
    except RecursionError as error:
        raise GraphFormatError(f"{name}: nested deeper than {MAX_DEPTH} levels") from error
    except UnicodeDecodeError as error:
        raise GraphFormatError(f"{name}: not UTF-8 at byte {error.start}; expected JSON") from error
    except ValueError as error:
        raise GraphFormatError(f"{name}: not valid JSON ({error}); it may be cut off: write it again") from error
    excess = _excess(value, may_hold_halves=_SURROGATE.search(content) is not None)
    if excess is not None:
        location, reason = excess
        raise GraphFormatError(f"{name}: {path_of('', location)}: {reason}")
    return value


def validate(
    adapter: TypeAdapter[_Checked], value: Any, where: str, faults: list[str], start: int = 0
) -> _Checked | None:
    """A value as its model, or None, with one fault for each broken rule.

    Args:
        adapter: of the model.
        value: what was read.
        where: its place inside the document.
        faults: to be added to.
        start: index of the first row, where `value` is a slice of a list of rows.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        if error.error_count() > _CHUNK:
            faults.append(f"{where}: {error.error_count()} faults")
            return None
        for fault in error.errors(include_url=False, include_input=True, include_context=False):
            location = list(fault["loc"])
            if start and location:
                location[0] = int(location[0]) + start
            faults.append(f"{path_of(where, location)}: {fault['msg']}, found {shown(fault['input'])}")
        return None


def path_of(where: str, location: Iterable[int | str]) -> str:
    """A place inside a document: `nodes[3].layer`."""
    for part in location:
        text = part if isinstance(part, int) else "".join(c if c.isprintable() else "\ufffd" for c in part[:60])
        where += f"[{text}]" if isinstance(part, int) else f".{text}" if where else str(text)
    return where


def shown(value: Any) -> str:
    """A short form of a stranger's value, on one line."""
    if isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "a huge integer"
    text = ascii(value[:100]) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # two readers may see two different graphs in such a file
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {shown(repeated)} stands twice in one object")
    return value


def _excess(value: Any, *, may_hold_halves: bool) -> tuple[list[int | str], str] | None:
    """Where a value is deeper or longer than is read, and why; None if it is not."""

    def text_fault(text: str, limit: int) -> str | None:
        if len(text) > limit:
            return f"a text of {len(text)} characters, at most {limit} are read"
        if may_hold_halves and not text.isascii() and _HALF.search(text):
            return "half of a surrogate pair is no character; write U+FFFD in its place"
        return None

    def walk(container: Any, levels: int) -> tuple[list[int | str], str] | None:
        if levels < 0:
            return [], f"nested deeper than {MAX_DEPTH} levels"
        if len(container) > MAX_ENTRIES:
            return [], f"{len(container)} entries, at most {MAX_ENTRIES} are read"
        for place, child in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(place, str) and (reason := text_fault(place, MAX_TEXT)) is not None:
                return [], f"a key is {reason}"
            if isinstance(child, str):
                # the models know the limit of each text that they name
                if (reason := text_fault(child, MAX_PROMPT)) is not None:
                    return [place], reason
            elif isinstance(child, _NESTED) and (found := walk(child, levels - 1)) is not None:
                return [place, *found[0]], found[1]
        return None

    if not isinstance(value, _NESTED):
        return None
    return walk(value, MAX_DEPTH)


def _too_many(raw: Mapping[str, Any]) -> list[str]:
    limits = {"nodes": MAX_NODES, "links": MAX_LINKS}
    return [
        f"{key}: {len(raw[key])} entries, at most {limit} are read"
        for key, limit in limits.items()
        if isinstance(raw[key], list) and len(raw[key]) > limit
    ]


def _checked(
    adapter: TypeAdapter[list[_Checked]], rows: Any, where: str, faults: list[str]
) -> Iterator[list[_Checked]]:
    """Rows as their models, some at a time; faulty ones are left out."""
    if not isinstance(rows, list):
        validate(adapter, rows, where, faults)
        return
    before = len(faults)
    for start in range(0, len(rows), _CHUNK):
        yield validate(adapter, rows[start : start + _CHUNK], where, faults, start) or []
        if len(faults) - before > MAX_FAULTS:
            faults.append(f"{where}: looked at no further than entry {min(start + _CHUNK, len(rows)) - 1}")
            return
