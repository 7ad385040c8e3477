"""One unperturbed forward pass, kept: what every intervention on the same prompt starts from and is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer.architectures.base import Norm
from tracescribe.tracer.errors import InterventionError
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.module_hooks import Hook, hooked
from tracescribe.tracer.transcoders import TranscoderSet, check_fit


@dataclass(frozen=True, eq=False)
class CleanRun:
    """A clean forward pass of one prompt.

    Attributes:
        model: the model that was run.
        transcoders: the set whose features are read.
        tokens: `[n_pos]` int64.
        n_pos: number of prompt tokens.
        logits: `[n_pos, vocab_size]`.
        patterns: attention weights by layer, each `[n_heads, n_pos, n_pos]`.
        attention_inputs: output of each layer's norm before attention, `[n_pos, d_model]`.
        resid_mid: residual stream between attention and MLP by layer, `[n_pos, d_model]`.
        writes: value at each layer's write point, `[n_pos, d_model]`.
        denominators: frozen denominator of each norm module, `[n_pos, 1]`.
        keys, values: attention cache by layer, `[n_kv_heads, n_pos, d_head]`; empty where the model keeps another
            kind of cache.
    """

    model: LanguageModel
    transcoders: TranscoderSet
    tokens: Tensor
    n_pos: int
    logits: Tensor
    patterns: tuple[Tensor, ...]
    attention_inputs: tuple[Tensor, ...]
    resid_mid: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]
    denominators: dict[nn.Module, Tensor]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    _encoded: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def read(self, layer: int) -> Tensor:
        """What the features of a layer read, `[n_pos, d_model]`."""
        return self.model.architecture.blocks[layer].read(self.transcoders.reads, self.resid_mid[layer])

    def activations(self, layer: int, zero_positions: int = 1) -> Tensor:
        """Activations of a layer's features, `[n_pos, n_features]`; 0 at the first `zero_positions` positions."""
        if layer not in self._encoded:
            self._encoded[layer] = self.transcoders.encode(layer, self.read(layer))
        encoded = self._encoded[layer]
        if not zero_positions:
            return encoded
        masked = encoded.clone()
        masked[:zero_positions] = 0.0
        return masked

    def activation(self, node: FeatureNode, zero_positions: int = 1) -> float:
        """Activation of one feature at one position.

        Raises:
            InterventionError: no such layer, position or feature.
        """
        check_node(self, node)
        if node.position < zero_positions:
            return 0.0
        if node.layer not in self._encoded:
            self.activations(node.layer)
        return float(self._encoded[node.layer][node.position, node.feature])


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
    if tokens.dim() != 1 or tokens.is_floating_point():
        raise InterventionError(f"tokens must be one row of ids [n_pos], found {tokens.dtype} {list(tokens.shape)}")
    if not 1 <= len(tokens) <= model.max_positions:
        raise InterventionError(f"tokens must number 1 to {model.max_positions} for this model, found {len(tokens)}")
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= model.vocab_size:
        raise InterventionError(f"token ids must lie in 0 to {model.vocab_size - 1}, found {low} to {high}")
    return tokens.to(torch.int64)


@torch.no_grad()
def clean_run(model: LanguageModel, transcoders: TranscoderSet, tokens: Tensor) -> CleanRun:
    """Run the model once and keep what interventions need.

    Args:
        tokens: `[n_pos]` ids, BOS included (`model.encode`).

    Raises:
        TranscoderMismatchError: the transcoders do not fit the model.
        InterventionError: tokens that the model cannot run.
    """
    check_fit(model, transcoders)
    ids = check_tokens(model, tokens)
    seen = _Recorder(model, transcoders)
    with hooked(seen.hooks()):
        output = cast(Any, model.hf)(input_ids=ids[None], use_cache=True)
    keys, values = _cache_of(output.past_key_values, len(ids), model.n_layers)
    return CleanRun(
        model=model,
        transcoders=transcoders,
        tokens=ids,
        n_pos=len(ids),
        logits=output.logits[0].float(),
        patterns=_by_layer(seen.patterns),
        attention_inputs=_by_layer(seen.attention_inputs),
        resid_mid=_by_layer(seen.resid_mid),
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
        self.attention_inputs: dict[int, Tensor] = {}
        self.resid_mid: dict[int, Tensor] = {}
        self.writes: dict[int, Tensor] = {}
        self.denominators: dict[nn.Module, Tensor] = {}

    def hooks(self) -> list[tuple[nn.Module, Hook]]:
        """Hooks of all blocks and of the final norm."""
        architecture, hooks = self.model.architecture, list[tuple[nn.Module, Hook]]()
        for layer, block in enumerate(architecture.blocks):
            hooks += [
                self._denominator(block.attention_norm),
                (block.attention_norm.module, self._output(self.attention_inputs, layer)),
                (block.attention, self._pattern(layer)),
                self._denominator(block.mlp_norm),
                (block.mlp_norm.module, self._input(self.resid_mid, layer)),
                (block.write_modules[self.write_point], self._output(self.writes, layer)),
            ]
        return [*hooks, self._denominator(architecture.final_norm)]

    def _denominator(self, norm: Norm) -> tuple[nn.Module, Hook]:
        def act(x: Tensor | None, output: Tensor) -> None:
            assert x is not None, "norms are called with a positional input"
            self.denominators[norm.module] = norm.denominator(x[0])

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
