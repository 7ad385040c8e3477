"""A scanned corpus on disk: `index.json` (what, with what, sentences, token texts) and `activations.safetensors`.

Numbers are stored in the smallest type that holds them. The index is written last and holds the hash of the other
file, so that a half-written or mixed folder is told from a whole one.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.feature_evidence import TopEffects
from tracescribe.tracer.provenance import write_bytes_atomic, write_text_atomic
from tracescribe.tracer.scanned_corpus import EvidenceOrigin, ScannedCorpus

INDEX_FILE = "index.json"
TENSOR_FILE = "activations.safetensors"
MAX_INDEX_BYTES = 1 << 30
"""Largest index that is read: a bound for hostile folders, far above any corpus that one scan covers."""

_AGAIN = "scan again with: tracescribe evidence build"


class _Index(BaseModel):
    """`index.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["tracescribe-evidence"] = "tracescribe-evidence"
    format_version: Literal[1] = 1
    model_id: str
    model_sha256: str
    transcoder_id: str
    transcoder_sha256: str
    corpus_sha256: str
    tracer_version: str
    zero_positions: int = Field(ge=0)
    test_share: float = Field(ge=0, le=1)
    split_salt: str
    n_features: tuple[int, ...]
    tensors_sha256: str
    token_texts: dict[int, str]
    sentences: tuple[str, ...]


def write_scan(corpus: ScannedCorpus, folder: Path) -> None:
    """Write a scanned corpus.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {
        "lengths": _small(np.diff(corpus.offsets)),
        "token_ids": _small(corpus.token_ids),
        "next_token_ids": _small(corpus.next_token_ids),
        "is_test": corpus.is_test.astype(np.uint8),
    }
    for layer, (token, feature, value) in enumerate(corpus.entries):
        tensors[f"token_{layer}"] = _small(token)
        tensors[f"feature_{layer}"] = _small(feature)
        tensors[f"value_{layer}"] = value.astype(np.float32)
        for name, array in corpus.effects[layer]._asdict().items():
            tensors[f"{name}_{layer}"] = array.astype(np.float32) if name.endswith("effect") else _small(array)
    content = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    index = _Index(
        **dataclasses.asdict(corpus.origin),
        n_features=corpus.n_features,
        tensors_sha256=hashlib.sha256(content).hexdigest(),
        token_texts=dict(sorted(corpus.token_texts.items())),
        sentences=corpus.corpus,
    )
    write_bytes_atomic(folder / TENSOR_FILE, content)
    write_text_atomic(folder / INDEX_FILE, index.model_dump_json(indent=1) + "\n")


def read_scan(folder: Path) -> ScannedCorpus:
    """Read a scanned corpus, every shape and index checked.

    Raises:
        EvidenceError: no evidence there, or damaged files.
    """
    index = _read_index(folder)
    arrays = _Arrays(_read_tensors(folder, index.tensors_sha256), folder)
    n_sentences = len(index.sentences)
    lengths = arrays.integers("lengths", n_sentences)
    n_tokens = int(lengths.sum())
    corpus = ScannedCorpus(
        origin=EvidenceOrigin(**{f.name: getattr(index, f.name) for f in dataclasses.fields(EvidenceOrigin)}),
        corpus=index.sentences,
        token_texts=index.token_texts,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        token_ids=arrays.integers("token_ids", n_tokens),
        next_token_ids=arrays.integers("next_token_ids", n_tokens),
        is_test=arrays.integers("is_test", n_sentences, 2).astype(np.bool_),
        n_features=index.n_features,
        entries=tuple(arrays.entries(layer, n_tokens, width) for layer, width in enumerate(index.n_features)),
        effects=tuple(arrays.effects(layer, width) for layer, width in enumerate(index.n_features)),
    )
    used = [corpus.token_ids, corpus.next_token_ids, *(e.promoted for e in corpus.effects)]
    used += [e.suppressed for e in corpus.effects]
    missing = set(np.unique(np.concatenate([ids.ravel() for ids in used])).tolist()) - set(index.token_texts)
    if missing:
        raise EvidenceError(f"{folder / INDEX_FILE} lacks the text of {len(missing)} tokens; {_AGAIN}")
    return corpus


def _read_index(folder: Path) -> _Index:
    path = folder / INDEX_FILE
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise EvidenceError(f"{path} is larger than {MAX_INDEX_BYTES} bytes; {_AGAIN}")
        return _Index.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise EvidenceError(
            f"no evidence in {folder} (no {INDEX_FILE}); scan with: tracescribe evidence build"
        ) from None
    except OSError as error:
        raise EvidenceError(f"cannot read {path}: {error.strerror or error}; {_AGAIN}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise EvidenceError(f"{path} is damaged at {where}: {first['msg']}; {_AGAIN}") from error


def _read_tensors(folder: Path, sha256: str) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / TENSOR_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"cannot read {path}: {error.strerror or error}; {_AGAIN}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise EvidenceError(
            f"{path} has hash {found[:12]}, expected {sha256[:12]} by {INDEX_FILE}: truncated, damaged or of another "
            f"scan; {_AGAIN}"
        )
    try:
        return dict(load(content))
    except SafetensorError as error:
        raise EvidenceError(f"{path} cannot be read as safetensors ({error}); {_AGAIN}") from error


@dataclasses.dataclass(frozen=True)
class _Arrays:
    """Tensors of one file, taken out with their lengths and bounds checked."""

    tensors: dict[str, NDArray[Any]]
    folder: Path

    def integers(self, name: str, length: int, bound: int | None = None) -> NDArray[np.int64]:
        """`[length]` integers, at least 0 and below `bound`."""
        array = self._array(name, (length,)).astype(np.int64)
        if array.size and (array.min() < 0 or (bound is not None and array.max() >= bound)):
            raise self._fault(f"{name} holds {array.min()} to {array.max()}, expected 0 to {(bound or 0) - 1}")
        return array

    def floats(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Finite numbers of one shape."""
        array = self._array(name, shape).astype(np.float32)
        if not np.isfinite(array).all():
            raise self._fault(f"{name} holds numbers that are not finite")
        return array

    def entries(
        self, layer: int, n_tokens: int, n_features: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Token, feature and value of one layer's activations."""
        n = len(self.tensors.get(f"token_{layer}", ()))
        token = self.integers(f"token_{layer}", n, n_tokens)
        if (np.diff(token) < 0).any():
            raise self._fault(f"token_{layer} is not sorted")
        return token, self.integers(f"feature_{layer}", n, n_features), self.floats(f"value_{layer}", (n,))

    def effects(self, layer: int, n_features: int) -> TopEffects:
        """Strongest logit effects of one layer's features."""
        found = self.tensors.get(f"promoted_{layer}", np.zeros((0, 0)))
        shape = (n_features, found.shape[-1])
        return TopEffects(
            promoted=self._array(f"promoted_{layer}", shape).astype(np.int64),
            promoted_effect=self.floats(f"promoted_effect_{layer}", shape),
            suppressed=self._array(f"suppressed_{layer}", shape).astype(np.int64),
            suppressed_effect=self.floats(f"suppressed_effect_{layer}", shape),
        )

    def _array(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        array = self.tensors.get(name)
        if array is None or array.shape != shape:
            found = "nothing" if array is None else str(list(array.shape))
            raise self._fault(f"{name} has shape {found}, expected {list(shape)}")
        return array

    def _fault(self, what: str) -> EvidenceError:
        return EvidenceError(f"{self.folder / TENSOR_FILE}: {what}; {_AGAIN}")


def _small(array: NDArray[np.int64]) -> NDArray[Any]:
    """The same integers, none negative, in the smallest type that holds them."""
    largest = int(array.max(initial=0))
    for kind in (np.uint8, np.uint16, np.uint32):
        if largest <= np.iinfo(kind).max:
            return array.astype(kind)
    return array.astype(np.uint64)
