"""The corpus scan: run every sentence once, keep every feature's activations, ask questions for ever.

Comes in: a model, its transcoders, plain sentences. Goes out: an `EvidenceStore`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tracescribe.tracer import corpus_windows, embedded
from tracescribe.tracer.errors import EvidenceError, PromptError, SettingError
from tracescribe.tracer.evidence_store import EvidenceStore, LayerActivations
from tracescribe.tracer.feature_evidence import Context, FeatureEvidence, TokenEffect, TopEffects
from tracescribe.tracer.graph import FloatArray, IntArray
from tracescribe.tracer.logit_effects import top_effects
from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.module_hooks import Hook, hooked
from tracescribe.tracer.provenance import sha256_json, version
from tracescribe.tracer.scanned_corpus import EvidenceOrigin
from tracescribe.tracer.transcoders import TranscoderSet, check_fit, load_transcoders

__all__ = [
    "Context",
    "EvidenceStore",
    "FeatureEvidence",
    "LayerActivations",
    "ScanSettings",
    "TokenEffect",
    "build_embedded_evidence",
    "corpus_sha256",
    "in_test_half",
    "load_embedded_evidence",
    "read_corpus",
    "scan",
]

Progress = Callable[[str, int, int], None]
"""Called with a stage, the number of sentences done, and their total."""

MAX_BATCH_NUMBERS = 1 << 26
"""Logits held at once by the scan: 256 MiB in float32."""


@dataclass(frozen=True)
class ScanSettings:
    """How to scan.

    Attributes:
        batch_size: most sentences per forward pass; only sentences of one length share a pass, so that none is padded.
        n_effects: promoted and suppressed tokens kept per feature.
        zero_positions: leading positions at which no feature counts as active (BOS).
        test_share: share of the sentences, by hash, whose contexts are kept from labellers to test labels on.
        split_salt: hashed with each sentence; another salt gives another split.
    """

    batch_size: int = 256
    n_effects: int = 10
    zero_positions: int = 1
    test_share: float = 0.5
    split_salt: str = "tracescribe-evidence-1"

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.n_effects < 1 or self.zero_positions < 0:
            raise SettingError(
                "scan settings: batch_size and n_effects must be at least 1 and zero_positions at least 0, found "
                f"{self.batch_size}, {self.n_effects} and {self.zero_positions}"
            )
        if not 0.0 <= self.test_share <= 1.0:
            raise SettingError(f"scan settings: test_share must lie between 0 and 1, found {self.test_share}")


def in_test_half(sentence: str, settings: ScanSettings) -> bool:
    """Which half a sentence lies in: decided by a hash of its words, so that equal sentences never part."""
    return corpus_windows.in_test_half(sentence, settings.split_salt, settings.test_share)


def corpus_sha256(sentences: Sequence[str]) -> str:
    """Hash of sentences in order."""
    return sha256_json(list(sentences))


def read_corpus(path: Path) -> tuple[str, ...]:
    """Sentences of a text file, one a line, empty lines left out.

    Raises:
        EvidenceError: the file cannot be read as UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvidenceError(
            f"cannot read the corpus {path}: {error}; give a UTF-8 text, one sentence a line"
        ) from error
    return tuple(line.strip() for line in lines if line.strip())


def scan(
    model: LanguageModel,
    transcoders: TranscoderSet,
    sentences: Sequence[str],
    settings: ScanSettings | None = None,
    progress: Progress | None = None,
) -> EvidenceStore:
    """Run every sentence through the model and keep all feature activations.

    Args:
        sentences: the corpus; the order is kept.
        settings: how to scan; the defaults if None.
        progress: called after each batch.

    Raises:
        TranscoderMismatchError: the transcoders do not fit the model.
        EvidenceError: no sentences, or one that the model cannot read.
    """
    settings = settings or ScanSettings()
    check_fit(model, transcoders)
    ids = _encode(model, sentences)
    lengths = np.array([len(row) for row in ids])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    token_ids = torch.cat(ids).numpy().astype(np.int64)
    next_ids = np.zeros_like(token_ids)
    found: list[list[tuple[IntArray, IntArray, FloatArray]]] = [[] for _ in range(model.n_layers)]
    done = 0
    for batch in _batches(lengths, settings.batch_size, model.vocab_size):
        best, layers = _run(model, transcoders, torch.stack([ids[i] for i in batch]), settings.zero_positions)
        places = offsets[batch][:, None] + np.arange(best.shape[1])
        next_ids[places] = best
        for kept, (token, feature, value) in zip(found, layers, strict=True):
            kept.append((places.ravel()[token], feature, value))
        done += len(batch)
        if progress is not None:
            progress("scan", done, len(ids))
    effects = tuple(top_effects(model, transcoders, layer, settings.n_effects) for layer in range(model.n_layers))
    return EvidenceStore(
        origin=_origin(model, transcoders, sentences, settings),
        corpus=tuple(sentences),
        token_texts=_texts(model, [token_ids, next_ids], effects),
        offsets=offsets,
        token_ids=token_ids,
        next_token_ids=next_ids,
        is_test=np.array([in_test_half(sentence, settings) for sentence in sentences]),
        n_features=transcoders.n_features,
        entries=tuple(_merged(parts) for parts in found),
        effects=effects,
    )


def build_embedded_evidence(progress: Progress | None = None, folder: Path | None = None) -> EvidenceStore:
    """Scan the embedded model's public corpus again and write the result where the package keeps it.

    Args:
        progress: called after each batch.
        folder: where to write instead.

    Raises:
        EvidenceError: the corpus cannot be read, or not by this model.
        OutputError: the folder cannot be written to.
    """
    model, transcoders = load_model(embedded.MODEL_ID), load_transcoders(embedded.MODEL_ID)
    store = scan(model, transcoders, read_corpus(embedded.corpus_path()), progress=progress)
    store.save(folder or embedded.evidence_dir())
    return store


def load_embedded_evidence(model: LanguageModel, transcoders: TranscoderSet) -> EvidenceStore:
    """The evidence that ships with the embedded model.

    Args:
        model, transcoders: the embedded ones.

    Raises:
        EvidenceError: it is missing or damaged, or was scanned with other weights or another corpus.
    """
    store = EvidenceStore.load(embedded.evidence_dir(), model=model, transcoders=transcoders)
    expected = corpus_sha256(read_corpus(embedded.corpus_path()))
    if store.origin.corpus_sha256 != expected:
        raise EvidenceError(
            f"the evidence was scanned from a corpus with hash {store.origin.corpus_sha256[:12]}, expected "
            f"{expected[:12]}; scan again with: tracescribe evidence build"
        )
    return store


def _origin(
    model: LanguageModel, transcoders: TranscoderSet, sentences: Sequence[str], settings: ScanSettings
) -> EvidenceOrigin:
    return EvidenceOrigin(
        model_id=model.model_id,
        model_sha256=model.weights_sha256,
        transcoder_id=transcoders.transcoder_id,
        transcoder_sha256=transcoders.sha256,
        corpus_sha256=corpus_sha256(sentences),
        tracer_version=version(),
        zero_positions=settings.zero_positions,
        test_share=settings.test_share,
        split_salt=settings.split_salt,
    )


def _encode(model: LanguageModel, sentences: Sequence[str]) -> list[Tensor]:
    """Token ids of every sentence."""
    if not sentences:
        raise EvidenceError("the corpus has no sentences; give a text with one sentence a line")
    ids = []
    for number, sentence in enumerate(sentences):
        try:
            ids.append(model.encode(sentence))
        except PromptError as error:
            raise EvidenceError(f"corpus sentence {number + 1}: {error}") from error
    return ids


def _batches(lengths: IntArray, batch_size: int, vocab_size: int) -> Iterator[IntArray]:
    """Sentence numbers, sentences of one length together, shortest first."""
    for length in np.unique(lengths):
        size = max(1, min(batch_size, MAX_BATCH_NUMBERS // (int(length) * vocab_size)))
        same = np.flatnonzero(lengths == length)
        yield from (same[start : start + size] for start in range(0, len(same), size))


@torch.no_grad()
def _run(
    model: LanguageModel, transcoders: TranscoderSet, ids: Tensor, zero_positions: int
) -> tuple[IntArray, list[tuple[IntArray, IntArray, FloatArray]]]:
    """Most probable next tokens `[n_rows, n_pos]`, and by layer flat token index, feature and value of activations."""
    layers: list[tuple[IntArray, IntArray, FloatArray]] = []

    def encode(layer: int) -> tuple[nn.Module, Hook]:
        block = model.architecture.blocks[layer]

        def act(x: Tensor | None, output: Tensor) -> None:
            assert x is not None, "norms are called with a positional input"
            read = block.read(transcoders.reads, x.to(model.compute_dtype))
            encoded = transcoders.encode(layer, read.to(transcoders.device, transcoders.dtype))
            encoded[:, :zero_positions] = 0.0
            flat = encoded.flatten(0, 1)
            token, feature = flat.nonzero(as_tuple=True)
            value = flat[token, feature].to("cpu", torch.float32)
            layers.append((token.cpu().numpy(), feature.cpu().numpy(), value.numpy()))

        return block.mlp_norm.module, act

    with hooked([encode(layer) for layer in range(model.n_layers)]):
        logits = cast(Any, model.hf)(input_ids=ids.to(model.device), use_cache=False).logits
    return logits.argmax(-1).cpu().numpy(), layers


def _merged(parts: list[tuple[IntArray, IntArray, FloatArray]]) -> tuple[IntArray, IntArray, FloatArray]:
    """One layer's activations of all batches, sorted by token, then feature."""
    token, feature, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((feature, token))
    return token[order].astype(np.int64), feature[order].astype(np.int64), value[order].astype(np.float32)


def _texts(model: LanguageModel, ids: list[IntArray], effects: Sequence[TopEffects]) -> dict[int, str]:
    """Text of every token that the store mentions."""
    mentioned = [*ids, *(e.promoted.ravel() for e in effects), *(e.suppressed.ravel() for e in effects)]
    return {int(i): model.token_text(int(i)) for i in np.unique(np.concatenate(mentioned))}
