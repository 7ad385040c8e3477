"""One batch of edited rows through the model: the hooks that apply edits, hold what is frozen, and read features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer.architectures.base import Block
from tracescribe.tracer.clean_run import CleanRun
from tracescribe.tracer.edit_plan import EditPlan, LayerEdits, PassEdits, VectorEdits
from tracescribe.tracer.edits import InterventionSettings, StreamPoint
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.held_parts import Held, HeldParts
from tracescribe.tracer.module_hooks import Hook, InputHook, hooked


class EditedPass:
    """One forward pass of some rows over consecutive positions, with edits.

    Attributes:
        activations: of the nodes read, `[n_rows, n_read]`; clean until the pass has run.
        cache: keys and values of all rows and positions, once the pass has run with one.
    """

    def __init__(
        self,
        clean: CleanRun,
        edits: PassEdits,
        held: Held,
        *,
        first: int,
        n_rows: int,
        zero_positions: int,
        read: Sequence[FeatureNode] = (),
    ) -> None:
        """Prepare a pass.

        Args:
            clean: the run that the rows start from.
            edits: of these rows and positions.
            held: what keeps its clean value; nothing may be held behind the prompt.
            first: the first position that is computed.
            n_rows: rows.
            zero_positions: positions at the start at which no feature counts as active.
            read: feature nodes to measure, at positions of the prompt.
        """
        self.clean = clean
        self.edits = edits
        self.held = held
        self.parts = HeldParts(clean, held, first)
        self.first = first
        self.n_rows = n_rows
        self.zero_positions = zero_positions
        self.read = tuple(read)
        self.n_pos = 0
        self.cache: Any = None
        self.activations = self._clean_readings()
        self._pending: dict[int, Tensor] = {}
        self._stream: dict[tuple[int, StreamPoint], Tensor] = {}

    def run(self, tokens: Tensor, cache: Any, last_only: bool) -> Tensor:
        """Logits of the positions computed, `[n_rows, 1 or n, vocab_size]`.

        Args:
            tokens: `[n_rows, n]`, the tokens from the first computed position on.
            cache: keys and values of the positions before, for every row; None where there are none and none are kept.
            last_only: the last position alone.
        """
        self.n_pos = tokens.shape[1]
        hooks, inputs = self._hooks()
        with hooked(hooks, inputs):
            output = cast(Any, self.clean.model.hf)(
                input_ids=tokens.to(self.clean.model.device),
                past_key_values=cache,
                use_cache=cache is not None,
                logits_to_keep=1 if last_only else 0,
            )
        self.cache = output.past_key_values if cache is not None else None
        return cast(Tensor, output.logits).to(self.clean.model.compute_dtype)

    # -- hooks --------------------------------------------------------------------------------------------------------

    def _hooks(self) -> tuple[list[tuple[nn.Module, Hook]], list[tuple[nn.Module, InputHook]]]:
        architecture, parts = self.clean.model.architecture, self.parts
        hooks, inputs = list[tuple[nn.Module, Hook]](), list[tuple[nn.Module, InputHook]]()
        for layer, block in enumerate(architecture.blocks):
            inputs.append((block.module, self._enter(layer)))
            hooks += [
                *parts.norm(block.attention_norm),
                *parts.attention(layer),
                *parts.norm(block.attention_post_norm),
            ]
            if (layer, "resid_mid") in self.edits.vectors:
                hooks.append(self._push(layer, "resid_mid"))
            hooks.append((block.mlp_norm.module, self._read(layer)))
            # the post-norm's own hook goes first: where it is the write point, the write has the last word
            hooks += [*parts.norm(block.mlp_norm), *parts.norm(block.mlp_post_norm)]
            hooks.append((block.write_modules[self.clean.transcoders.writes], self._write(layer)))
            if (layer, "resid_post") in self.edits.vectors:
                hooks.append(self._push(layer, "resid_post"))
        return [*hooks, *parts.norm(architecture.final_norm)], inputs

    def _enter(self, layer: int) -> InputHook:
        """Keep the residual stream before attention, and change it where edits say so."""

        def act(x: Tensor) -> Tensor | None:
            self._stream.clear()  # of the layer below
            changed = self._directed(layer, "resid_pre", x) if (layer, "resid_pre") in self.edits.vectors else None
            self._stream[layer, "resid_pre"] = x if changed is None else x + changed
            return None if changed is None else self._stream[layer, "resid_pre"]

        return act

    def _push(self, layer: int, point: StreamPoint) -> tuple[nn.Module, Hook]:
        """Hook that changes the residual stream behind attention or MLP, through what they add to it."""
        block = self.clean.model.architecture.blocks[layer]
        before: StreamPoint = "resid_pre" if point == "resid_mid" else "resid_mid"

        def act(x: Tensor | None, output: Any) -> Any:
            added = output[0] if isinstance(output, tuple) else output
            added = added + self._directed(layer, point, self._stream[layer, before] + added)
            return (added, *output[1:]) if isinstance(output, tuple) else added

        return _last_module(block, point), act

    def _read(self, layer: int) -> Hook:
        """Keep the residual stream between attention and MLP, and measure the features that were asked for."""

        def act(x: Tensor | None, output: Tensor) -> None:
            assert x is not None, "norms are called with a positional input"
            self._stream[layer, "resid_mid"] = x
            self._measure(layer)

        return act

    def _write(self, layer: int) -> Hook:
        """Hold the write point where it is clamped, and add what edits of this layer and those below write to it."""
        clamped, anywhere = self.held.writes, not self.held.writes

        def act(x: Tensor | None, output: Tensor) -> Tensor | None:
            changes = list[Tensor]()
            if layer in clamped:
                changes += self._skipped(layer)
            if layer in self.edits.features:
                self._queue_decoders(layer, self.edits.features[layer])
            if (layer, "write") in self.edits.vectors:
                edits = self.edits.vectors[layer, "write"]
                self._queue(layer, edits, edits.constant[:, None] * edits.vector)
            pending = self._pending.pop(layer, None)
            if pending is not None and (anywhere or layer in clamped):
                changes.append(pending.view_as(output))
            result = self.clean.writes[layer][self.first :].expand_as(output) if layer in clamped else output
            for change in changes:
                result = result + change.to(output.dtype)
            return None if result is output else result

        return act

    # -- edits --------------------------------------------------------------------------------------------------------

    def _reading(self, layer: int) -> Tensor:
        """What the layer's features read, `[n_rows, n, d_model]`."""
        block = self.clean.model.architecture.blocks[layer]
        resid_mid = self._stream[layer, "resid_mid"].to(self.clean.model.compute_dtype)
        return block.read(self.clean.transcoders.reads, resid_mid, self.parts.denominator(block.mlp_norm))

    def _skipped(self, layer: int) -> list[Tensor]:
        """What the skip path of a clamped layer adds to its clean value: it stays live."""
        weight = self.clean.transcoders.skip_weight(layer)
        if weight is None:
            return []
        moved = self._reading(layer) - self.clean.read(layer)[self.first :]
        return [moved @ weight.T.to(moved.dtype)]

    def _queue(self, layer: int, edits: LayerEdits | VectorEdits, vectors: Tensor) -> None:
        """Add `[n_edits, d_model]` to what waits for the layer's write point."""
        waiting = self._pending.get(layer)
        if waiting is None:
            shape = (self.n_rows * self.n_pos, vectors.shape[1])
            waiting = self._pending[layer] = torch.zeros(shape, device=vectors.device, dtype=vectors.dtype)
        waiting.index_add_(0, self._flat(edits), vectors)

    def _queue_decoders(self, layer: int, edits: LayerEdits) -> None:
        """Decoder vectors of this layer's edits, added to what waits for each layer that they write to."""
        amounts = torch.where(edits.is_set, edits.target - self._found(layer, edits), 0.0) + edits.shift
        for offset in range(edits.decoders.shape[1]):
            self._queue(layer + offset, edits, amounts[:, None] * edits.decoders[edits.slot, offset])

    def _found(self, layer: int, edits: LayerEdits) -> Tensor:
        """Activation that each edit starts from, `[n_edits]`: clean where anything is clamped, else the running one."""
        if self.held.writes:
            places, inverse = torch.unique(edits.position, return_inverse=True)
            found = self.clean.activations_at(layer, places)[inverse, edits.feature]
        else:
            places, inverse = torch.unique(self._flat(edits), return_inverse=True)
            # whole layers are encoded: which features are among the top k depends on all of them
            found = self.clean.encode(layer, self._reading(layer).flatten(0, 1)[places])[inverse, edits.feature]
        return torch.where(edits.position < self.zero_positions, 0.0, found)

    def _directed(self, layer: int, point: StreamPoint, x: Tensor) -> Tensor:
        """What direction edits add to the stream `[n_rows, n, d_model]` at a place."""
        edits = self.edits.vectors[layer, point]
        arriving = x.flatten(0, 1)[self._flat(edits)]
        if self.held.writes:
            arriving = self.clean.stream(layer, point)[edits.position]
        found = (arriving.to(edits.vector.dtype) * edits.vector).sum(-1)
        vectors = (edits.constant + edits.factor * found)[:, None] * edits.vector
        change = torch.zeros(self.n_rows * self.n_pos, x.shape[-1], device=x.device, dtype=vectors.dtype)
        return change.index_add_(0, self._flat(edits), vectors).view_as(x).to(x.dtype)

    def _flat(self, edits: LayerEdits | VectorEdits) -> Tensor:
        """Index of each edit's row and position among all that are computed, `[n_edits]`."""
        return edits.row * self.n_pos + edits.position - self.first

    # -- readings -----------------------------------------------------------------------------------------------------

    def _measure(self, layer: int) -> None:
        wanted = [
            (index, node)
            for index, node in enumerate(self.read)
            if node.layer == layer and node.position >= max(self.first, self.zero_positions)
        ]
        if not wanted:
            return
        reading = self._reading(layer)
        for position in sorted({node.position for _, node in wanted}):
            here = [(index, node.feature) for index, node in wanted if node.position == position]
            encoded = self.clean.encode(layer, reading[:, position - self.first])
            self.activations[:, [index for index, _ in here]] = encoded[:, [feature for _, feature in here]]

    def _clean_readings(self) -> Tensor:
        """Activations read, `[n_rows, n_read]`, still clean: positions before the first edit keep them."""
        model = self.clean.model
        values = [self.clean.activation(node, self.zero_positions) for node in self.read]
        return torch.tensor(values, dtype=model.compute_dtype, device=model.device).repeat(self.n_rows, 1)


def run_rows(
    clean: CleanRun,
    plan: EditPlan,
    settings: InterventionSettings,
    read: Sequence[FeatureNode],
    span: tuple[int, int],
    last_only: bool,
) -> tuple[Tensor, Tensor]:
    """Rows `span[0]` to `span[1] - 1` of a plan, as one forward pass over the positions from the first edit on.

    Returns:
        Logits `[n_rows, 1 or n_pos, vocab_size]` and the activations read, `[n_rows, n_read]`.
    """
    n_rows = span[1] - span[0]
    first = first_computed(clean, plan, span)
    run = EditedPass(
        clean,
        plan.edits.part(span, (0, clean.n_pos)),
        Held.of(settings, clean.model.n_layers),
        first=first,
        n_rows=n_rows,
        zero_positions=clean.masked(settings.zero_positions),
        read=read,
    )
    tokens = clean.tokens[first:].expand(n_rows, -1)
    logits = run.run(tokens, prefix_cache(clean, first, n_rows) if first else None, last_only)
    if first and not last_only:
        logits = torch.cat([clean.logits[:first].expand(n_rows, -1, -1), logits], dim=1)
    return logits, run.activations


def first_computed(clean: CleanRun, plan: EditPlan, span: tuple[int, int]) -> int:
    """The first position that a pass over some rows must compute: attention is causal, so what lies before is clean."""
    first = int(plan.first_position[slice(*span)].min())
    return min(first, clean.n_pos - 1) if clean.keys else 0


def prefix_cache(clean: CleanRun, n_positions: int, n_rows: int) -> Any:
    """The clean run's keys and values of the first positions, for every row."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for layer in range(clean.model.n_layers if n_positions else 0):
        keys, values = (part[layer][:, :n_positions].expand(n_rows, -1, -1, -1) for part in (clean.keys, clean.values))
        cache.update(keys, values, layer)
    return cache


def _last_module(block: Block, point: StreamPoint) -> nn.Module:
    """The module whose output is what attention or MLP add to the residual stream."""
    if point == "resid_mid":
        return block.attention if block.attention_post_norm is None else block.attention_post_norm.module
    return block.mlp if block.mlp_post_norm is None else block.mlp_post_norm.module
