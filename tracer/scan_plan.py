"""Settings of a scan, and how it fits into the memory that it may take."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, cast

from tracescribe.tracer.corpus import Corpus
from tracescribe.tracer.corpus_windows import WindowRules, lead_ids
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.evidence_rows import KeepRules
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.provenance import version
from tracescribe.tracer.transcoders import TranscoderSet

DEFAULT_CONTEXT_SIZE = 128
DEFAULT_MAX_MEMORY = 2 << 30
BYTES_PER_ACTIVATION = 16
"""Of a dense block of activations: the numbers, their mask, and indices and values of those that are not zero."""
BYTES_PER_CANDIDATE = 400
"""Of a candidate while it is merged: the row, a copy of it, and the orders in which rows are sorted."""
FIXED_BYTES = 128 << 20
"""What a scan takes beside its limit, whatever that is: the Parquet library (about 30 MiB once it is imported), a block
of logits (32 MiB), the tokenizer's working memory, and what the allocator does not give back."""
SAMPLED_ACTIVATIONS = 128
"""Activations of a token and layer that the reference sample is planned for, 16 bytes each."""


@dataclass(frozen=True)
class BuildSettings:
    """How to scan.

    Attributes:
        context_size: most tokens in a window, what leads it included; None takes 128, or what the model reads.
        batch_tokens: most tokens of one forward pass, padding included; fewer where memory would not do.
        max_memory: bytes that the scan may take beside the model, the transcoders, and `FIXED_BYTES`.
        zero_positions: leading positions at which no feature counts as active; None takes the model's rule.
        n_effects: promoted and suppressed tokens kept per feature.
        test_share: share of the documents, by hash, whose contexts are kept from labellers to test labels on.
        split_salt: hashed with each document; another salt gives another split.
        sample_tokens: most tokens of the reference sample.
        shard_tokens: most tokens of a shard: what a kill costs at most, against one merge of files a shard.
        keep: how many contexts are kept of a feature while the scan runs.
    """

    context_size: int | None = None
    batch_tokens: int = 4096
    max_memory: int = DEFAULT_MAX_MEMORY
    zero_positions: int | None = None
    n_effects: int = 10
    test_share: float = 0.5
    split_salt: str = "tracescribe-evidence-1"
    sample_tokens: int = 1 << 16
    shard_tokens: int = 1 << 16
    keep: KeepRules = field(default_factory=KeepRules)

    def __post_init__(self) -> None:
        least = {"batch_tokens": 1, "max_memory": 1, "n_effects": 1, "sample_tokens": 0, "shard_tokens": 1}
        faults = [
            f"{name} {getattr(self, name)} below {low}" for name, low in least.items() if getattr(self, name) < low
        ]
        if self.zero_positions is not None and self.zero_positions < 0:
            faults.append(f"zero_positions {self.zero_positions} below 0")
        if faults:
            raise SettingError(f"scan settings: {'; '.join(faults)}")


@dataclass(frozen=True)
class ScanPlan:
    """The settings, worked out for one model and its transcoders.

    Attributes:
        rules: how documents become windows.
        zero_positions: leading positions without features.
        batch_tokens: of one forward pass.
        shard_tokens: of one shard.
        encode_tokens: of one dense block of activations, by layer.
        sample_tokens: most tokens of the reference sample.
        pending_candidates: candidates of a layer that are collected before they are reduced.
        n_effects: promoted and suppressed tokens.
        keep: how many contexts are kept.
    """

    rules: WindowRules
    zero_positions: int
    batch_tokens: int
    shard_tokens: int
    encode_tokens: tuple[int, ...]
    sample_tokens: int
    pending_candidates: int
    n_effects: int
    keep: KeepRules


def plan_scan(model: LanguageModel, transcoders: TranscoderSet, settings: BuildSettings) -> ScanPlan:
    """Fit the scan into the memory that it may take.

    Raises:
        SettingError: one window does not fit; the message says how much is needed.
    """
    size = settings.context_size or min(DEFAULT_CONTEXT_SIZE, model.max_positions)
    if size > model.max_positions:
        raise SettingError(f"context size {size} is more than model {model.model_id} reads ({model.max_positions})")
    rules = WindowRules(size, lead_ids(model.vocabulary), settings.test_share, settings.split_salt)
    kept = model.n_layers * model.d_model * model.dtype.itemsize + 64
    passing = _forward_bytes(model, size)
    needed = 4 * size * max(kept, passing, *(BYTES_PER_ACTIVATION * width for width in transcoders.n_features))
    if needed > settings.max_memory:
        raise SettingError(
            f"a window of {size} tokens needs {needed} bytes of memory, found a limit of {settings.max_memory}; "
            "raise --max-memory, or lower --context-size"
        )
    quarter = settings.max_memory // 4
    sampled = 16 * sum(min(SAMPLED_ACTIVATIONS, width) for width in transcoders.n_features)
    return ScanPlan(
        rules=rules,
        zero_positions=model.zero_positions if settings.zero_positions is None else settings.zero_positions,
        batch_tokens=max(size, min(settings.batch_tokens, quarter // passing)),
        shard_tokens=min(settings.shard_tokens, quarter // kept),
        encode_tokens=tuple(
            min(settings.shard_tokens, quarter // (BYTES_PER_ACTIVATION * width)) for width in transcoders.n_features
        ),
        sample_tokens=min(settings.sample_tokens, quarter // sampled),
        pending_candidates=max(1024, quarter // BYTES_PER_CANDIDATE),
        n_effects=settings.n_effects,
        keep=settings.keep,
    )


def _forward_bytes(model: LanguageModel, context_size: int) -> int:
    """Bytes of a token while a block of the model runs: hidden layer, attention scores and weights, the stream."""
    config = cast(Any, model.hf).config.get_text_config()
    hidden = getattr(config, "intermediate_size", None) or 4 * model.d_model
    heads = getattr(config, "num_attention_heads", 1)
    return model.dtype.itemsize * (3 * int(hidden) + 2 * int(heads) * context_size + 8 * model.d_model)


def plan_as_json(model: LanguageModel, transcoders: TranscoderSet, corpus: Corpus, plan: ScanPlan) -> dict[str, Any]:
    """All that the result depends on, as JSON.

    Raises:
        EvidenceError: the corpus cannot be read.
    """
    settings = asdict(plan)
    settings["encode_tokens"] = list(plan.encode_tokens)
    settings["rules"]["lead"] = list(plan.rules.lead)
    return {
        "model_id": model.model_id,
        "model_sha256": model.weights_sha256,
        "model_dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "transcoder_id": transcoders.transcoder_id,
        "transcoder_sha256": transcoders.sha256,
        "transcoder_dtype": str(transcoders.dtype).removeprefix("torch."),
        "tracer_version": version(),
        "corpus": corpus.identity(),
        "settings": settings,
    }


def differences(begun: Any, wanted: Any, where: str = "") -> list[str]:
    """Where two JSON values differ, in words: `corpus sha256 (found a, expected b)`."""
    if isinstance(begun, dict) and isinstance(wanted, dict):
        keys = [*begun, *(key for key in wanted if key not in begun)]
        return [
            text
            for key in keys
            for text in differences(begun.get(key), wanted.get(key), f"{where} {str(key).replace('_', ' ')}".strip())
        ]
    if begun == wanted:
        return []
    return [f"{where} (found {str(begun)[:20]}, expected {str(wanted)[:20]})"]
