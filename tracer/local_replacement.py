"""The local replacement model: one prompt's forward pass, reduced to maps that are linear in every source vector.

Attention patterns, norm denominators and feature activations are constants of the prompt; MLPs are cut, and what they
wrote is split exactly into feature decoders, decoder biases and an error vector. Norms are folded away: gain into the
weight beside it, denominator into the attention pattern.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub/2025/attribution-graphs/methods.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer.architectures.base import Architecture, Block
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.module_hooks import Hook, hooked
from tracescribe.tracer.transcoders import TranscoderSet, check_fit


@dataclass(frozen=True, eq=False)
class FrozenLayer:
    """The linear maps of one block.

    Attributes:
        pattern: attention pattern over the denominator of each key position, `[n_kv, n_group, n_query, n_key]`.
        o_weight: `[d_model, n_heads * d_head]`.
        v_weight: norm gain included, `[n_kv * d_head, d_model]`.
        attention_constant: what attention biases add to the residual stream at every position, `[d_model]`, or None.
    """

    pattern: Tensor
    o_weight: Tensor
    v_weight: Tensor
    attention_constant: Tensor | None


@dataclass(frozen=True, eq=False)
class LocalReplacement:
    """One prompt, frozen.

    Attributes:
        tokens: `[n_pos]`.
        zero_positions: leading positions without features and errors.
        layers: the linear maps.
        embeddings: token vectors as they enter the residual stream, `[n_pos, d_model]`.
        final_gain: final norm's gain over its denominator at the last position, `[d_model]`.
        logits: of the last position, as the model gives them, `[vocab_size]`.
        active: layer, position and feature of every active feature, sorted, `[n_active, 3]`.
        activations: `[n_active]`.
        readers: covector that each active feature reads from the residual stream, `[n_active, d_model]`.
        reader_bias: encoder bias of each active feature, `[n_active]`.
        decoders: per layer read, activation times decoder of its active features,
            `[n_active_in_layer, n_layers - layer, d_model]`.
        errors: what the MLPs wrote beyond features and decoder bias; zero at masked positions,
            `[n_layers, n_pos, d_model]`.
        constants: what the MLPs wrote that belongs to no node: decoder biases, and everything at masked positions,
            `[n_layers, n_pos, d_model]`.
    """

    tokens: Tensor
    zero_positions: int
    layers: tuple[FrozenLayer, ...]
    embeddings: Tensor
    final_gain: Tensor
    logits: Tensor
    active: Tensor
    activations: Tensor
    readers: Tensor
    reader_bias: Tensor
    decoders: tuple[Tensor, ...]
    errors: Tensor
    constants: Tensor

    @property
    def n_layers(self) -> int:
        """Transformer blocks."""
        return len(self.layers)

    @property
    def n_pos(self) -> int:
        """Prompt tokens."""
        return len(self.tokens)


@torch.no_grad()
def replace_locally(
    model: LanguageModel, transcoders: TranscoderSet, tokens: Tensor, zero_positions: int = 1
) -> LocalReplacement:
    """Run a prompt once and freeze it.

    Args:
        model: the model.
        transcoders: a set that fits it.
        tokens: `[n_pos]`, taken as they are.
        zero_positions: leading positions at which activations and errors are set to zero (BOS: its activations are
            outliers that transcoders are not trained on).

    Raises:
        TranscoderMismatchError: the set does not fit the model.
    """
    check_fit(model, transcoders)
    blocks, seen = model.architecture.blocks, _run(model, transcoders, tokens)
    final = model.architecture.final_norm
    active, activations, readers, reader_bias = _read_features(blocks, transcoders, seen, zero_positions)
    decoders = tuple(
        transcoders.decoder_rows(layer, active[at, 2]) * activations[at, None, None]
        for layer, at in enumerate(_by_layer(active, len(blocks)))
    )
    written = torch.stack(seen.written)
    constants = torch.stack([transcoders.decoder_bias(n).expand(len(tokens), -1) for n in range(len(blocks))]).clone()
    errors = written - constants - _reconstruct(active, decoders, written)
    errors[:, :zero_positions] = 0
    constants[:, :zero_positions] = written[:, :zero_positions]
    return LocalReplacement(
        tokens=tokens,
        zero_positions=zero_positions,
        layers=tuple(_freeze(model, n, seen) for n in range(len(blocks))),
        embeddings=seen.resid_pre[0],
        final_gain=final.gain / final.denominator(seen.resid_final)[-1],
        logits=seen.logits,
        active=active,
        activations=activations,
        readers=readers,
        reader_bias=reader_bias,
        decoders=decoders,
        errors=errors,
        constants=constants,
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one forward pass showed; all `[n_pos, d_model]` per layer but patterns `[n_heads, n_query, n_key]`."""

    resid_pre: list[Tensor]
    resid_mid: list[Tensor]
    written: list[Tensor]
    resid_final: Tensor
    patterns: list[Tensor]
    logits: Tensor


def _run(model: LanguageModel, transcoders: TranscoderSet, tokens: Tensor) -> _Seen:
    seen: dict[tuple[str, int], Tensor] = {}

    def keep_input(name: str, layer: int) -> Hook:
        def hook(x: Tensor | None, output: Any) -> None:
            assert x is not None, "norms are called with a positional input"
            seen[name, layer] = x[0].float()

        return hook

    def keep_output(name: str, layer: int, item: int | None = None) -> Hook:
        def hook(x: Tensor | None, output: Any) -> None:
            seen[name, layer] = (output if item is None else output[item])[0].float()

        return hook

    hooks: list[tuple[nn.Module, Hook]] = [(model.architecture.final_norm.module, keep_input("final", 0))]
    for n, block in enumerate(model.architecture.blocks):
        hooks += [
            (block.attention_norm.module, keep_input("pre", n)),
            (block.attention, keep_output("pattern", n, 1)),  # eager attention gives its pattern beside its output
            (block.mlp_norm.module, keep_input("mid", n)),
            (block.write_modules[transcoders.writes], keep_output("out", n)),
        ]
    with hooked(hooks):
        output = cast(Any, model.hf)(tokens[None], use_cache=False)
    layers = range(model.n_layers)
    return _Seen(
        resid_pre=[seen["pre", n] for n in layers],
        resid_mid=[seen["mid", n] for n in layers],
        written=[seen["out", n] for n in layers],
        resid_final=seen["final", 0],
        patterns=[seen["pattern", n] for n in layers],
        logits=output.logits[0, -1].float(),
    )


def _read_features(
    blocks: tuple[Block, ...], transcoders: TranscoderSet, seen: _Seen, zero_positions: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Active features `[n, 3]`, activations `[n]`, readers `[n, d_model]` and encoder biases `[n]`."""
    rows, values, readers, biases = [], [], [], []
    for layer, block in enumerate(blocks):
        acts = transcoders.encode(layer, block.read(transcoders.reads, seen.resid_mid[layer]))
        acts[:zero_positions] = 0
        position, feature = acts.nonzero(as_tuple=True)
        rows.append(torch.stack([torch.full_like(position, layer), position, feature], dim=1))
        values.append(acts[position, feature])
        denominator = block.mlp_norm.denominator(seen.resid_mid[layer])[position]
        readers.append(block.read_covector(transcoders.reads, transcoders.encoder_rows(layer, feature), denominator))
        biases.append(transcoders.encoder_bias(layer)[feature])
    return torch.cat(rows), torch.cat(values), torch.cat(readers), torch.cat(biases)


def _by_layer(active: Tensor, n_layers: int) -> list[Tensor]:
    """Indices into `active` of each layer's features."""
    counts = torch.bincount(active[:, 0], minlength=n_layers).tolist()
    return list(torch.split(torch.arange(len(active)), counts))


def _reconstruct(active: Tensor, decoders: tuple[Tensor, ...], like: Tensor) -> Tensor:
    """Sum of all feature decoders, by layer written to: `[n_layers, n_pos, d_model]`."""
    total = torch.zeros_like(like)
    for layer, at in enumerate(_by_layer(active, len(like))):
        total[layer:].index_add_(1, active[at, 1], decoders[layer].transpose(0, 1))
    return total


def _freeze(model: LanguageModel, layer: int, seen: _Seen) -> FrozenLayer:
    architecture = model.architecture
    block = architecture.blocks[layer]
    scaled = seen.patterns[layer] / block.attention_norm.denominator(seen.resid_pre[layer]).T
    return FrozenLayer(
        pattern=torch.unflatten(scaled, 0, (architecture.n_kv_heads, -1)),
        o_weight=block.o_weight,
        v_weight=block.v_weight * block.attention_norm.gain,
        attention_constant=_attention_constant(architecture, block),
    )


def _attention_constant(architecture: Architecture, block: Block) -> Tensor | None:
    constant = block.o_bias
    if block.v_bias is not None:  # patterns sum to one over keys, so every query receives the whole bias
        per_head = torch.unflatten(block.v_bias, 0, (architecture.n_kv_heads, -1))
        group = architecture.n_heads // architecture.n_kv_heads
        spread = block.o_weight @ per_head.repeat_interleave(group, 0).flatten()
        constant = spread if constant is None else constant + spread
    return constant
