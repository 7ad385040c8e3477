"""What an edited pass keeps of the clean run: attention patterns, norm denominators, write points; and the hooks for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tracescribe.tracer.architectures.base import Norm
from tracescribe.tracer.clean_run import CleanRun
from tracescribe.tracer.edits import InterventionSettings
from tracescribe.tracer.module_hooks import Hook


@dataclass(frozen=True)
class Held:
    """Parts that keep their clean values.

    Attributes:
        writes: layers whose write point is clamped.
        attention: whether attention patterns are.
        norms: whether every norm denominator is.
    """

    writes: frozenset[int] = frozenset()
    attention: bool = False
    norms: bool = False

    @classmethod
    def of(cls, settings: InterventionSettings, n_layers: int) -> Held:
        """What the settings hold in a model of `n_layers`; a range that covers every layer is the direct mode."""
        every = frozenset(range(n_layers))
        direct = settings.mode == "direct" or every <= set(settings.constrained_layers)
        writes = every if direct else frozenset(settings.constrained_layers)
        return cls(writes, settings.freeze_attention or bool(writes), direct)


class HeldParts:
    """Hooks that hold norms and attention of one pass over the positions from `first` to the prompt's end.

    Attributes:
        held: what is held; with nothing held the pass may also run over positions behind the prompt.
    """

    def __init__(self, clean: CleanRun, held: Held, first: int) -> None:
        self.clean = clean
        self.held = held
        self.first = first
        self._attention_inputs: dict[int, Tensor] = {}

    def norm(self, norm: Norm | None) -> list[tuple[nn.Module, Hook]]:
        """Hook that keeps a norm linear, if norms are held and there is such a norm."""
        if norm is None or not self.held.norms:
            return []

        def act(x: Tensor | None, output: Tensor) -> Tensor:
            assert x is not None, "norms are called with a positional input"
            denominator = self.denominator(norm, x.shape[1])
            assert denominator is not None, "called only where norms are held"
            return norm.apply(x.to(denominator.dtype), denominator).to(output.dtype)

        return [(norm.module, act)]

    def denominator(self, norm: Norm, n: int) -> Tensor | None:
        """A norm's clean denominators at the last `n` positions, `[n, 1]`, where norms are held, else None."""
        return self.clean.denominators[norm.module][-n:] if self.held.norms else None

    def attention(self, layer: int) -> list[tuple[nn.Module, Hook]]:
        """Hooks that compute attention under the clean pattern, if it is held: only what values carry can change."""
        if not self.held.attention:
            return []
        block = self.clean.model.architecture.blocks[layer]

        def keep_input(x: Tensor | None, output: Tensor) -> None:
            self._attention_inputs[layer] = output

        def act(x: Tensor | None, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            mixed = self._mixed_values(layer, self._attention_inputs.pop(layer)) @ block.o_weight.T
            return mixed if block.o_bias is None else mixed + block.o_bias, output[1]

        return [(block.attention_norm.module, keep_input), (block.attention, act)]

    def _mixed_values(self, layer: int, inputs: Tensor) -> Tensor:
        """Values under the clean pattern, `[n_rows, n_query, n_heads * d_head]`.

        Args:
            layer: layer.
            inputs: of the attention module, from `first` on, `[n_rows, n_query, d_model]`.
        """
        architecture, first = self.clean.model.architecture, self.first
        block, heads = architecture.blocks[layer], architecture.n_kv_heads
        values = inputs @ block.v_weight.T
        values = values if block.v_bias is None else values + block.v_bias
        values = torch.unflatten(values, -1, (heads, -1))
        # patterns are computed in float32 at least and handed on in the model's dtype
        pattern = torch.unflatten(self.clean.patterns[layer].to(values.dtype), 0, (heads, -1))[:, :, first:]
        mixed = torch.einsum("kgqp,bpke->bqkge", pattern[..., first:], values)
        if first:  # what lies before the first edit is the same in every row
            mixed = mixed + torch.einsum("kgqp,kpe->qkge", pattern[..., :first], self.clean.values[layer][:, :first])
        return mixed.flatten(2)
