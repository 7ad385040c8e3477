"""One feature's document in circuit-tracer's format, read from bytes that nobody vouches for.

Sizes are bounded before and after decompression, numbers must be finite, and every fault is an `EvidenceError` with the
path inside the document.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tracescribe.tracer.errors import EvidenceError

MAX_PACKED_BYTES = 1 << 24
"""Largest compressed record or document (16 MiB); published ones take some 10 KiB."""
MAX_DOCUMENT_BYTES = 1 << 26
"""Largest document after decompression (64 MiB): what a bomb is cut off at."""
MAX_INDEX_BYTES = 1 << 28
"""Largest packed index after decompression: some 20 million features."""
MAX_EXAMPLES = 4096
MAX_EXAMPLE_TOKENS = 1 << 16
GET_AGAIN = "copy or download the feature files again"

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Example(BaseModel):
    model_config = ConfigDict(extra="ignore")

    tokens: list[str] = Field(max_length=MAX_EXAMPLE_TOKENS)
    tokens_acts_list: list[Number] = Field(max_length=MAX_EXAMPLE_TOKENS)

    @model_validator(mode="after")
    def _one_each(self) -> _Example:
        if len(self.tokens) != len(self.tokens_acts_list) or not self.tokens:
            raise ValueError(f"{len(self.tokens)} tokens with {len(self.tokens_acts_list)} activations")
        return self


class _Quantile(BaseModel):
    model_config = ConfigDict(extra="ignore")

    quantile_name: str = Field(max_length=200)
    examples: list[_Example] = Field(max_length=MAX_EXAMPLES)


class FeatureDocument(BaseModel):
    """One feature's document; what this product has no use for is passed over."""

    model_config = ConfigDict(extra="ignore")

    examples_quantiles: list[_Quantile] = Field(default_factory=list, max_length=MAX_EXAMPLES)
    top_logits: list[str] = Field(default_factory=list, max_length=MAX_EXAMPLES)
    bottom_logits: list[str] = Field(default_factory=list, max_length=MAX_EXAMPLES)
    act_max: Number | None = None
    activation_frequency: Number | None = Field(default=None, ge=0)


def parse_document(content: bytes, where: str) -> FeatureDocument:
    """One feature's document from bytes.

    Raises:
        EvidenceError: it is no JSON, or lacks what it must have.
    """
    value = parse_json(content, where)
    try:
        return FeatureDocument.model_validate(value)
    except ValidationError as error:
        raise EvidenceError(f"{where} is damaged at {first_fault(error)}; {GET_AGAIN}") from error


def read_bounded(path: Path, most: int) -> bytes:
    """A file's bytes.

    Raises:
        EvidenceError: it cannot be read, or is larger than `most`.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(most + 1)
    except OSError as error:
        raise EvidenceError(f"cannot read {path}: {error.strerror or error}; {GET_AGAIN}") from error
    if len(content) > most:
        raise EvidenceError(f"{path} is larger than {most} bytes; {GET_AGAIN}")
    return content


def inflate(content: bytes, where: str, most: int) -> bytes:
    """zlib or gzip bytes, decompressed.

    Raises:
        EvidenceError: they are damaged or cut short, or hold more than `most` bytes.
    """
    machine = zlib.decompressobj(wbits=47)  # 32 + 15: either header
    try:
        inflated = machine.decompress(content, most + 1)
    except zlib.error as error:
        raise EvidenceError(f"{where} cannot be decompressed ({error}); {GET_AGAIN}") from error
    if len(inflated) > most:
        raise EvidenceError(f"{where} decompresses to more than {most} bytes; {GET_AGAIN}")
    if not machine.eof:
        raise EvidenceError(f"{where} is cut short; {GET_AGAIN}")
    return inflated


def parse_json(content: bytes, where: str) -> Any:
    """A JSON value.

    Raises:
        EvidenceError: the bytes are none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{where} is not JSON ({str(error)[:80]}); {GET_AGAIN}") from error


def first_fault(error: ValidationError) -> str:
    """The first fault, with its path inside the document."""
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc']) or 'document'}: {fault['msg']}"
