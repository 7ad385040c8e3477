"""The graph file as it lies on disk: bounded reading, and the shape of its rows (Neuronpedia / circuit-tracer schema).

Everything in a graph file is a stranger's: sizes, depth, numbers and types are checked here before anything is built.
Fields that are not named here are kept, so that writing a graph again loses nothing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tracescribe.tracer.errors import GraphFormatError

MAX_BYTES = 1 << 28
"""Largest graph document, unpacked: two million links take about this much, and ten times it while they are read."""

MAX_DEPTH = 32
"""Deepest nesting; the schema itself needs four."""

MAX_TOKENS = 1_000_000
"""Longest prompt."""

MAX_LAYERS = 1000
"""Most layers: far above any model."""

MAX_SHOWN_FAULTS = 5
"""Faults that one message lists; the rest are counted."""

_Checked = TypeVar("_Checked")

_MAX_INTEGER = 1 << 62  # fits int64 with room for sums
_MAX_NUMBER = 1e30  # fits float32 with room for sums
_GZIP_MAGIC = b"\x1f\x8b"

NodeId = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.\-]+$")]
Text = Annotated[str, Field(max_length=100_000)]
Number = Annotated[float, Field(ge=-_MAX_NUMBER, le=_MAX_NUMBER)]


class _Row(BaseModel):
    # strangers' files hold more fields than the schema names; they are kept, not trusted
    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


class NodeRow(_Row):
    """One entry of `nodes`."""

    node_id: NodeId
    feature_type: Text
    layer: Annotated[str, Field(max_length=20)] | Annotated[int, Field(ge=0, le=MAX_LAYERS)]
    ctx_idx: Annotated[int, Field(ge=0, le=MAX_TOKENS)]
    feature: Annotated[int, Field(ge=-1, le=_MAX_INTEGER)] | None = None
    token_prob: Annotated[float, Field(ge=0, le=1 + 1e-6)] | None = None
    clerp: Text | None = None
    influence: Number | None = None
    activation: Number | None = None


class LinkRow(_Row):
    """One entry of `links`: a raw signed edge from `source` to `target`."""

    source: NodeId
    target: NodeId
    weight: Number


class Scores(BaseModel):
    """Scores of the unpruned graph."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    replacement: Annotated[float, Field(ge=0, le=1)]
    completeness: Annotated[float, Field(ge=0, le=1)]


class OwnBlock(BaseModel):
    """What this product adds under `metadata.tracescribe`, so that a saved graph can be used with its weights again."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: Annotated[int, Field(ge=1, le=1)]
    n_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    token_ids: list[Annotated[int, Field(ge=0, le=_MAX_INTEGER)]] = Field(default_factory=list)
    scores: Scores | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)
    bias: dict[NodeId, Number] = Field(default_factory=dict)
    ambiguous_links: list[dict[str, Any]] = Field(default_factory=list)


class Metadata(_Row):
    """The part of `metadata` that reading needs."""

    slug: Text = ""
    scan: Text | list[Any] | dict[str, Any] | None = None
    prompt: Text
    prompt_tokens: Annotated[list[Text], Field(min_length=1, max_length=MAX_TOKENS)]
    tracescribe: OwnBlock | None = None


@dataclass(frozen=True, eq=False)
class GraphDocument:
    """A checked document: typed rows, and beside them the document as it was read."""

    metadata: Metadata
    nodes: list[NodeRow]
    links: list[LinkRow]
    raw: Mapping[str, Any]


_NODES, _LINKS = TypeAdapter(list[NodeRow]), TypeAdapter(list[LinkRow])


def read_bytes(path: Path) -> bytes:
    """Content of a graph file.

    Raises:
        GraphFormatError: no such file, or one that cannot be read or is too large.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise GraphFormatError(f"{path}: {path.stat().st_size} bytes, at most {MAX_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise GraphFormatError(f"cannot read graph file {path}: {error.strerror or error}; check the path") from error


def parse_document(content: bytes, name: str) -> GraphDocument:
    """Check a document, plain or gzipped.

    Args:
        content: the file's bytes.
        name: how messages call it.

    Raises:
        GraphFormatError: not JSON, too large, too deep, or with rows that break the schema (the path inside the
            document is named).
    """
    raw = _load_json(_unpack(content, name), name)
    if not isinstance(raw, dict):
        raise GraphFormatError(f"{name}: the document is a {type(raw).__name__}, expected an object")
    missing = [key for key in ("metadata", "nodes", "links") if key not in raw]
    if missing:
        raise GraphFormatError(f"{name}: no {', '.join(missing)}; expected a Neuronpedia / circuit-tracer graph")
    if _deeper_than(raw, MAX_DEPTH):
        raise GraphFormatError(f"{name}: nested deeper than {MAX_DEPTH} levels")
    faults: list[str] = []
    metadata = _validate(TypeAdapter(Metadata), raw["metadata"], "metadata", faults)
    nodes = _validate(_NODES, raw["nodes"], "nodes", faults)
    links = _validate(_LINKS, raw["links"], "links", faults)
    if not isinstance(raw.get("qParams", {}), dict):
        faults.append(f"qParams: a {type(raw['qParams']).__name__}, expected an object")
    if metadata is None or nodes is None or links is None or faults:
        refuse(name, faults)
    return GraphDocument(metadata, nodes, links, raw)


def refuse(name: str, faults: Iterable[str]) -> NoReturn:
    """Raise one error for all faults of a document.

    Raises:
        GraphFormatError: always.
    """
    listed = list(faults)
    more = f"; and {len(listed) - MAX_SHOWN_FAULTS} more" if len(listed) > MAX_SHOWN_FAULTS else ""
    raise GraphFormatError(f"{name}: {'; '.join(listed[:MAX_SHOWN_FAULTS])}{more}")


def _unpack(content: bytes, name: str) -> bytes:
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
    return unpacked


def _load_json(content: bytes, name: str) -> Any:
    def refuse_constant(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a JSON number")

    try:
        return json.loads(content.decode("utf-8"), parse_constant=refuse_constant)
    except RecursionError as error:
        raise GraphFormatError(f"{name}: nested deeper than {MAX_DEPTH} levels") from error
    except UnicodeDecodeError as error:
        raise GraphFormatError(f"{name}: not UTF-8 at byte {error.start}; expected JSON") from error
    except ValueError as error:
        raise GraphFormatError(f"{name}: not valid JSON ({error}); it may be cut off: write it again") from error


def _deeper_than(value: Any, limit: int) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    nested = [child for child in children if isinstance(child, dict | list)]
    return bool(nested) and (limit == 0 or any(_deeper_than(child, limit - 1) for child in nested))


def _validate(adapter: TypeAdapter[_Checked], value: Any, where: str, faults: list[str]) -> _Checked | None:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=True, include_context=False):
            faults.append(f"{_path(where, fault['loc'])}: {fault['msg']}, found {_shown(fault['input'])}")
        return None


def _path(where: str, location: tuple[int | str, ...]) -> str:
    for part in location:
        where += f"[{part}]" if isinstance(part, int) else f".{part}"
    return where


def _shown(value: Any) -> str:
    """A short form of a stranger's value, on one line."""
    if isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        return "a huge integer"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
