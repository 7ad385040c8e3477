"""The local replacement model: one prompt's forward pass, reduced to maps that are linear in every source vector.

Attention patterns, norm denominators and feature activations are constants of the prompt; MLPs are cut, and what they
wrote is split exactly into feature decoders, the transcoder's linear skip path, constants and an error vector. Norms
are folded away: gain into the weight beside it, denominator into the attention pattern, LayerNorm's centring into the
value weights.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub/2025/attribution-graphs/methods.html).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.architectures.base import MLP_IN, Architecture, Block
from tracescribe.tracer.frozen_pass import FrozenPass, run_once
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet, check_fit


@dataclass(frozen=True, eq=False)
class FrozenLayer:
    """The linear maps of one block.

    Attributes:
        pattern: attention pattern over the denominator of each key position, and over that of the norm behind the
            attention at each query position where there is one, `[n_kv, n_group, n_query, n_key]`.
        o_weight: gain of the norm behind the attention included, `[d_model, n_heads * d_head]`.
        v_weight: gain and centring of the norm before the attention included, `[n_kv * d_head, d_model]`.
        attention_constant: what biases add to the residual stream by way of the attention, `[n_pos, d_model]`, or None.
        skip: the transcoder's skip path as a map from covectors on the residual stream behind the MLP to covectors
            before it, or None.
    """

    pattern: Tensor
    o_weight: Tensor
    v_weight: Tensor
    attention_constant: Tensor | None
    skip: SkipPath | None


@dataclass(frozen=True, eq=False)
class SkipPath:
    """A transcoder's linear skip path around one MLP, frozen: `covector * write_gain @ weight`, pulled to the stream.

    Attributes:
        weight: `[d_model, d_model]`; what is written is `read @ weight.T`.
        write_gain: of the norm between write point and residual stream, `[n_pos, d_model]`, or None.
        denominator: of the norm before the MLP, `[n_pos, 1]`.
        block: whose read point it starts from.
        reads: that read point.
    """

    weight: Tensor
    write_gain: Tensor | None
    denominator: Tensor
    block: Block
    reads: str

    def pull(self, covectors: Tensor) -> Tensor:
        """What the path adds to covectors on their way down, `[n leading positions, n_target, d_model]`."""
        n_pos = len(covectors)
        written = covectors if self.write_gain is None else covectors * self.write_gain[:n_pos, None]
        read = torch.bmm(written, self.weight.expand(n_pos, -1, -1))
        return self.block.read_covector(self.reads, read, self.denominator[:n_pos, None])


@dataclass(frozen=True, eq=False)
class LocalReplacement:
    """One prompt, frozen. All numbers are in the model's compute dtype and on its device.

    Attributes:
        precision: the shorter one of the dtypes of model and transcoders.
        tokens: `[n_pos]`.
        zero_positions: leading positions without features and errors.
        layers: the linear maps.
        embeddings: token vectors as they enter the residual stream, `[n_pos, d_model]`.
        bottom_constants: what enters the residual stream beside them (learned positions), `[n_pos, d_model]`, or None.
        final_gain: final norm's gain over its denominator at the last position, `[d_model]`.
        final_normed: output of the final norm at the last position, `[d_model]`.
        logits: of the last position, as the model gives them, `[vocab_size]`.
        active: layer, position and feature of every active feature, sorted, `[n_active, 3]`.
        activations: `[n_active]`.
        readers: covector that each active feature reads from the residual stream, `[n_active, d_model]`.
        reader_bias: the constant part of each active feature's pre-activation at its own read point, `[n_active]`.
        decoders: per layer read, activation times decoder of its active features, as they enter the residual stream,
            `[n_active_in_layer, n_written, d_model]`.
        errors: what the MLPs wrote beyond features, skip path and constants, as it enters the residual stream; zero at
            masked positions, `[n_layers, n_pos, d_model]`.
        error_vectors: the same at the write point, `[n_layers, n_pos, d_model]`.
        constants: what the MLPs wrote that belongs to no node: decoder biases, and everything at masked positions but
            the skip path, as it enters the residual stream, `[n_layers, n_pos, d_model]`.
    """

    precision: torch.dtype
    tokens: Tensor
    zero_positions: int
    layers: tuple[FrozenLayer, ...]
    embeddings: Tensor
    bottom_constants: Tensor | None
    final_gain: Tensor
    final_normed: Tensor
    logits: Tensor
    active: Tensor
    activations: Tensor
    readers: Tensor
    reader_bias: Tensor
    decoders: tuple[Tensor, ...]
    errors: Tensor
    error_vectors: Tensor
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
    model: LanguageModel, transcoders: TranscoderSet, tokens: Tensor, zero_positions: int | None = None
) -> LocalReplacement:
    """Run a prompt once and freeze it.

    Args:
        model: the model.
        transcoders: a set that fits it.
        tokens: `[n_pos]`, taken as they are.
        zero_positions: leading positions at which activations and errors are set to zero (BOS: its activations are
            outliers that transcoders are not trained on); None takes the model's rule for these tokens.

    Raises:
        TranscoderMismatchError: the set does not fit the model.
    """
    check_fit(model, transcoders)
    if zero_positions is None:
        zero_positions = model.zero_positions_of(tokens)
    architecture, seen = model.architecture, run_once(model, transcoders, tokens)
    final = architecture.final_norm
    features = _read_features(architecture.blocks, transcoders, seen, zero_positions)
    gains = [_write_gain(block, transcoders, seen, n) for n, block in enumerate(architecture.blocks)]
    decoders = tuple(
        _decoders(transcoders, layer, features.active[at], features.activations[at])
        for layer, at in enumerate(by_layer(features.active, len(architecture.blocks)))
    )
    written = seen.written
    bias = [transcoders.decoder_bias(n).to(seen.dtype).expand(len(tokens), -1) for n in range(len(architecture.blocks))]
    skipped = [_skip_output(block, transcoders, seen, n) for n, block in enumerate(architecture.blocks)]
    constants = torch.stack([b + constant for b, (_, constant) in zip(bias, skipped, strict=True)])
    error_vectors = torch.stack(written) - constants - torch.stack([linear for linear, _ in skipped])
    _take_away(error_vectors, features.active, decoders)
    error_vectors[:, :zero_positions] = 0
    for layer in range(len(written)):
        constants[layer, :zero_positions] = (written[layer] - skipped[layer][0])[:zero_positions]
    errors = error_vectors
    if any(gain is not None for gain in gains):
        gain = torch.stack([torch.ones_like(written[0]) if g is None else g for g in gains])
        errors, constants = error_vectors * gain, constants * gain
        decoders = _through_write_norms(features.active, decoders, gain)
    bottom = None if seen.embeddings is None else seen.resid_pre[0] - seen.embeddings
    return LocalReplacement(
        precision=min(model.dtype, transcoders.dtype, key=lambda dtype: dtype.itemsize),
        tokens=tokens,
        zero_positions=zero_positions,
        layers=tuple(_freeze(architecture, transcoders, seen, n, gains[n]) for n in range(len(architecture.blocks))),
        embeddings=seen.resid_pre[0] if seen.embeddings is None else seen.embeddings,
        bottom_constants=bottom,
        final_gain=final.gain.to(seen.dtype) / final.denominator(seen.resid_final[-1]),
        final_normed=seen.final_normed,
        logits=seen.logits,
        active=features.active,
        activations=features.activations,
        readers=features.readers,
        reader_bias=features.reader_bias,
        decoders=decoders,
        errors=errors,
        error_vectors=error_vectors,
        constants=constants,
    )


def by_layer(active: Tensor, n_layers: int) -> list[Tensor]:
    """Indices into `active` `[n, 3]` of each layer's features."""
    counts = torch.bincount(active[:, 0], minlength=n_layers).tolist()
    return list(torch.split(torch.arange(len(active), device=active.device), counts))


@dataclass(frozen=True, eq=False)
class _Features:
    """Active features `[n, 3]`, activations `[n]`, readers `[n, d_model]` and constant parts `[n]`."""

    active: Tensor
    activations: Tensor
    readers: Tensor
    reader_bias: Tensor


def _read_features(
    blocks: tuple[Block, ...], transcoders: TranscoderSet, seen: FrozenPass, zero_positions: int
) -> _Features:
    rows, values, readers, biases = [], [], [], []
    for layer, block in enumerate(blocks):
        mid = seen.resid_mid[layer]
        denominator = block.mlp_norm.denominator(mid)
        acts = transcoders.encode(layer, block.read(transcoders.reads, mid, denominator))
        acts[:zero_positions] = 0
        position, feature = acts.nonzero(as_tuple=True)
        encoders = transcoders.encoder_rows(layer, feature).to(mid.dtype)  # a set may be less precise than the model
        rows.append(torch.stack([torch.full_like(position, layer), position, feature], dim=1))
        values.append(acts[position, feature].to(mid.dtype))
        readers.append(block.read_covector(transcoders.reads, encoders, denominator[position]))
        bias = transcoders.encoder_bias(layer)[feature].to(mid.dtype)
        if (norm_bias := _read_bias(block, transcoders)) is not None:
            bias = bias + encoders @ norm_bias.to(encoders.dtype)
        biases.append(bias)
    return _Features(torch.cat(rows), torch.cat(values), torch.cat(readers), torch.cat(biases))


def _read_bias(block: Block, transcoders: TranscoderSet) -> Tensor | None:
    """The part of the value at the read point that is no linear image of the residual stream, `[d_model]`."""
    return block.mlp_norm.bias if transcoders.reads == MLP_IN else None


def _decoders(transcoders: TranscoderSet, layer: int, active: Tensor, activations: Tensor) -> Tensor:
    """Activation times decoder of one layer's active features, `[n, n_written, d_model]`."""
    return transcoders.decoder_rows(layer, active[:, 2]).to(activations.dtype).mul_(activations[:, None, None])


def _skip_output(block: Block, transcoders: TranscoderSet, seen: FrozenPass, layer: int) -> tuple[Tensor, Tensor]:
    """What the skip path writes, split in its linear and its constant part, `[n_pos, d_model]` each."""
    mid = seen.resid_mid[layer]
    weight = transcoders.skip_weight(layer)
    if weight is None:
        return torch.zeros_like(mid), torch.zeros_like(mid)
    weight = weight.to(mid.dtype)
    constant = torch.zeros_like(mid)
    if (bias := _read_bias(block, transcoders)) is not None:
        constant += bias.to(mid.dtype) @ weight.T
    return block.read(transcoders.reads, mid) @ weight.T - constant, constant


def _write_gain(block: Block, transcoders: TranscoderSet, seen: FrozenPass, layer: int) -> Tensor | None:
    """Derivative of the residual stream by the write point, a diagonal `[n_pos, d_model]`; None where it is one."""
    norm, before = block.write_norm(transcoders.writes), seen.mlp_outputs[layer]
    if norm is None or before is None:
        return None
    return norm.gain.to(before.dtype) / norm.denominator(before)


def _take_away(errors: Tensor, active: Tensor, decoders: tuple[Tensor, ...]) -> None:
    """Subtract all feature decoders from `[n_layers, n_pos, d_model]`, by layer written to."""
    for layer, at in enumerate(by_layer(active, len(errors))):
        rows = decoders[layer].transpose(0, 1)
        errors[layer : layer + len(rows)].index_add_(1, active[at, 1], rows, alpha=-1)


def _through_write_norms(active: Tensor, decoders: tuple[Tensor, ...], gain: Tensor) -> tuple[Tensor, ...]:
    """Decoders as they enter the residual stream behind norms of `gain` `[n_layers, n_pos, d_model]`."""
    return tuple(
        rows * gain[layer : layer + rows.shape[1], active[at, 1]].transpose(0, 1)
        for layer, (at, rows) in enumerate(zip(by_layer(active, len(gain)), decoders, strict=True))
    )


def _freeze(
    architecture: Architecture, transcoders: TranscoderSet, seen: FrozenPass, layer: int, write_gain: Tensor | None
) -> FrozenLayer:
    block, dtype = architecture.blocks[layer], seen.dtype
    norm, post, before_post = block.attention_norm, block.attention_post_norm, seen.attention_outputs[layer]
    pattern = seen.patterns[layer] / norm.denominator(seen.resid_pre[layer]).T
    o_weight = block.o_weight.to(dtype)
    o_weight_folded, query_scale = o_weight, None
    if post is not None and before_post is not None:
        query_scale = 1 / post.denominator(before_post)
        pattern = pattern * query_scale
        o_weight_folded = o_weight * post.gain.to(dtype)[:, None]
    weight = transcoders.skip_weight(layer)
    mid = seen.resid_mid[layer]
    return FrozenLayer(
        pattern=torch.unflatten(pattern, 0, (architecture.n_kv_heads, -1)),
        o_weight=o_weight_folded,
        v_weight=norm.centre(block.v_weight.to(dtype) * norm.gain.to(dtype)),
        attention_constant=_attention_constant(architecture, block, o_weight, query_scale, seen.patterns[layer]),
        skip=None
        if weight is None
        else SkipPath(weight.to(dtype), write_gain, block.mlp_norm.denominator(mid), block, transcoders.reads),
    )


def _attention_constant(
    architecture: Architecture, block: Block, o_weight: Tensor, query_scale: Tensor | None, pattern: Tensor
) -> Tensor | None:
    """What biases of the attention and of the norm before it add to the residual stream, `[n_pos, d_model]`."""
    dtype = o_weight.dtype
    value = None if block.v_bias is None else block.v_bias.to(dtype)
    if (bias := block.attention_norm.bias) is not None:
        through = block.v_weight.to(dtype) @ bias.to(dtype)
        value = through if value is None else value + through
    constant = None if block.o_bias is None else block.o_bias.to(dtype)
    if value is not None:
        per_head = torch.unflatten(value, 0, (architecture.n_kv_heads, -1))
        group = architecture.n_heads // architecture.n_kv_heads
        out = torch.unflatten(o_weight, 1, (architecture.n_heads, -1))
        spread = torch.einsum("dhe,he->hd", out, per_head.repeat_interleave(group, 0))
        # rows of a pattern sum to one, but only to the precision of the model's softmax
        through = pattern.sum(-1).T @ spread
        constant = through if constant is None else constant + through
    if constant is None:
        return None
    post = block.attention_post_norm
    if post is not None and query_scale is not None:
        return constant * post.gain.to(dtype) * query_scale
    return constant.expand(pattern.shape[1], -1)
