"""Windows through the model: what every transcoder reads, and what the model would say next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tracescribe.tracer.corpus_windows import Window
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.module_hooks import Hook, hooked

MAX_LOGIT_NUMBERS = 1 << 23
"""Logits held at once: 32 MiB in float32."""


@torch.no_grad()
def run_windows(
    model: LanguageModel, windows: Sequence[Window], batch_tokens: int
) -> tuple[list[Tensor], NDArray[np.int32]]:
    """Run windows through the model, those of like length together, padded at the end.

    Padding stands behind every token of its row, and attention is causal: no token sees it.

    Returns:
        By layer the residual stream between attention and MLP, `[n_tokens, d_model]` in the model's dtype on the CPU;
        and the most probable next tokens, `[n_tokens]`.
    """
    lengths = np.array([len(window.ids) for window in windows])
    offsets = np.cumsum(lengths) - lengths
    inputs = [torch.empty(int(lengths.sum()), model.d_model, dtype=model.dtype) for _ in range(model.n_layers)]
    next_ids = np.empty(int(lengths.sum()), dtype=np.int32)
    places = torch.empty(0, dtype=torch.int64)
    mask = torch.empty(0, dtype=torch.bool)

    def keep(layer: int) -> tuple[nn.Module, Hook]:
        def act(x: Tensor | None, output: Any) -> None:
            assert x is not None, "norms are called with a positional input"
            inputs[layer][places] = x[mask].to("cpu", model.dtype)

        return model.architecture.blocks[layer].mlp_norm.module, act

    order = np.argsort(lengths, kind="stable")
    with hooked([keep(layer) for layer in range(model.n_layers)]):
        for batch in _batches(order, lengths, batch_tokens):
            longest = int(lengths[batch].max())
            ids = torch.zeros(len(batch), longest, dtype=torch.int64)
            for row, number in enumerate(batch):
                ids[row, : lengths[number]] = torch.from_numpy(windows[number].ids.astype(np.int64))
            inside = torch.arange(longest) < torch.from_numpy(lengths[batch])[:, None]
            places = (torch.from_numpy(offsets[batch])[:, None] + torch.arange(longest))[inside]
            mask = inside.to(model.device)
            base = cast(Any, model.hf).base_model
            last = base(input_ids=ids.to(model.device), use_cache=False).last_hidden_state
            next_ids[places.numpy()] = _most_probable(model, last[mask])
    return inputs, next_ids


def _most_probable(model: LanguageModel, final: Tensor) -> NDArray[np.int32]:
    """Tokens with the largest logits, `[n_tokens]`; a soft-cap would not change their order."""
    architecture = model.architecture
    found = []
    for rows in torch.split(final, max(1, MAX_LOGIT_NUMBERS // model.vocab_size)):
        logits = nn.functional.linear(rows, architecture.unembedding, architecture.unembedding_bias)
        found.append(logits.argmax(-1).to("cpu", torch.int32))
    return torch.cat(found).numpy()


def _batches(order: NDArray[np.int64], lengths: NDArray[np.int64], batch_tokens: int) -> list[NDArray[np.int64]]:
    """Window numbers, shortest first; the padded batch holds at most `batch_tokens`."""
    batches: list[list[int]] = [[]]
    for number in order:
        if batches[-1] and (len(batches[-1]) + 1) * lengths[number] > batch_tokens:
            batches.append([])
        batches[-1].append(int(number))
    return [np.array(batch) for batch in batches]
