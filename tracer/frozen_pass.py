"""One forward pass, and everything of it that a local replacement model is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.module_hooks import Hook, hooked
from tracescribe.tracer.transcoders import TranscoderSet


@dataclass(frozen=True, eq=False)
class FrozenPass:
    """What one forward pass showed, by layer, in the model's compute dtype; `[n_pos, d_model]` where not said.

    Attributes:
        dtype: of all numbers.
        resid_pre: residual stream before attention.
        resid_mid: residual stream between attention and MLP.
        written: value at the write point.
        attention_outputs: attention outputs before the norm behind them; None where there is no such norm.
        mlp_outputs: MLP outputs before the norm behind them; None where there is no such norm.
        patterns: attention patterns, `[n_heads, n_query, n_key]`.
        embeddings: output of the embedding module where the architecture names one, else None.
        resid_final: input of the final norm.
        final_normed: output of the final norm at the last position, `[d_model]`.
        logits: of the last position, `[vocab_size]`.
    """

    dtype: torch.dtype
    resid_pre: list[Tensor]
    resid_mid: list[Tensor]
    written: list[Tensor]
    attention_outputs: list[Tensor | None]
    mlp_outputs: list[Tensor | None]
    patterns: list[Tensor]
    embeddings: Tensor | None
    resid_final: Tensor
    final_normed: Tensor
    logits: Tensor


@torch.no_grad()
def run_once(model: LanguageModel, transcoders: TranscoderSet, tokens: Tensor) -> FrozenPass:
    """Run `[n_pos]` tokens through the model and keep what the tracer needs."""
    architecture, dtype = model.architecture, model.compute_dtype
    seen: dict[tuple[str, int], Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        return value[0].to(dtype)

    def keep_input(name: str, layer: int) -> Hook:
        def hook(x: Tensor | None, output: Any) -> None:
            assert x is not None, "norms are called with a positional input"
            seen[name, layer] = keep(x)

        return hook

    def keep_output(name: str, layer: int, item: int | None = None) -> Hook:
        def hook(x: Tensor | None, output: Any) -> None:
            seen[name, layer] = keep(output if item is None else output[item])

        return hook

    final = architecture.final_norm.module
    hooks: list[tuple[nn.Module, Hook]] = [(final, keep_input("final", 0)), (final, keep_output("normed", 0))]
    if architecture.embedding is not None:
        hooks.append((architecture.embedding, keep_output("embedding", 0)))
    for n, block in enumerate(architecture.blocks):
        hooks += [
            (block.attention_norm.module, keep_input("pre", n)),
            (block.attention, keep_output("pattern", n, 1)),  # eager attention gives its pattern beside its output
            (block.mlp_norm.module, keep_input("mid", n)),
            (block.write_modules[transcoders.writes], keep_output("out", n)),
        ]
        if block.attention_post_norm is not None:
            hooks.append((block.attention_post_norm.module, keep_input("attention", n)))
        if block.mlp_post_norm is not None:
            hooks.append((block.mlp_post_norm.module, keep_input("mlp", n)))
    with hooked(hooks):
        output = cast(Any, model.hf)(tokens[None].to(model.device), use_cache=False, logits_to_keep=1)
    layers = range(model.n_layers)
    return FrozenPass(
        dtype=dtype,
        resid_pre=[seen["pre", n] for n in layers],
        resid_mid=[seen["mid", n] for n in layers],
        written=[seen["out", n] for n in layers],
        attention_outputs=[seen.get(("attention", n)) for n in layers],
        mlp_outputs=[seen.get(("mlp", n)) for n in layers],
        patterns=[seen["pattern", n] for n in layers],
        embeddings=seen.get(("embedding", 0)),
        resid_final=seen["final", 0],
        final_normed=seen["normed", 0][-1],
        logits=output.logits[0, -1].to(dtype),
    )
