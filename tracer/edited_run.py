"""One batch of edited rows through the model: the hooks that apply edits, hold what is frozen, and read features."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer.architectures.base import Norm
from tracescribe.tracer.clean_run import CleanRun
from tracescribe.tracer.edit_plan import EditPlan, LayerEdits
from tracescribe.tracer.edits import InterventionSettings
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.module_hooks import Hook, hooked


class EditedRun:
    """Rows `span[0]` to `span[1] - 1` of a plan, as one forward pass over the positions from the first edit on."""

    def __init__(
        self,
        clean: CleanRun,
        plan: EditPlan,
        settings: InterventionSettings,
        read: tuple[FeatureNode, ...],
        span: tuple[int, int],
    ) -> None:
        n_layers = clean.model.n_layers
        self.clean = clean
        self.settings = settings
        self.read = read
        self.n_rows = span[1] - span[0]
        # attention is causal: without a cache to resume from, everything is computed again
        self.first = int(plan.first_position[slice(*span)].min()) if clean.keys else 0
        self.edits = {layer: edits.of_rows(*span) for layer, edits in plan.layers.items()}
        every = settings.mode == "direct" or set(settings.constrained_layers) >= set(range(n_layers))
        self.clamped = set(range(n_layers)) if every else set(settings.constrained_layers)
        self.direct = every
        self.frozen_attention = settings.freeze_attention or bool(self.clamped)
        self.pending: dict[int, Tensor] = {}
        self.attention_inputs: dict[int, Tensor] = {}
        self.features_read: dict[int, Tensor] = {}
        self.activations = self._clean_readings()

    def run(self, last_only: bool) -> tuple[Tensor, Tensor]:
        """Logits `[n_rows, 1 or n_pos, vocab_size]` and the activations read, `[n_rows, n_read]`."""
        clean, first = self.clean, self.first
        tokens = clean.tokens[first:].expand(self.n_rows, -1)
        with hooked(self._hooks()):
            output = cast(Any, clean.model.hf)(
                input_ids=tokens,
                past_key_values=self._cache() if first else None,
                use_cache=first > 0,
                logits_to_keep=1 if last_only else 0,
            )
        logits = output.logits.float()
        if first and not last_only:
            logits = torch.cat([clean.logits[:first].expand(self.n_rows, -1, -1), logits], dim=1)
        return logits, self.activations

    def _cache(self) -> Any:
        """The clean run's keys and values of the positions before the first edit, for every row."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer, (keys, values) in enumerate(zip(self.clean.keys, self.clean.values, strict=True)):
            shape = (self.n_rows, -1, -1, -1)
            cache.update(keys[:, : self.first].expand(shape), values[:, : self.first].expand(shape), layer)
        return cache

    def _hooks(self) -> list[tuple[nn.Module, Hook]]:
        architecture, hooks = self.clean.model.architecture, list[tuple[nn.Module, Hook]]()
        for layer, block in enumerate(architecture.blocks):
            if self.direct:
                hooks.append((block.attention_norm.module, self._frozen_norm(block.attention_norm)))
            if self.frozen_attention:
                hooks.append((block.attention_norm.module, self._keep_attention_input(layer)))
                hooks.append((block.attention, self._frozen_attention(layer)))
            if self.direct:
                hooks.append((block.mlp_norm.module, self._frozen_norm(block.mlp_norm)))
            hooks.append((block.mlp_norm.module, self._read(layer)))
            hooks.append((block.write_modules[self.clean.transcoders.writes], self._write(layer)))
        if self.direct:
            hooks.append((architecture.final_norm.module, self._frozen_norm(architecture.final_norm)))
        return hooks

    def _frozen_norm(self, norm: Norm) -> Hook:
        def act(x: Tensor | None, output: Tensor) -> Tensor:
            assert x is not None, "norms are called with a positional input"
            return norm.apply(x, self.clean.denominators[norm.module][self.first :])

        return act

    def _keep_attention_input(self, layer: int) -> Hook:
        def act(x: Tensor | None, output: Tensor) -> None:
            self.attention_inputs[layer] = output

        return act

    def _frozen_attention(self, layer: int) -> Hook:
        """Attention output under the clean pattern: only what values carry can change."""

        def act(x: Tensor | None, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            architecture = self.clean.model.architecture
            block, first = architecture.blocks[layer], self.first
            before = self.clean.attention_inputs[layer][:first].expand(self.n_rows, -1, -1)
            values = torch.cat([before, self.attention_inputs.pop(layer)], dim=1) @ block.v_weight.T
            values = values if block.v_bias is None else values + block.v_bias
            heads, groups = architecture.n_kv_heads, architecture.n_heads // architecture.n_kv_heads
            values = values.view(*values.shape[:2], heads, -1)
            pattern = self.clean.patterns[layer]
            pattern = pattern.view(heads, groups, *pattern.shape[1:])[:, :, first:]
            mixed = torch.einsum("kgqp,bpke->bqkge", pattern, values).flatten(2)
            mixed = mixed @ block.o_weight.T
            return mixed if block.o_bias is None else mixed + block.o_bias, output[1]

        return act

    def _read(self, layer: int) -> Hook:
        """Keep what the layer's features read, and measure those that were asked for."""
        block, point = self.clean.model.architecture.blocks[layer], self.clean.transcoders.reads

        def act(x: Tensor | None, output: Tensor) -> None:
            assert x is not None, "norms are called with a positional input"
            if self.direct:
                denominator = self.clean.denominators[block.mlp_norm.module][self.first :]
                self.features_read[layer] = block.read(point, x, denominator)
            else:
                self.features_read[layer] = block.read(point, x)
            self._measure(layer)

        return act

    def _measure(self, layer: int) -> None:
        wanted = [(i, n) for i, n in enumerate(self.read) if n.layer == layer and n.position >= self.first]
        for position in sorted({node.position for _, node in wanted}):
            if position < self.settings.zero_positions:
                continue
            encoded = self.clean.transcoders.encode(layer, self.features_read[layer][:, position - self.first])
            for index, node in wanted:
                if node.position == position:
                    self.activations[:, index] = encoded[:, node.feature]

    def _write(self, layer: int) -> Hook:
        """Hold the write point where it is clamped, and add what edits of this layer and those below write to it."""

        def act(x: Tensor | None, output: Tensor) -> Tensor | None:
            result = output
            if layer in self.clamped:
                result = self.clean.writes[layer][self.first :].expand_as(output)
            features_read = self.features_read.pop(layer)
            if layer in self.edits:
                self._add_pending(layer, self.edits[layer], features_read)
            pending = self.pending.pop(layer, None)
            if pending is not None and (layer in self.clamped or not self.clamped):
                result = result + pending.view_as(output)
            return result

        return act

    def _add_pending(self, layer: int, edits: LayerEdits, features_read: Tensor) -> None:
        """Decoder vectors of this layer's edits, added to what waits for each layer that they write to."""
        amounts = torch.where(edits.is_set, edits.target - self._found(layer, edits, features_read), 0.0) + edits.shift
        n_pos = self.clean.n_pos - self.first
        flat = edits.row * n_pos + edits.position - self.first
        for offset in range(edits.decoders.shape[1]):
            waiting = self.pending.get(layer + offset)
            if waiting is None:
                waiting = self.pending[layer + offset] = torch.zeros(self.n_rows * n_pos, edits.decoders.shape[2])
            waiting.index_add_(0, flat, amounts[:, None] * edits.decoders[edits.slot, offset])

    def _found(self, layer: int, edits: LayerEdits, features_read: Tensor) -> Tensor:
        """Activation that each edit starts from, `[n_edits]`: clean where clamped, else in the running pass."""
        if self.clamped:
            found = self.clean.activations(layer, 0)[edits.position, edits.feature]
        else:
            n_pos = self.clean.n_pos - self.first
            places, inverse = torch.unique(edits.row * n_pos + edits.position - self.first, return_inverse=True)
            encoded = self.clean.transcoders.encode(layer, features_read.flatten(0, 1)[places])
            found = encoded[inverse, edits.feature]
        return torch.where(edits.position < self.settings.zero_positions, 0.0, found)

    def _clean_readings(self) -> Tensor:
        """Activations read, `[n_rows, n_read]`, still clean: positions before the first edit keep them."""
        values = [self.clean.activation(node, self.settings.zero_positions) for node in self.read]
        return torch.tensor(values, dtype=torch.float32).expand(self.n_rows, -1).clone()
