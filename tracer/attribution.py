"""From a prompt to its attribution graph, and the law that every graph must obey.

An edge is the direct linear effect of a source, as it is in this prompt, on a target's pre-activation, with attention
patterns and norm denominators frozen. What reaches a target from no node (decoder and attention biases, everything
written at masked positions) is kept as one bias per node, so that a node's incoming edges and its bias sum to its
pre-activation; that is asserted on every trace.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub/2025/attribution-graphs/methods.html);
conventions of circuit-tracer 0.4.1 (github.com/decoderesearch/circuit-tracer).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tracescribe.tracer.edge_store import EdgeStore
from tracescribe.tracer.errors import AttributionError, SettingError
from tracescribe.tracer.graph import (
    AttributionGraph,
    IntArray,
    NodeKind,
    NodeTable,
    standard_node_ids,
)
from tracescribe.tracer.local_replacement import LocalReplacement, replace_locally
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.provenance import version
from tracescribe.tracer.prune import cumulative_influence, measure
from tracescribe.tracer.sweep import Sweep, Targets
from tracescribe.tracer.transcoders import TranscoderSet

CONSERVATION_TOLERANCE = 1e-4
"""Largest allowed break of the conservation law, relative to the absolute sum of what flows into a node. Float32 traces
of every size tried stay near 1e-6; a wrong gain, layout or sign gives 1e-2 and more."""

Progress = Callable[[str, int, int], None]
"""Called with a stage, the number of targets done, and their total."""


@dataclass(frozen=True)
class AttributionSettings:
    """How to trace.

    Attributes:
        max_n_logits: most output tokens that become nodes.
        desired_logit_probability: fewer are taken where the most probable ones reach this together.
        batch_size: targets per sweep. With a node budget it is also part of the result, as `update_interval` is.
        max_feature_nodes: node budget: only so many features are kept, the most influential first; None keeps all.
        update_interval: with a budget, influence is estimated anew after this many batches.
        zero_positions: leading positions whose features and errors are set to zero (BOS).
        target_tokens: output tokens to take instead of the most probable ones; empty for the rule above.
    """

    max_n_logits: int = 10
    desired_logit_probability: float = 0.95
    batch_size: int = 256
    max_feature_nodes: int | None = None
    update_interval: int = 4
    zero_positions: int = 1
    target_tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        at_least_one = ("max_n_logits", "batch_size", "update_interval", "max_feature_nodes")
        faults = [
            f"{name} is {v}, expected 1 or more"
            for name in at_least_one
            if (v := getattr(self, name)) is not None and v < 1
        ]
        if not 0 < self.desired_logit_probability <= 1:
            faults.append(f"desired_logit_probability is {self.desired_logit_probability}, expected above 0, at most 1")
        if self.zero_positions < 0:
            faults.append(f"zero_positions is {self.zero_positions}, expected 0 or more")
        if len(set(self.target_tokens)) < len(self.target_tokens):
            faults.append(f"target_tokens {list(self.target_tokens)} repeats a token")
        if faults:
            raise SettingError(f"attribution settings: {'; '.join(faults)}")


def attribute(
    model: LanguageModel,
    transcoders: TranscoderSet,
    prompt: str | Tensor,
    settings: AttributionSettings | None = None,
    progress: Progress | None = None,
) -> AttributionGraph:
    """Trace a prompt.

    Args:
        model: the model.
        transcoders: a set that fits it.
        prompt: text, or token ids `[n_pos]`; BOS is prepended where no special token leads.
        settings: how to trace; the defaults if None.
        progress: called after each batch of targets.

    Returns:
        The unpruned graph. Nodes: features by layer, position and index; errors by layer and position; tokens; logits.
        Edges sorted by target, then source. With a node budget the bias column stays what no node carries, so that
        only graphs without a budget sum up exactly.

    Raises:
        PromptError: the prompt cannot be encoded.
        SettingError: a target token that the model does not have.
        TranscoderMismatchError: the set does not fit the model.
        AttributionError: the result breaks the conservation law or is not finite.
    """
    tokens = model.encode(prompt) if isinstance(prompt, str) else model.vocabulary.check(prompt)
    graph = attribute_tokens(model, transcoders, tokens, settings, progress)
    return dataclasses.replace(graph, prompt=prompt) if isinstance(prompt, str) else graph


def attribute_tokens(
    model: LanguageModel,
    transcoders: TranscoderSet,
    tokens: Tensor,
    settings: AttributionSettings | None = None,
    progress: Progress | None = None,
) -> AttributionGraph:
    """`attribute` for token ids `[n_pos]` that are taken as they are, with no BOS prepended."""
    settings = settings or AttributionSettings()
    replacement = replace_locally(model, transcoders, tokens, settings.zero_positions)
    graph = trace_replacement(model, replacement, settings, progress)
    provenance = {
        "model": model.model_id,
        "model_sha256": model.weights_sha256,
        "transcoders": transcoders.transcoder_id,
        "transcoders_sha256": transcoders.sha256,
        "tracer_version": version(),
        "settings": dataclasses.asdict(settings) | {"target_tokens": list(settings.target_tokens)},
        "seed": None,  # nothing is drawn at random
        **graph.provenance,
    }
    scores, influence = measure(graph)
    graph = dataclasses.replace(graph, provenance=provenance, scores=scores)
    return graph.with_influence(cumulative_influence(influence))


@torch.no_grad()
def trace_replacement(
    model: LanguageModel,
    replacement: LocalReplacement,
    settings: AttributionSettings,
    progress: Progress | None = None,
) -> AttributionGraph:
    """The graph of a frozen prompt, without scores, influence and the names of what it came from.

    Raises:
        SettingError: a target token that the model does not have.
        AttributionError: the result breaks the conservation law or is not finite.
    """
    trace = _Trace(model, replacement, choose_logits(replacement.logits, settings), settings, progress)
    selected = trace.expand()
    nodes = trace.node_table(selected)
    token_ids = tuple(int(t) for t in replacement.tokens)
    tokens = tuple(model.token_text(t) for t in token_ids)
    return AttributionGraph(
        prompt=str(model.tokenizer.decode(list(token_ids))),
        tokens=tokens,
        token_ids=token_ids,
        n_layers=replacement.n_layers,
        nodes=nodes,
        node_ids=standard_node_ids(nodes, replacement.n_layers),
        labels=_labels(nodes, tokens, model),
        edges=trace.store.table(selected),
        provenance={
            "n_active_features": len(replacement.active),
            "conservation_error": trace.conservation_error,
        },
    )


def choose_logits(logits: Tensor, settings: AttributionSettings) -> tuple[Tensor, Tensor]:
    """Output tokens that become nodes, and their probabilities.

    Args:
        logits: of the last position, `[vocab_size]`.
        settings: given tokens, or the smallest set of the most probable ones that reaches the desired probability.

    Returns:
        Token ids `[n_logits]` and probabilities `[n_logits]`.

    Raises:
        SettingError: a target token that the model does not have.
    """
    probabilities = logits.softmax(-1)
    if settings.target_tokens:
        unknown = [t for t in settings.target_tokens if not 0 <= t < len(logits)]
        if unknown:
            raise SettingError(f"target_tokens {unknown} are not in 0..{len(logits) - 1} of the model's vocabulary")
        tokens = torch.tensor(settings.target_tokens)
        return tokens, probabilities[tokens]
    top, tokens = probabilities.topk(min(settings.max_n_logits, len(logits)))
    n = int(torch.searchsorted(top.cumsum(0), settings.desired_logit_probability)) + 1
    return tokens[:n], top[:n]


class _Trace:
    """One trace under way: expands targets, checks each row's sum, keeps the edges."""

    def __init__(
        self,
        model: LanguageModel,
        replacement: LocalReplacement,
        logits: tuple[Tensor, Tensor],
        settings: AttributionSettings,
        progress: Progress | None,
    ) -> None:
        self.architecture = model.architecture
        self.replacement = replacement
        self.logit_tokens, self.logit_probabilities = logits
        self.settings = settings
        self.progress = progress
        self.sweep = Sweep(replacement)
        self.n_active = len(replacement.active)
        self.store = EdgeStore(replacement.active[:, 0].numpy(), self.sweep.n_sources, len(self.logit_tokens))
        self.bias = np.full(self.store.n_nodes, np.nan, dtype=np.float32)
        self.conservation_error = 0.0
        self.done = 0

    def expand(self) -> IntArray:
        """Edge rows of the logits and of the features that the budget allows; returns these, ascending."""
        budget = min(self.settings.max_feature_nodes or self.n_active, self.n_active)
        total = len(self.logit_tokens) + budget
        self._expand_logits(total)
        if budget == self.n_active:
            everything = torch.arange(self.n_active)
            self._expand_features(everything, total)
            return everything.numpy()
        visited = np.zeros(0, dtype=np.int64)
        while len(visited) < budget:  # the most influential through the rows known so far
            score = self.store.feature_influence(self.logit_probabilities.numpy())
            score[visited] = -1.0
            n = min(self.settings.update_interval * self.settings.batch_size, budget - len(visited))
            chosen = np.argsort(-score, kind="stable")[:n]
            self._expand_features(torch.from_numpy(chosen), total)
            visited = np.concatenate([visited, chosen])
        return np.sort(visited)

    def _expand_logits(self, total: int) -> None:
        r, n = self.replacement, len(self.logit_tokens)
        mean = self.architecture.mean_unembedding
        targets = Targets(
            layer=torch.full((n,), r.n_layers),
            position=torch.full((n,), r.n_pos - 1),
            covector=(self.architecture.unembedding[self.logit_tokens] - mean) * r.final_gain,
        )
        own_bias = torch.zeros(n)
        if (bias := self.architecture.unembedding_bias) is not None:
            own_bias = bias[self.logit_tokens] - bias.mean()
        values = r.logits[self.logit_tokens] - r.logits.mean()
        self._expand(targets, torch.arange(n) + self.store.n_sources, own_bias, values, total)

    def _expand_features(self, index: Tensor, total: int) -> None:
        r = self.replacement
        targets = Targets(r.active[index, 0], r.active[index, 1], r.readers[index])
        self._expand(targets, index, r.reader_bias[index], r.activations[index], total)

    def _expand(self, targets: Targets, nodes: Tensor, own_bias: Tensor, values: Tensor, total: int) -> None:
        """Keep the rows of `targets`, which are the nodes `nodes` of the store.

        Args:
            targets: `[n]`.
            nodes: their numbers in the store, `[n]`.
            own_bias: the targets' own constants, `[n]`.
            values: their pre-activations in the forward pass, `[n]`.
            total: targets of the whole trace, for the progress callback.
        """
        for rows in self.sweep.rows(targets, self.settings.batch_size):
            bias = rows.constant + own_bias[rows.index]
            self._check(rows.weight, bias, values[rows.index])
            self.store.add(nodes[rows.index].numpy(), rows.weight.numpy())
            self.bias[nodes[rows.index].numpy()] = bias.numpy()
            self.done += len(rows.index)
            if self.progress is not None:
                self.progress("attribution", self.done, total)

    def _check(self, weight: Tensor, bias: Tensor, value: Tensor) -> None:
        """Assert the conservation law for a block of rows.

        Raises:
            AttributionError: a row does not sum to its target's pre-activation, or is not finite.
        """
        difference = (weight.sum(1, dtype=torch.float64) + bias - value).abs()
        scale = weight.abs().sum(1, dtype=torch.float64) + bias.abs() + value.abs()
        relative = (difference / scale.clamp(min=torch.finfo(torch.float32).tiny)).max()
        if not relative <= CONSERVATION_TOLERANCE:  # also true for NaN
            raise AttributionError(
                f"edges and bias miss a target's pre-activation by {float(relative):.2e} of what flows into it, expected "
                f"at most {CONSERVATION_TOLERANCE:.0e}; the weights may not be finite, or the adapter for "
                f"{self.architecture.family} does not describe this model"
            )
        self.conservation_error = max(self.conservation_error, float(relative))

    def node_table(self, selected: IntArray) -> NodeTable:
        """Nodes of the graph: selected features, errors, tokens, logits."""
        r, n_logits = self.replacement, len(self.logit_tokens)
        feature = r.active.numpy()[selected]
        layer, position = np.divmod(np.arange(r.n_layers * r.n_pos), r.n_pos)
        here = np.arange(r.n_pos)
        counts = (len(feature), len(layer), r.n_pos, n_logits)
        unknown = np.full(len(layer) + r.n_pos, np.nan, dtype=np.float32)
        last = np.full(n_logits, r.n_pos - 1)
        return NodeTable(
            kind=np.repeat(np.array([*NodeKind], dtype=np.int64), counts),
            layer=np.concatenate([feature[:, 0], layer, np.full_like(here, -1), np.full(n_logits, r.n_layers)]),
            position=np.concatenate([feature[:, 1], position, here, last]),
            feature=np.concatenate(
                [feature[:, 2], np.full_like(layer, -1), r.tokens.numpy(), self.logit_tokens.numpy()]
            ),
            activation=np.concatenate([r.activations.numpy()[selected], unknown, self.logit_probabilities.numpy()]),
            influence=np.full(sum(counts), np.nan, dtype=np.float32),
            bias=np.concatenate([self.bias[selected], self.bias[self.n_active :]]),
        )


def _labels(nodes: NodeTable, tokens: tuple[str, ...], model: LanguageModel) -> tuple[str, ...]:
    """Texts as circuit-tracer's frontend shows them; features have none."""

    def label(kind: int, position: int, token: int, probability: float) -> str:
        if kind == NodeKind.LOGIT:
            return f'Output "{model.token_text(token)}" (p={probability:.3f})'
        if kind == NodeKind.EMBEDDING:
            return f'Emb: "{tokens[position]}"'
        return f'Err: mlp "{tokens[position]}"' if kind == NodeKind.ERROR else ""

    columns = (nodes.kind.tolist(), nodes.position.tolist(), nodes.feature.tolist(), nodes.activation.tolist())
    return tuple(label(*row) for row in zip(*columns, strict=True))
