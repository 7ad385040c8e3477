"""The runs of the model that scores by intervention rest on: which features, which answer, and one batch for all edits.

Nothing here comes from `agents/`: a score that used the code it scores would share its mistakes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from tracescribe.tracer.edits import FeatureEdit, Row
from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, FloatArray, IntArray
from tracescribe.tracer.statistics import Float64Array

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.tracer.clean_run import CleanRun
    from tracescribe.tracer.evidence_store import EvidenceStore

_MEANS: WeakKeyDictionary[EvidenceStore, dict[int, Float64Array]] = WeakKeyDictionary()


class Answers(NamedTuple):
    """What the model answers after each row of edits, at the last position.

    Attributes:
        logit: of the target, `[n_rows]`, raw.
        foil: logit of the foil, `[n_rows]`.
        probability: of the target, `[n_rows]`.
        activations: of the nodes that were asked for, `[n_rows, n_read]`.
    """

    logit: Float64Array
    foil: Float64Array
    probability: Float64Array
    activations: Float64Array

    @property
    def difference(self) -> Float64Array:
        """Logit of the target minus that of the foil, `[n_rows]`."""
        return self.logit - self.foil


@dataclass(frozen=True, eq=False)
class CircuitRuns:
    """One prompt, ready to be run with edits.

    Attributes:
        toolbox: with the model and transcoders that the graph was traced from.
        clean: the untouched run.
        features: feature nodes of the graph that fire, in the graph's order: what may be kept or ablated.
        circuit: those of them that are members of supernodes that the report stands by, in the same order.
        target: id of the graph's most probable output token.
        foil: id of the most probable other token of the untouched model.
    """

    toolbox: Toolbox
    clean: CleanRun
    features: tuple[FeatureNode, ...]
    circuit: tuple[FeatureNode, ...]
    target: int
    foil: int
    _strength: dict[FeatureNode, float] = field(default_factory=dict, repr=False)
    _off: dict[tuple[FeatureNode, bool], FeatureEdit] = field(default_factory=dict, repr=False)

    def run(self, rows: Sequence[Row], read: Sequence[FeatureNode] = ()) -> Answers:
        """Run every row of edits on the prompt, all in one batch; a row without edits is the untouched model.

        MLPs react and attention is recomputed.

        Raises:
            InterventionError: the edits drive the model out of the range of numbers.
        """
        from tracescribe.tracer.interventions import intervene

        model, transcoders = self.toolbox.model, self.toolbox.transcoders
        assert model is not None and transcoders is not None, "checked by open_runs"
        wanted = [self.target, self.foil]
        final = self.clean.logits[-1].double()
        answers = np.tile(final[wanted].cpu().numpy(), (len(rows), 1))
        probability = np.full(len(rows), float(final.softmax(-1)[self.target]))
        activations = np.tile(np.array([self.clean.activation(node) for node in read]), (len(rows), 1))
        edited = [number for number, row in enumerate(rows) if row]
        if edited:
            todo = [rows[number] for number in edited]
            result = intervene(model, transcoders, self.clean.tokens, todo, read=read, clean=self.clean)
            answers[edited] = result.logits[:, -1, wanted].double().cpu().numpy()
            probability[edited] = result.probabilities[:, self.target].cpu().numpy()
            activations[edited] = result.activations.double().cpu().numpy()
        return Answers(answers[:, 0], answers[:, 1], probability, activations)

    def without(self, nodes: Collection[FeatureNode], means: bool = False) -> Row:
        """Edits that switch features off: to 0, or to their mean over the corpus."""
        return tuple(self._switched_off(node, means) for node in nodes)

    def only(self, nodes: Iterable[FeatureNode], means: bool = False) -> Row:
        """Edits that switch every feature of the prompt off but these."""
        kept = set(nodes)
        return self.without([node for node in self.features if node not in kept], means)

    def _switched_off(self, node: FeatureNode, means: bool) -> FeatureEdit:
        """The edit, made once: hundreds of rows ablate the same features."""
        if (node, means) not in self._off:
            value = self.mean(node) if means else 0.0
            self._off[node, means] = FeatureEdit(node.layer, node.position, node.feature, value)
        return self._off[node, means]

    def mean(self, node: FeatureNode) -> float:
        """Mean activation of a feature over the tokens that its density is counted over, silent ones counted as 0.

        Raises:
            GraphFormatError: there is no corpus scan.
        """
        store = self.toolbox.evidence
        if store is None:
            raise GraphFormatError("mean ablation needs a corpus scan; load evidence, or ablate to zero")
        layers = _MEANS.setdefault(store, {})
        if node.layer not in layers:
            entries, width = store.sparse(node.layer), self.clean.transcoders.n_features[node.layer]
            total = np.bincount(entries.feature, weights=entries.value, minlength=width)
            layers[node.layer] = total / max(1, int(store.token_counts.sum()))
        return float(layers[node.layer][node.feature])

    @property
    def has_means(self) -> bool:
        """Whether features can be set to their means."""
        return self.toolbox.evidence is not None

    def strength(self, node: FeatureNode) -> float:
        """Norm of what a feature writes in this prompt: activation times the norm of its decoder vectors."""
        if node not in self._strength:
            self._strength[node] = self.clean.activation(node) * self.norm(node)
        return self._strength[node]

    def norm(self, node: FeatureNode) -> float:
        """Norm of a feature's decoder vectors over all layers written to."""
        return float(self.decoder_norms(node.layer)[node.feature])

    def decoder_norms(self, layer: int) -> FloatArray:
        """The same of all features of a layer, `[n_features]`."""
        return self.toolbox.decoder_norms(layer)

    def live(self, layer: int) -> IntArray:
        """Features of a layer that fire in ordinary text; all of them without a corpus scan."""
        store = self.toolbox.evidence
        if store is not None:
            return store.live(layer)
        return np.arange(self.clean.transcoders.n_features[layer], dtype=np.int64)


def open_runs(report: CircuitReport, toolbox: Toolbox, graph: AttributionGraph) -> CircuitRuns | None:
    """Make ready the prompt of a report.

    Args:
        toolbox: may lack a model.
        graph: the unpruned graph that the report is about.

    Returns:
        None where the model that the graph was traced from is not at hand.

    Raises:
        GraphFormatError: a graph without output tokens or token ids, or a target that is no single token of the model.
    """
    import torch

    from tracescribe.tracer.clean_run import clean_run

    model, transcoders = toolbox.model, toolbox.transcoders
    if model is None or transcoders is None or not _belongs(toolbox, graph):
        return None
    if graph.target_logit is None or not graph.token_ids:
        raise GraphFormatError("the graph has no output tokens or no token ids, so the model cannot be asked about it")
    target = int(graph.nodes.feature[graph.target_logit])
    if not 0 <= target < model.vocab_size:
        raise GraphFormatError(
            f"the graph's target {target} is no single token of the model's {model.vocab_size}; score a graph of tokens"
        )
    clean = clean_run(model, transcoders, torch.tensor(graph.token_ids, dtype=torch.int64))
    members = {member.node for supernode in report.supernodes if not supernode.rejected for member in supernode.members}
    features = tuple(node for node in graph.node_of_feature if clean.activation(node) > 0.0)
    others = clean.logits[-1].clone()
    others[target] = -math.inf
    return CircuitRuns(
        toolbox=toolbox,
        clean=clean,
        features=features,
        circuit=tuple(node for node in features if node in members),
        target=target,
        foil=int(others.argmax()),
    )


def _belongs(toolbox: Toolbox, graph: AttributionGraph) -> bool:
    """Whether the loaded weights are those of the graph; a graph that does not say is taken not to be."""
    assert toolbox.model is not None and toolbox.transcoders is not None, "checked by the caller"
    told = (graph.provenance.get("model_sha256"), graph.provenance.get("transcoders_sha256"))
    return told == (toolbox.model.weights_sha256, toolbox.transcoders.sha256)
