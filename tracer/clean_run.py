"""One unperturbed forward pass, kept: what every intervention on the same prompt starts from and is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer.architectures.base import Norm
from tracescribe.tracer.edits import StreamPoint
from tracescribe.tracer.errors import InterventionError, PromptError
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.module_hooks import Hook, hooked
from tracescribe.tracer.transcoders import TranscoderSet, check_fit

MAX_NUMBERS_KEPT = 1 << 24
"""Numbers of one layer's activations that a clean run keeps: 64 MiB in float32. Larger layers are encoded when asked for,
at the positions asked for."""


@dataclass(frozen=True, eq=False)
class CleanRun:
    """A clean forward pass of one prompt. Tensors live on the model's device, in its dtype where nothing else is said.

    Attributes:
        model: the model that was run.
        transcoders: the set whose features are read.
        tokens: `[n_pos]` int64, on the CPU.
        n_pos: number of prompt tokens.
        zero_positions: leading positions at which no feature counts as active, by the model's rule for this prompt.
        logits: `[n_pos, vocab_size]`, in the dtype that the model is computed with.
        patterns: attention weights by layer, each `[n_heads, n_pos, n_pos]`.
        resid_pre: residual stream before attention by layer, `[n_pos, d_model]`.
        resid_mid: residual stream between attention and MLP by layer, `[n_pos, d_model]`.
        resid_final: residual stream behind the last layer, `[n_pos, d_model]`.
        writes: value at each layer's write point, `[n_pos, d_model]`.
        denominators: frozen denominator of every norm module of the residual stream, `[n_pos, 1]`, in the dtype that the
            model is computed with.
        keys, values: attention cache by layer, `[n_kv_heads, n_pos, d_head]`: of all positions, also where a layer
            attends within a window; empty where the model keeps another kind of cache.
    """

    model: LanguageModel
    transcoders: TranscoderSet
    tokens: Tensor
    n_pos: int
    zero_positions: int
    logits: Tensor
    patterns: tuple[Tensor, ...]
    resid_pre: tuple[Tensor, ...]
    resid_mid: tuple[Tensor, ...]
    resid_final: Tensor
    writes: tuple[Tensor, ...]
    denominators: dict[nn.Module, Tensor]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    _encoded: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def read(self, layer: int) -> Tensor:
        """What the features of a layer read, `[n_pos, d_model]`, in the dtype that the model is computed with."""
        resid_mid = self.resid_mid[layer].to(self.model.compute_dtype)
        return self.model.architecture.blocks[layer].read(self.transcoders.reads, resid_mid)

    def stream(self, layer: int, point: StreamPoint) -> Tensor:
        """The residual stream at a place of a layer, `[n_pos, d_model]`."""
        if point == "resid_mid":
            return self.resid_mid[layer]
        before = layer if point == "resid_pre" else layer + 1
        return self.resid_pre[before] if before < len(self.resid_pre) else self.resid_final

    def masked(self, zero_positions: int | None) -> int:
        """A number of masked positions; None stands for the model's rule."""
        return self.zero_positions if zero_positions is None else zero_positions

    def activations(self, layer: int, zero_positions: int | None = None) -> Tensor:
        """Activations of a layer's features, `[n_pos, n_features]`; 0 at the first `zero_positions` positions."""
        encoded = self._encoded.get(layer)
        if encoded is None:
            encoded = self.encode(layer, self.read(layer))
            if encoded.numel() <= MAX_NUMBERS_KEPT:
                self._encoded[layer] = encoded
        n_masked = self.masked(zero_positions)
        if not n_masked:
            return encoded
        masked = encoded.clone()
        masked[:n_masked] = 0.0
        return masked

    def activations_at(self, layer: int, positions: Tensor) -> Tensor:
        """Activations of a layer's features at some positions, `[n, n_features]`, masked ones included."""
        is_small = self.n_pos * self.transcoders.n_features[layer] <= MAX_NUMBERS_KEPT
        if is_small or not self.transcoders.is_token_wise:  # a set may choose over the prompt: it must come whole
            return self.activations(layer, 0)[positions]
        return self.encode(layer, self.read(layer)[positions])

    def activation(self, node: FeatureNode, zero_positions: int | None = None) -> float:
        """Activation of one feature at one position.

        Raises:
            InterventionError: no such layer, position or feature.
        """
        check_node(self, node)
        if node.position < self.masked(zero_positions):
            return 0.0
        return float(self.activations_at(node.layer, torch.tensor([node.position], device="cpu"))[0, node.feature])

    def encode(self, layer: int, x: Tensor) -> Tensor:
        """Activations of a layer's features for values at its read point, `[..., d_model]` to `[..., n_features]`.

        Where the set is not token-wise, the last axis but one must be a whole prompt.
        """
        return self.transcoders.encode(layer, x.to(self.transcoders.dtype)).to(self.model.compute_dtype)

    def errors(self, layer: int, positions: Tensor, zero_positions: int | None = None) -> Tensor:
        """What a layer's MLP wrote beyond features, decoder bias and skip path; 0 at the first `zero_positions`.

        Args:
            layer: the layer written to.
            positions: `[n]`.
            zero_positions: positions at the start at which nothing counts; None takes the model's rule.

        Returns:
            `[n, d_model]`, in the dtype that the model is computed with.
        """
        transcoders, wide = self.transcoders, self.model.compute_dtype
        explained = transcoders.decoder_bias(layer).to(wide)
        skip = transcoders.skip_weight(layer)
        if skip is not None:
            explained = explained + self.read(layer)[positions] @ skip.T.to(wide)
        for source in range(layer + 1):
            if layer - source >= transcoders.n_written(source):
                continue
            found = self.activations_at(source, positions)
            active = found.any(0).nonzero().flatten()
            decoders = transcoders.decoder_rows(source, active)[:, layer - source].to(wide)
            explained = explained + found[:, active] @ decoders
        errors = self.writes[layer][positions].to(wide) - explained
        errors[positions < self.masked(zero_positions)] = 0.0
        return errors


def check_node(clean: CleanRun, node: FeatureNode) -> None:
    """Refuse a feature node that the model, transcoders or prompt do not have.

    Raises:
        InterventionError: layer, position or feature out of range.
    """
    n_features = clean.transcoders.n_features
    if not 0 <= node.layer < len(n_features):
        raise InterventionError(f"no layer {node.layer}: the transcoders have layers 0 to {len(n_features) - 1}")
    if not 0 <= node.feature < n_features[node.layer]:
        raise InterventionError(
            f"no feature {node.layer}/{node.feature}: layer {node.layer} has features 0 to {n_features[node.layer] - 1}"
        )
    if not 0 <= node.position < clean.n_pos:
        raise InterventionError(f"no position {node.position}: the prompt has positions 0 to {clean.n_pos - 1}")


def check_tokens(model: LanguageModel, tokens: Tensor) -> Tensor:
    """Token ids as `[n_pos]` int64, refused where the model cannot run them.

    Raises:
        InterventionError: not one row of ids, empty, too long, or an id outside the vocabulary.
    """
    try:
        return model.vocabulary.check_as_they_are(tokens)
    except PromptError as error:
        raise InterventionError(str(error)) from error


@torch.no_grad()
def clean_run(model: LanguageModel, transcoders: TranscoderSet, tokens: Tensor) -> CleanRun:
    """Run the model once and keep what interventions need.

    Args:
        tokens: `[n_pos]` ids, BOS included (`model.encode`).

    Raises:
        TranscoderMismatchError: the transcoders do not fit the model.
        InterventionError: tokens that the model cannot run.
    """
    from transformers import DynamicCache

    check_fit(model, transcoders)
    ids = check_tokens(model, tokens)
    seen = _Recorder(model, transcoders)
    with hooked(seen.hooks()):
        # a cache made without the model's configuration keeps every position, also of layers that attend within a window
        output = cast(Any, model.hf)(
            input_ids=ids[None].to(model.device), past_key_values=DynamicCache(), use_cache=True
        )
    keys, values = _cache_of(output.past_key_values, len(ids), model.n_layers)
    return CleanRun(
        model=model,
        transcoders=transcoders,
        tokens=ids,
        n_pos=len(ids),
        zero_positions=model.zero_positions_of(ids),
        logits=output.logits[0].to(model.compute_dtype),
        patterns=_by_layer(seen.patterns),
        resid_pre=_by_layer(seen.resid_pre)[:-1],
        resid_mid=_by_layer(seen.resid_mid),
        resid_final=seen.resid_pre[model.n_layers],
        writes=_by_layer(seen.writes),
        denominators=seen.denominators,
        keys=keys,
        values=values,
    )


class _Recorder:
    """Keeps what passes by in one forward pass of one row, by layer."""

    def __init__(self, model: LanguageModel, transcoders: TranscoderSet) -> None:
        self.model = model
        self.write_point = transcoders.writes
        self.patterns: dict[int, Tensor] = {}
        self.resid_pre: dict[int, Tensor] = {}
        self.resid_mid: dict[int, Tensor] = {}
        self.writes: dict[int, Tensor] = {}
        self.denominators: dict[nn.Module, Tensor] = {}

    def hooks(self) -> list[tuple[nn.Module, Hook]]:
        """Hooks of all blocks and of the final norm."""
        architecture, hooks = self.model.architecture, list[tuple[nn.Module, Hook]]()
        for layer, block in enumerate(architecture.blocks):
            hooks += [
                (block.attention_norm.module, self._input(self.resid_pre, layer)),
                (block.attention, self._pattern(layer)),
                (block.mlp_norm.module, self._input(self.resid_mid, layer)),
                (block.write_modules[self.write_point], self._output(self.writes, layer)),
            ]
            norms = (block.attention_norm, block.attention_post_norm, block.mlp_norm, block.mlp_post_norm)
            hooks += [self._denominator(norm) for norm in norms if norm is not None]
        final = architecture.final_norm
        return [*hooks, (final.module, self._input(self.resid_pre, len(architecture.blocks))), self._denominator(final)]

    def _denominator(self, norm: Norm) -> tuple[nn.Module, Hook]:
        def act(x: Tensor | None, output: Tensor) -> None:
            assert x is not None, "norms are called with a positional input"
            self.denominators[norm.module] = norm.denominator(x[0].to(self.model.compute_dtype))

        return norm.module, act

    def _input(self, into: dict[int, Tensor], layer: int) -> Hook:
        def act(x: Tensor | None, output: Tensor) -> None:
            assert x is not None, "norms are called with a positional input"
            into[layer] = x[0]

        return act

    def _output(self, into: dict[int, Tensor], layer: int) -> Hook:
        def act(x: Tensor | None, output: Tensor) -> None:
            into[layer] = output[0]

        return act

    def _pattern(self, layer: int) -> Hook:
        def act(x: Tensor | None, output: tuple[Tensor, Tensor]) -> None:
            self.patterns[layer] = output[1][0]

        return act


def _by_layer(found: dict[int, Tensor]) -> tuple[Tensor, ...]:
    return tuple(found[layer] for layer in sorted(found))


def _cache_of(cache: Any, n_pos: int, n_layers: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Keys and values by layer where every layer keeps all positions, else nothing."""
    layers = list(getattr(cache, "layers", ()))
    if len(layers) != n_layers or any(layer.keys.shape[-2] != n_pos for layer in layers):
        return (), ()
    return tuple(layer.keys[0] for layer in layers), tuple(layer.values[0] for layer in layers)
