"""A trace under way: targets are expanded into edge rows, most influential first, and each row's sum is checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tracescribe.tracer.edge_store import EdgeStore
from tracescribe.tracer.edges import DoubleArray, FloatArray, IntArray
from tracescribe.tracer.errors import AttributionError
from tracescribe.tracer.graph import NodeKind, NodeTable
from tracescribe.tracer.local_replacement import LocalReplacement
from tracescribe.tracer.logit_targets import LogitTarget, covectors, own_bias
from tracescribe.tracer.machine_memory import resident_memory
from tracescribe.tracer.memory import MemoryPlan, TraceSize, plan_memory
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.sweep import Sweep, Targets

CONSERVATION_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Largest allowed break of the conservation law by the weights' dtype, relative to the absolute sum of what flows into a
node. Float32 traces of every size tried stay near 1e-6 and float64 traces near 1e-15; a wrong gain, layout or sign gives
1e-2 and more."""

LOW_PRECISION_TOLERANCE = 0.1
"""The same for bfloat16 and other short dtypes, whose forward pass rounds the residual stream at every addition (3e-3 to
9e-3 on the goldens): only gross faults are found there, so check a model's family in float32 first."""

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is in all."""


class ExpansionSettings(Protocol):
    """The part of the attribution settings that says how far to expand."""

    @property
    def batch_size(self) -> int:
        """Targets per sweep."""
        ...

    @property
    def max_feature_nodes(self) -> int | None:
        """Node budget."""
        ...

    @property
    def update_interval(self) -> int:
        """Batches between two estimates of influence."""
        ...


class Expansion:
    """Expands targets, checks each row's sum, keeps the edges."""

    def __init__(
        self,
        model: LanguageModel,
        replacement: LocalReplacement,
        targets: Sequence[LogitTarget],
        settings: ExpansionSettings,
        progress: Progress | None = None,
    ) -> None:
        """Start with no edge.

        Args:
            model: whose unembedding is read.
            replacement: the frozen prompt.
            targets: outputs that become logit nodes.
            settings: batches and budget.
            progress: called after each batch of targets.
        """
        r = replacement
        self.model = model
        self.replacement = r
        self.logits = tuple(targets)
        self.settings = settings
        self.progress = progress
        self.sweep = Sweep(r)
        self.active: IntArray = r.active.cpu().numpy()
        self.n_active = len(self.active)
        self.store = EdgeStore(self.active[:, 0], self.active[:, 1], r.n_layers, r.n_pos, len(targets))
        # arrays are called FloatArray throughout; those of a float64 trace are wider
        self.number_type: Any = np.float64 if r.embeddings.dtype == torch.float64 else np.float32
        self.bias: FloatArray = np.full(self.store.n_nodes, np.nan, dtype=self.number_type)
        self.tolerance = CONSERVATION_TOLERANCE.get(r.precision, LOW_PRECISION_TOLERANCE)
        self.conservation_error = 0.0
        self.block_size = settings.batch_size
        self.done = 0

    def fit_into(self, limit: int) -> MemoryPlan:
        """Cut blocks so that the process stays within so many bytes.

        Raises:
            SettingError: not even blocks of one target would fit; the message names the parts and what would.
        """
        r = self.replacement
        item = r.embeddings.element_size()
        patterns = sum(layer.pattern.numel() for layer in r.layers) * item
        columns = sum(rows.numel() for rows in r.decoders) * item
        # a block lists its sources once, so short blocks pay for them again and again
        groups = np.unique(self.active[:, 0] * r.n_pos + self.active[:, 1])
        edge_bytes = item + math.ceil(4 * len(groups) / max(1, self.n_active))
        size = TraceSize(
            layer=self.active[:, 0],
            position=self.active[:, 1],
            n_layers=r.n_layers,
            n_pos=r.n_pos,
            n_logits=len(self.logits),
            bytes_per_target=self.sweep.bytes_per_target(),
            held={"in use": resident_memory(), "attention patterns": patterns, "sources": columns},
            edge_bytes=edge_bytes,
        )
        plan = plan_memory(size, limit, self.settings.batch_size, self.settings.max_feature_nodes).require()
        self.block_size = plan.batch_size
        return plan

    def expand(self) -> IntArray:
        """Edge rows of the logits and of the features that the budget allows; returns these, ascending.

        Raises:
            AttributionError: a row does not sum to its target's pre-activation, or is not finite.
        """
        budget = min(self.settings.max_feature_nodes or self.n_active, self.n_active)
        total = len(self.logits) + budget
        self._expand_logits(total)
        if budget == self.n_active:
            everything = np.arange(self.n_active)
            self._expand_features(everything, total)
            return everything
        probabilities = np.array([target.probability for target in self.logits], dtype=np.float32)
        visited = np.zeros(0, dtype=np.int64)
        while len(visited) < budget:  # the most influential through the rows known so far
            influence = self.store.feature_influence(probabilities)
            n = min(self.settings.update_interval * self.settings.batch_size, budget - len(visited))
            chosen = _ranked(influence, visited)[:n]
            self._expand_features(chosen, total)
            visited = np.concatenate([visited, chosen])
        return np.sort(visited)

    def _expand_logits(self, total: int) -> None:
        r, n, architecture = self.replacement, len(self.logits), self.model.architecture
        device, final = r.embeddings.device, architecture.final_norm
        on_output = covectors(architecture, self.logits).to(device)
        targets = Targets(
            layer=torch.full((n,), r.n_layers, device=device),
            position=torch.full((n,), r.n_pos - 1, device=device),
            covector=final.centre(on_output * r.final_gain),
        )
        unembedding_bias = own_bias(architecture, self.logits).to(device)
        constant = unembedding_bias
        if final.bias is not None:
            constant = constant + on_output @ final.bias.to(on_output.dtype)
        values = on_output @ r.final_normed + unembedding_bias
        self._expand(targets, np.arange(n) + self.store.n_sources, constant, values, total)

    def _expand_features(self, index: IntArray, total: int) -> None:
        r = self.replacement
        here = torch.from_numpy(index).to(r.active.device)
        targets = Targets(r.active[here, 0], r.active[here, 1], r.readers[here])
        self._expand(targets, index, r.reader_bias[here], r.activations[here], total)

    def _expand(self, targets: Targets, nodes: IntArray, constant: Tensor, values: Tensor, total: int) -> None:
        """Keep the rows of `targets`, which are the nodes `nodes` of the store.

        Args:
            targets: `[n]`.
            nodes: their numbers in the store, `[n]`.
            constant: the targets' own constants, `[n]`.
            values: their pre-activations in the forward pass, `[n]`.
            total: targets of the whole trace, for the progress callback.
        """
        for rows in self.sweep.rows(targets, self.block_size):
            signed, absolute = self.store.add(rows, nodes)
            bias = (rows.constant + constant[rows.index]).cpu().numpy()
            self._check(signed, absolute, bias, values[rows.index].cpu().numpy())
            self.bias[nodes[rows.index.cpu().numpy()]] = bias
            self.done += len(rows.index)
            if self.progress is not None:
                self.progress("sweep", self.done, total)

    def _check(self, signed: DoubleArray, absolute: DoubleArray, bias: FloatArray, value: FloatArray) -> None:
        """Assert the conservation law for a block of rows.

        Raises:
            AttributionError: a row does not sum to its target's pre-activation, or is not finite.
        """
        difference = np.abs(signed + bias - value)
        scale = absolute + np.abs(bias) + np.abs(value)
        relative = float((difference / np.maximum(scale, np.finfo(np.float32).tiny)).max())
        if not relative <= self.tolerance:  # also true for NaN
            raise AttributionError(
                f"edges and bias miss a target's pre-activation by {relative:.2e} of what flows into it, expected "
                f"at most {self.tolerance:.0e}; the weights may not be finite, or the adapter for "
                f"{self.model.architecture.family} does not describe this model"
            )
        self.conservation_error = max(self.conservation_error, relative)

    def node_table(self, selected: IntArray) -> NodeTable:
        """Nodes of the graph: selected features, errors, tokens, logits."""
        r, n_logits = self.replacement, len(self.logits)
        feature = self.active[selected]
        layer, position = np.divmod(np.arange(r.n_layers * r.n_pos), r.n_pos)
        here = np.arange(r.n_pos)
        counts = (len(feature), len(layer), r.n_pos, n_logits)
        unknown = np.full(len(layer) + r.n_pos, np.nan, dtype=self.number_type)
        last = np.full(n_logits, r.n_pos - 1)
        numbers = [target.graph_id(place, self.model.vocab_size) for place, target in enumerate(self.logits)]
        probabilities = np.array([target.probability for target in self.logits], dtype=self.number_type)
        activations = r.activations.cpu().numpy()[selected]
        return NodeTable(
            kind=np.repeat(np.array([*NodeKind], dtype=np.int64), counts),
            layer=np.concatenate([feature[:, 0], layer, np.full_like(here, -1), np.full(n_logits, r.n_layers)]),
            position=np.concatenate([feature[:, 1], position, here, last]),
            feature=np.concatenate(
                [feature[:, 2], np.full_like(layer, -1), r.tokens.cpu().numpy(), np.array(numbers, dtype=np.int64)]
            ),
            activation=np.concatenate([activations, unknown, probabilities]),
            influence=np.full(sum(counts), np.nan, dtype=np.float32),
            bias=np.concatenate([self.bias[selected], self.bias[self.n_active :]]),
        )


def _ranked(influence: DoubleArray, visited: IntArray) -> IntArray:
    """Features that have not been visited, the most influential first.

    Ties are common, since whatever cannot reach the outputs has no influence at all, and a budget may be larger than the
    rest. They are taken in the order in which circuit-tracer 0.4.1 takes them, which is that of torch's sort of the
    float32 values of all features.
    """
    order = torch.argsort(torch.from_numpy(influence.astype(np.float32)), descending=True).numpy()
    waiting = np.ones(len(influence), dtype=np.bool_)
    waiting[visited] = False
    return np.asarray(order[waiting[order]], dtype=np.int64)
