"""One batch of edited rows through the model: the hooks that apply edits, hold what is frozen, and read features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer.architectures.base import Block
from tracescribe.tracer.clean_run import CleanRun
from tracescribe.tracer.edit_plan import LayerEdits, PassEdits, VectorEdits
from tracescribe.tracer.edits import StreamPoint
from tracescribe.tracer.errors import InterventionError
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.held_parts import Held, HeldParts
from tracescribe.tracer.module_hooks import Bypass, Hook, InputHook, bypassed, hooked

WHOLE_PROMPT = (
    "features of this transcoder set are chosen over a whole prompt (BatchTopK without a threshold), so that none can be "
    "set on tokens that are written after it; set features within the prompt, or shift them by an amount"
)


def check_behind_prompt(clean: CleanRun, edits: PassEdits) -> None:
    """Refuse features set behind the prompt where activations there are not defined.

    Raises:
        InterventionError: a set that chooses over whole prompts, and such an edit.
    """
    if clean.transcoders.is_token_wise:
        return
    if any(bool((layer.is_set & (layer.position >= clean.n_pos)).any()) for layer in edits.features.values()):
        raise InterventionError(WHOLE_PROMPT)


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
        first_block: int = 0,
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
            first_block: the first block that is run; what those below leave is taken from the clean run, with the edits
                of the last of them. Its input must be the first that the edits change, and no cache is kept.
            read: feature nodes to measure, at positions of the prompt.
        """
        self.clean = clean
        self.edits = edits
        self.held = held
        self.parts = HeldParts(clean, held, first)
        self.first = first
        self.n_rows = n_rows
        self.zero_positions = zero_positions
        self.first_block = first_block
        self.read = tuple(read)
        self._needs_prompts = not clean.transcoders.is_token_wise
        self.n_pos = 0
        self.cache: Any = None
        self.activations = self._clean_readings()
        self._top_is_cut = False
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
        top, last = self.clean.model.n_layers - 1, self.first + self.n_pos - 1
        elsewhere = any(node.layer == top and (self._needs_prompts or node.position != last) for node in self.read)
        elsewhere |= self._needs_prompts and top in self.edits.features
        # behind the last attention positions no longer meet, so that one logit needs one position there
        self._top_is_cut = last_only and not elsewhere and self.first_block <= top
        if self._top_is_cut:
            self.edits = self.edits.without_earlier(top, last)
        hooks, inputs = self._hooks()
        with hooked(hooks, inputs), bypassed(self._bypasses()):
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
            if layer < self.first_block:
                continue
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
        if self._top_is_cut:
            # the residual stream keeps its positions; what the MLP adds to the last one is then added to all of them, and
            # only the last is read
            inputs.append((architecture.blocks[-1].mlp_norm.module, lambda x: x[:, -1:]))
        return [*hooks, *parts.norm(architecture.final_norm)], inputs

    def _bypasses(self) -> dict[nn.Module, Bypass]:
        """What stands in for the blocks that are not run: the last of them gives the clean stream with its edits."""
        blocks = self.clean.model.architecture.blocks[: self.first_block]
        found: dict[nn.Module, Bypass] = {block.module: lambda x: x for block in blocks}
        if blocks:
            found[blocks[-1].module] = lambda x: self._left(self.first_block - 1)
        return found

    def _left(self, layer: int) -> Tensor:
        """The residual stream behind a layer that is clean up to its write point, `[n_rows, n, d_model]`."""
        clean, block = self.clean, self.clean.model.architecture.blocks[layer]
        self._stream[layer, "resid_mid"] = clean.resid_mid[layer][self.first :].expand(self.n_rows, -1, -1)
        stream = clean.stream(layer, "resid_post")[self.first :].expand(self.n_rows, -1, -1)
        change, norm = self._landed(layer), block.write_norm(clean.transcoders.writes)
        if change is not None and norm is not None:
            written, denominator = (
                clean.writes[layer][self.first :].to(change.dtype),
                self.parts.denominator(norm, self.n_pos),
            )
            change = norm.apply(written + change, denominator) - norm.apply(written, denominator)
        stream = stream if change is None else stream + change.to(stream.dtype)
        if (layer, "resid_post") in self.edits.vectors:
            stream = stream + self._directed(layer, "resid_post", stream)
        return stream

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
        clamped = layer in self.held.writes

        def act(x: Tensor | None, output: Tensor) -> Tensor | None:
            n = output.shape[1]
            result = self.clean.writes[layer][-n:].expand_as(output) if clamped else output
            for change in (self._skipped(layer) if clamped else None, self._landed(layer)):
                result = result if change is None else result + change[:, -n:].to(output.dtype)
            return None if result is output else result

        return act

    # -- edits --------------------------------------------------------------------------------------------------------

    def _reading(self, layer: int) -> Tensor:
        """What the layer's features read, at the last positions or all, `[n_rows, n, d_model]`."""
        block = self.clean.model.architecture.blocks[layer]
        resid_mid = self._stream[layer, "resid_mid"].to(self.clean.model.compute_dtype)
        denominator = self.parts.denominator(block.mlp_norm, resid_mid.shape[1])
        return block.read(self.clean.transcoders.reads, resid_mid, denominator)

    def _skipped(self, layer: int) -> Tensor | None:
        """What the skip path of a clamped layer adds to its clean value: it stays live."""
        weight = self.clean.transcoders.skip_weight(layer)
        if weight is None:
            return None
        reading = self._reading(layer)
        moved = reading - self.clean.read(layer)[-reading.shape[1] :]
        return moved @ weight.T.to(moved.dtype)

    def _landed(self, layer: int) -> Tensor | None:
        """What edits of this layer and those below add at its write point, `[n_rows, n, d_model]`; None for nothing."""
        if layer in self.edits.features:
            self._queue_decoders(layer, self.edits.features[layer])
        if (layer, "write") in self.edits.vectors:
            edits = self.edits.vectors[layer, "write"]
            self._queue(layer, edits, edits.constant[:, None] * edits.vector)
        pending = self._pending.pop(layer, None)
        if pending is None or (self.held.writes and layer not in self.held.writes):
            return None
        return pending.view(self.n_rows, self.n_pos, -1)

    def _queue(self, layer: int, edits: LayerEdits | VectorEdits, vectors: Tensor) -> None:
        """Add `[n_edits, d_model]` to what waits for the layer's write point."""
        waiting = self._pending.get(layer)
        if waiting is None:
            shape = (self.n_rows * self.n_pos, vectors.shape[1])
            waiting = self._pending[layer] = torch.zeros(shape, device=vectors.device, dtype=vectors.dtype)
        waiting.index_add_(0, self._flat(edits, self.n_pos), vectors)

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
        elif self._needs_prompts:
            found = torch.zeros_like(edits.target)
            for row, acts in self._by_prompt(layer, sorted(set(edits.row[edits.is_set].tolist()))):
                mine = edits.row == row
                found[mine] = acts[edits.position[mine], edits.feature[mine]]
        else:
            reading = self._reading(layer)
            places, inverse = torch.unique(self._flat(edits, reading.shape[1]), return_inverse=True)
            # whole layers are encoded: which features are among the top k depends on all of them
            found = self.clean.encode(layer, reading.flatten(0, 1)[places])[inverse, edits.feature]
        return torch.where(edits.position < self.zero_positions, 0.0, found)

    def _by_prompt(self, layer: int, rows: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Running activations of rows one after another, `[n_pos of the prompt, n_features]`: for sets that choose over
        a whole prompt. What lies before the first position computed is clean.

        Raises:
            InterventionError: the pass continues the prompt, whose readings are gone.
        """
        if not rows:
            return
        if self.first >= self.clean.n_pos:
            raise InterventionError(WHOLE_PROMPT)
        reading, before = self._reading(layer), self.clean.read(layer)[: self.first]
        assert reading.shape[1] == self.n_pos, "the top layer is not cut where its features are asked for"
        for row in rows:
            yield row, self.clean.encode(layer, torch.cat([before, reading[row]]))

    def _directed(self, layer: int, point: StreamPoint, x: Tensor) -> Tensor:
        """What direction edits add to the stream `[n_rows, n, d_model]` at a place."""
        edits, n = self.edits.vectors[layer, point], x.shape[1]
        arriving = x.flatten(0, 1)[self._flat(edits, n)]
        if self.held.writes:
            arriving = self.clean.stream(layer, point)[edits.position]
        found = (arriving.to(edits.vector.dtype) * edits.vector).sum(-1)
        vectors = (edits.constant + edits.factor * found)[:, None] * edits.vector
        change = torch.zeros(self.n_rows * n, x.shape[-1], device=x.device, dtype=vectors.dtype)
        return change.index_add_(0, self._flat(edits, n), vectors).view_as(x).to(x.dtype)

    def _flat(self, edits: LayerEdits | VectorEdits, n: int) -> Tensor:
        """Index of each edit's row and position among the last `n` positions of all rows, `[n_edits]`."""
        return edits.row * n + edits.position - (self.first + self.n_pos - n)

    # -- readings -----------------------------------------------------------------------------------------------------

    def _measure(self, layer: int) -> None:
        # which features a whole prompt gets may change before the first edit too
        first = self.zero_positions if self._needs_prompts else max(self.first, self.zero_positions)
        wanted = [
            (index, node) for index, node in enumerate(self.read) if node.layer == layer and node.position >= first
        ]
        if not wanted:
            return
        if self._needs_prompts:
            places = [index for index, _ in wanted]
            positions, features = [node.position for _, node in wanted], [node.feature for _, node in wanted]
            for row, acts in self._by_prompt(layer, range(self.n_rows)):
                self.activations[row, places] = acts[positions, features]
            return
        reading = self._reading(layer)
        for position in sorted({node.position for _, node in wanted}):
            here = [(index, node.feature) for index, node in wanted if node.position == position]
            encoded = self.clean.encode(layer, reading[:, position - self.first - self.n_pos])
            self.activations[:, [index for index, _ in here]] = encoded[:, [feature for _, feature in here]]

    def _clean_readings(self) -> Tensor:
        """Activations read, `[n_rows, n_read]`, still clean: positions before the first edit keep them."""
        model = self.clean.model
        values = [self.clean.activation(node, self.zero_positions) for node in self.read]
        return torch.tensor(values, dtype=model.compute_dtype, device=model.device).repeat(self.n_rows, 1)


def _last_module(block: Block, point: StreamPoint) -> nn.Module:
    """The module whose output is what attention or MLP add to the residual stream."""
    if point == "resid_mid":
        return block.attention if block.attention_post_norm is None else block.attention_post_norm.module
    return block.mlp if block.mlp_post_norm is None else block.mlp_post_norm.module
