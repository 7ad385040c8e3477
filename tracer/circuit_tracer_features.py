"""Reads feature files in circuit-tracer's format, as Neuronpedia and others publish them: contexts of one feature each.

Two layouts, in the folder given or in `features/` below it:

    {n}.json                  one document for each feature, n the Cantor number of (layer, feature)
    index.json.gz, *.bin      by layer a file of records and their offsets; a record is a little-endian uint32, the
                              length, and that many bytes of zlib or gzip, which hold the same document

Everything is untrusted (see `circuit_tracer_documents`); names in the index may not leave the folder.

Source: circuit-tracer 0.4.1 (github.com/decoderesearch/circuit-tracer), its frontend's feature files.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.tracer.circuit_tracer_documents import (
    GET_AGAIN,
    MAX_DOCUMENT_BYTES,
    MAX_INDEX_BYTES,
    MAX_PACKED_BYTES,
    FeatureDocument,
    first_fault,
    inflate,
    parse_document,
    parse_json,
    read_bounded,
)
from tracescribe.tracer.corpus_windows import in_test_half
from tracescribe.tracer.errors import EvidenceError, UnknownIdError
from tracescribe.tracer.feature_evidence import Context, FeatureEvidence, TokenEffect
from tracescribe.tracer.graph import FeatureRef, IntArray
from tracescribe.tracer.graph_json import cantor_number

if TYPE_CHECKING:
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet

PACKED_INDEX = "index.json.gz"
SUB_FOLDER = "features"
DEFAULT_TEST_SHARE = 0.5
SPLIT_SALT = "tracescribe-evidence-1"
UNKNOWN_TOKEN = -1
"""Token id of a promoted token: the files give its text alone."""


class _PackedLayer(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    filename: str
    offsets: list[int] = Field(min_length=1)


@dataclass(frozen=True, eq=False)
class CircuitTracerFeatures:
    """A folder of feature files.

    The files know no test half: the documents' contexts are split by a hash of their words, as a scan splits its
    corpus, so that labels can be tested on contexts that the labeller did not see.

    Attributes:
        folder: what was given.
        test_share: share of the contexts that are kept from labellers.
    """

    folder: Path
    test_share: float = DEFAULT_TEST_SHARE
    _documents: dict[FeatureRef, FeatureDocument] = field(default_factory=dict, repr=False)

    def feature(self, ref: FeatureRef) -> FeatureEvidence:
        """What the files say of one feature; contexts from the labelling half only.

        They give no model's next tokens (texts are empty), no strength of logit effects (0, the order stands), and no
        number of tokens: `n_active` counts those of the contexts in the file.

        Raises:
            UnknownIdError: there is no file or record of this feature.
            EvidenceError: it is damaged.
        """
        document = self.document(ref)
        values = [value for q in document.examples_quantiles for e in q.examples for value in e.tokens_acts_list]
        largest = document.act_max if document.act_max is not None else max(values, default=0.0)
        return FeatureEvidence(
            layer=ref.layer,
            feature=ref.feature,
            density=document.activation_frequency or 0.0,
            n_active=sum(value > 0 for value in values),
            max_activation=max(0.0, largest),
            contexts=self._contexts(document, test=False),
            promoted=tuple(TokenEffect(UNKNOWN_TOKEN, text, 0.0) for text in document.top_logits),
            suppressed=tuple(TokenEffect(UNKNOWN_TOKEN, text, 0.0) for text in document.bottom_logits),
        )

    def test_contexts(
        self, ref: FeatureRef, n_positive: int, n_negative: int, rng: np.random.Generator
    ) -> tuple[Context, ...]:
        """Random contexts of the test half, those in which the feature fires first.

        Few files hold contexts without any activation: fewer than asked for, or none, come back as negatives.

        Raises:
            UnknownIdError: there is no file or record of this feature.
            EvidenceError: it is damaged.
        """
        known = self._contexts(self.document(ref), test=True)
        positive = [context for context in known if context.is_active]
        negative = [context for context in known if not context.is_active]
        drawn = [positive[i] for i in rng.permutation(len(positive))[:n_positive]]
        drawn += [negative[i] for i in rng.permutation(len(negative))[:n_negative]]
        return tuple(drawn)

    def density(self, ref: FeatureRef) -> float:
        """Share of tokens on which a feature fires, as its document says; 0 where it does not.

        Raises:
            UnknownIdError: there is no file or record of this feature.
            EvidenceError: it is damaged.
        """
        return self.document(ref).activation_frequency or 0.0

    def live(self, layer: int) -> IntArray:
        """Features of a layer that have a file or a record, ascending.

        Raises:
            UnknownIdError: there are none in this layer.
        """
        if self._packed is not None:
            offsets = np.array(self._packed_layer(layer).offsets)
            found = np.flatnonzero(np.diff(offsets) > 0).astype(np.int64)
        else:
            refs = [cantor_inverse(int(path.stem)) for path in self._place.glob("*.json") if _is_number(path.stem)]
            found = np.array(sorted(ref.feature for ref in refs if ref.layer == layer), dtype=np.int64)
        if not len(found):
            raise UnknownIdError(f"no layer {layer} in the feature files of {self.folder}")
        return found

    def check(self, model: LanguageModel, transcoders: TranscoderSet) -> None:
        """Refuse files of transcoders with another shape; the files name no weights.

        Raises:
            EvidenceError: other layers or widths.
        """
        del model
        if self._packed is None:
            return
        widths = tuple(len(self._packed_layer(layer).offsets) - 1 for layer in sorted(self._packed))
        if widths != tuple(transcoders.n_features):
            raise EvidenceError(
                f"the feature files in {self.folder} have {_in_short(widths)} features, expected "
                f"{_in_short(transcoders.n_features)}; they belong to other transcoders"
            )

    def document(self, ref: FeatureRef) -> FeatureDocument:
        """One feature's document.

        Raises:
            UnknownIdError: there is no file or record of this feature.
            EvidenceError: it is damaged.
        """
        if ref not in self._documents:
            where, content = self._record(ref) if self._packed is not None else self._file(ref)
            self._documents[ref] = parse_document(content, where)
        return self._documents[ref]

    def _file(self, ref: FeatureRef) -> tuple[str, bytes]:
        path = self._place / f"{cantor_number(ref.layer, ref.feature)}.json"
        if ref.layer < 0 or ref.feature < 0 or not path.is_file():
            raise UnknownIdError(f"no feature {ref} in the feature files of {self.folder}")
        content = read_bounded(path, MAX_DOCUMENT_BYTES)
        if content[:2] == b"\x1f\x8b":
            content = inflate(content, str(path), MAX_DOCUMENT_BYTES)
        return str(path), content

    def _record(self, ref: FeatureRef) -> tuple[str, bytes]:
        layer = self._packed_layer(ref.layer)
        if not 0 <= ref.feature < len(layer.offsets) - 1:
            raise UnknownIdError(f"no feature {ref}: layer {ref.layer} has features 0 to {len(layer.offsets) - 2}")
        start, stop = layer.offsets[ref.feature], layer.offsets[ref.feature + 1]
        path = self._place / layer.filename
        where = f"{path}, record of feature {ref}"
        if start == stop:
            raise UnknownIdError(f"no feature {ref} in the feature files of {self.folder}: its record is empty")
        if not 0 <= start < stop or stop - start > MAX_PACKED_BYTES:
            raise EvidenceError(f"{where}: offsets {start} to {stop} are no place for a record; {GET_AGAIN}")
        try:
            with path.open("rb") as handle:
                handle.seek(start)
                content = handle.read(stop - start)
        except OSError as error:
            raise EvidenceError(f"cannot read {path}: {error.strerror or error}; {GET_AGAIN}") from error
        length = struct.unpack("<I", content[:4])[0] if len(content) >= 4 else -1
        if not 0 <= length <= len(content) - 4:
            raise EvidenceError(f"{where}: length {length} in {len(content)} bytes; {GET_AGAIN}")
        return where, inflate(content[4 : 4 + length], where, MAX_DOCUMENT_BYTES)

    @cached_property
    def _place(self) -> Path:
        """The folder that holds the files."""
        below = self.folder / SUB_FOLDER
        return below if below.is_dir() else self.folder

    @cached_property
    def _packed(self) -> dict[int, Any] | None:
        """The packed layout's layers, unchecked; None for the other layout."""
        path = self._place / PACKED_INDEX
        if not path.is_file():
            return None
        content = inflate(read_bounded(path, MAX_INDEX_BYTES), str(path), MAX_INDEX_BYTES)
        layers = parse_json(content, str(path))
        if isinstance(layers, list):
            return dict(enumerate(layers))
        if isinstance(layers, dict):
            return {int(key): value for key, value in layers.items() if _is_number(key)}
        raise EvidenceError(f"{path} holds {type(layers).__name__}, expected layers; {GET_AGAIN}")

    def _packed_layer(self, layer: int) -> _PackedLayer:
        packed = self._packed or {}
        if layer not in packed:
            raise UnknownIdError(f"no layer {layer} in the feature files of {self.folder}")
        where = f"{self._place / PACKED_INDEX}, layer {layer}"
        found = packed[layer]
        if not isinstance(found, _PackedLayer):
            try:
                found = _PackedLayer.model_validate(packed[layer])
            except ValidationError as error:
                raise EvidenceError(f"{where} is damaged at {first_fault(error)}; {GET_AGAIN}") from error
            name = found.filename
            if name != Path(name).name or name in {"", ".", ".."} or "\\" in name or "\0" in name:
                raise EvidenceError(f"{where} names the file {name!r:.60}, which is outside the folder; {GET_AGAIN}")
            packed[layer] = found
        return found

    def _contexts(self, document: FeatureDocument, *, test: bool) -> tuple[Context, ...]:
        found: list[Context] = []
        seen: set[tuple[str, ...]] = set()
        number = 0
        for quantile in document.examples_quantiles:
            for example in quantile.examples:
                number += 1
                tokens = tuple(example.tokens)
                mine = in_test_half(" ".join(tokens), SPLIT_SALT, self.test_share) == test
                if not mine or tokens in seen:
                    continue
                seen.add(tokens)
                found.append(
                    Context(
                        context_id=f"e{number - 1}",
                        tokens=tokens,
                        activations=tuple(example.tokens_acts_list),
                        next_tokens=("",) * len(tokens),
                        quantile="test" if test else quantile.quantile_name,
                    )
                )
        return tuple(sorted(found, key=lambda context: -max(context.activations)))


def holds_features(folder: Path) -> bool:
    """Whether a folder holds feature files of either layout."""
    for place in (folder / SUB_FOLDER, folder):
        if (place / PACKED_INDEX).is_file() or any(_is_number(path.stem) for path in place.glob("[0-9]*.json")):
            return True
    return False


def cantor_inverse(number: int) -> FeatureRef:
    """The layer and the feature of a number that `cantor_number` gave."""
    total = (math.isqrt(8 * number + 1) - 1) // 2
    feature = number - total * (total + 1) // 2
    return FeatureRef(total - feature, feature)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20


def _in_short(widths: tuple[int, ...]) -> str:
    return ", ".join(str(width) for width in widths[:4]) + (", ..." if len(widths) > 4 else "")
