"""Direct effect of transcoder features on the output: which tokens a feature says, if nothing else reacts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tracescribe.tracer.feature_evidence import TopEffects
from tracescribe.tracer.graph import FloatArray
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet

_CHUNK_NUMBERS = 1 << 23
"""Logit effects held at once: 32 MiB in float32."""
_NORM_ROWS = 4096
"""Decoders read at once for their norms."""


@torch.no_grad()
def logit_effects(model: LanguageModel, transcoders: TranscoderSet, layer: int, features: Tensor) -> Tensor:
    """Direct effect of one unit of activation on every logit, relative to the mean over the vocabulary.

    An approximation that needs no prompt: the decoder vectors of all layers written to are summed (each times the gain
    of the norm behind its write point, where a family has one), scaled by the final norm's gain and unembedded. Left
    out are the norms' denominators (positive factors that depend on the prompt) and whatever later layers make of the
    vectors.

    Args:
        features: `[n]` indices.

    Returns:
        `[n, vocab_size]` in the model's compute dtype, on its device.
    """
    architecture = model.architecture
    rows = transcoders.decoder_rows(layer, features).to(model.device, model.compute_dtype)
    written = torch.zeros(len(rows), model.d_model, dtype=rows.dtype, device=rows.device)
    for place in range(rows.shape[1]):
        norm = architecture.blocks[layer + place].write_norm(transcoders.writes)
        vector = rows[:, place]
        written += vector if norm is None else norm.centre(vector * norm.gain.to(vector.dtype))
    final = architecture.final_norm
    written = final.centre(written) * final.gain.to(written.dtype)
    logits = written @ architecture.unembedding.T.to(written.dtype)
    logits -= logits.mean(-1, keepdim=True)
    return logits


@torch.no_grad()
def top_effects(model: LanguageModel, transcoders: TranscoderSet, layer: int, k: int) -> TopEffects:
    """The `k` most promoted and most suppressed tokens of every feature of a layer."""
    k = min(k, model.vocab_size)
    n_features = transcoders.n_features[layer]
    size = max(1, _CHUNK_NUMBERS // model.vocab_size)
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for features in torch.split(torch.arange(n_features), size):
        effects = logit_effects(model, transcoders, layer, features)
        up, down = effects.topk(k, -1), effects.topk(k, -1, largest=False)
        parts.append((up.indices, up.values, down.indices, down.values))
    promoted, up_effect, suppressed, down_effect = (
        torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)
    )
    return TopEffects(
        promoted.astype(np.int64),
        up_effect.astype(np.float32),
        suppressed.astype(np.int64),
        down_effect.astype(np.float32),
    )


def decoder_norms(transcoders: TranscoderSet, layer: int) -> FloatArray:
    """Norm of every feature's decoder over all layers written to together, `[n_features]`."""
    parts = torch.split(torch.arange(transcoders.n_features[layer]), _NORM_ROWS)
    norms = torch.cat([transcoders.decoder_rows(layer, part).flatten(1).norm(dim=1) for part in parts])
    return norms.cpu().numpy().astype(np.float32)
