"""A finished scan on disk: which files there are, what they hold, and what they were made of.

manifest.json            what was scanned with what; written last
layer_{l:03d}.parquet    one row for each feature: contexts, counts, logit effects
summary.parquet          counts and largest activations of all features, by layer
tokens.parquet           text of every token id
sample/                  reference sample: a part of the corpus with every activation (an `EvidenceStore`)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.tracer.errors import EvidenceError

MANIFEST = "manifest.json"
SUMMARY = "summary.parquet"
TOKEN_TEXTS = "tokens.parquet"
SAMPLE = "sample"
MAX_MANIFEST_BYTES = 1 << 24
"""Largest manifest that is read: a bound for hostile folders."""

FEATURE_KINDS = {
    "feature": "int32",
    "labelling_windows": "int64",
    "test_windows": "int64",
    "bins": "list:int16",
    "bin_tokens": "list:int64",
    "promoted": "list:int32",
    "promoted_effect": "list:float32",
    "suppressed": "list:int32",
    "suppressed_effect": "list:float32",
    "context_window": "list:int64",
    "context_first": "list:int32",
    "context_band": "list:int8",
    "context_tokens": "list:int32",
    "token": "list:int32",
    "next_token": "list:int32",
    "activation": "list:float32",
}
"""Columns of a layer's file. A feature's contexts lie one after another in `token`, `next_token` and `activation`;
`context_tokens` says how many tokens each has, `context_first` which token of its window is the first one shown."""
SUMMARY_KINDS = {"n_active": "int64", "largest": "float32"}
TEXT_KINDS = {"text": "list:uint8"}
FEATURES_PER_BLOCK = 32
"""Features in one block of a layer's file: what a look-up reads. Fewer would swell the file's index."""
TEST_BAND = -1
"""`context_band` of contexts of the test half; others are places in `feature_evidence.BANDS`."""


class Manifest(BaseModel):
    """`manifest.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["tracescribe-feature-evidence"] = "tracescribe-feature-evidence"
    format_version: Literal[1] = 1
    tracer_version: str
    plan: dict[str, Any]
    documents_sha256: str
    n_documents: int = Field(ge=0)
    n_windows: int = Field(ge=0)
    n_tokens: int = Field(ge=0)
    n_counted_tokens: int = Field(ge=0)
    n_sample_windows: int = Field(ge=0)
    n_features: tuple[int, ...]
    live_features: int = Field(ge=0)
    files: dict[str, int]
    """Bytes by file name."""


def layer_file(layer: int) -> str:
    """Name of a layer's file."""
    return f"layer_{layer:03d}.parquet"


def feature_block(feature: int) -> str:
    """Name of the block that holds a feature."""
    return str(feature // FEATURES_PER_BLOCK)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished scan, its files there and of the size that it says.

    Raises:
        EvidenceError: no scan there, or a damaged one.
    """
    path = folder / MANIFEST
    again = "scan again with: tracescribe evidence build"
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise EvidenceError(
            f"no evidence in {folder} (no {MANIFEST}); scan with: tracescribe evidence build"
        ) from error
    if len(content) > MAX_MANIFEST_BYTES:
        raise EvidenceError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes; {again}")
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise EvidenceError(f"{path} is damaged at {where}: {first['msg']}; {again}") from error
    expected = {SUMMARY, TOKEN_TEXTS, *(layer_file(layer) for layer in range(len(manifest.n_features)))}
    faults = [f"no {name} in the list" for name in sorted(expected - set(manifest.files))]
    for name in sorted(expected & set(manifest.files)):
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != manifest.files[name]:
            faults.append(f"{name} has {found or 0} bytes, expected {manifest.files[name]}")
    if faults:
        raise EvidenceError(f"the evidence in {folder} is damaged: {'; '.join(faults[:3])}; {again}")
    return manifest
