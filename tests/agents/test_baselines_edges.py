"""ACDC and EAP-IG: batches give what the paper's loop gives, planted edges are found, and scores add up."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tests.tracer.runnable_graphs import planted, random_graph, relu_layers
from tracescribe.agents.baselines import NEED_WEIGHTS, BaselineName, baseline_agent
from tracescribe.agents.baselines.acdc import AcdcBaseline, pruned_edges
from tracescribe.agents.baselines.eap_ig import EapIgBaseline, edge_scores
from tracescribe.agents.baselines.edge_selection import log_softmax
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.replacement_run import ReplacementRun


def candidates(graph: AttributionGraph) -> list[int]:
    """Every feature."""
    return [int(i) for i in graph.of_kind(NodeKind.FEATURE)]


def acdc_by_hand(graph: AttributionGraph, tau: float) -> set[tuple[int, int]]:
    """The paper's loop as it is written down: one edge, one run."""
    logits = [int(i) for i in graph.of_kind(NodeKind.LOGIT)]
    weight = np.zeros((graph.n_nodes, graph.n_nodes))
    weight[graph.edges.target, graph.edges.source] = graph.edges.weight
    full = weight.copy()

    def logp(w: NDArray[np.float64]) -> NDArray[np.float64]:
        run = ReplacementRun(graph, relu_layers(graph))
        run.weight = csr_array(w)
        return np.asarray(log_softmax(run.run())[0])

    before = logp(weight)
    now, kept, feeding = 0.0, set(), {logits[0]}
    for end in [logits[0], *sorted(candidates(graph), key=lambda i: (-int(graph.nodes.layer[i]), i))]:
        rows = logits if end == logits[0] else [end]
        size = np.abs(full[rows]).sum(axis=0)
        for source in sorted(np.flatnonzero(size).tolist(), key=lambda i: (size[i], i)):
            trial = weight.copy()
            trial[rows, source] = 0.0
            divergence = float((np.exp(before) * (before - logp(trial))).sum()) if end in feeding else now
            if end in feeding and divergence - now >= tau:
                kept.add((source, end))
                feeding.add(source)
            else:
                weight, now = trial, divergence
    return kept


@pytest.mark.parametrize("tau", [0.003, 0.03, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_batches_keep_what_the_loop_of_the_paper_keeps(seed: int, tau: float) -> None:
    graph = random_graph(np.random.default_rng(seed))
    run = ReplacementRun(graph, relu_layers(graph))
    kept, _ = pruned_edges(run, candidates(graph), tau)
    assert kept == acdc_by_hand(graph, tau)
    assert tau > 0.1 or kept


def test_acdc_finds_the_planted_chain_and_nothing_else() -> None:
    graph, names = planted()
    found = AcdcBaseline(tau=0.01).select(ReplacementRun(graph, relu_layers(graph)), candidates(graph), 0)
    assert {node.feature for node in found.nodes} == {names["first"], names["second"]}
    assert set(found.edges) == {("token_0", "0_1_0"), ("0_1_0", "1_3_0"), ("1_3_0", "output")}


def test_eap_ig_finds_the_planted_chain_and_scores_it_highest() -> None:
    graph, names = planted()
    found = EapIgBaseline().select(ReplacementRun(graph, relu_layers(graph)), candidates(graph), 0)
    assert {node.feature for node in found.nodes} == {names["first"], names["second"]}
    score = {node.feature: value for node, value in found.scores}
    assert min(score[names["first"]], score[names["second"]]) > 100 * max(score[names["idle"]], score[names["late"]])


def test_scores_of_edges_into_the_output_add_up_to_the_log_odds() -> None:
    """With features that stay on all the way, and one output against nothing, the answer is linear: nothing is lost."""
    rng = np.random.default_rng(0)
    graph = random_graph(rng)
    run = ReplacementRun(graph, relu_layers(graph))
    run.logits = run.logits[:1]
    run._threshold[:] = -np.inf
    scores = edge_scores(run, candidates(graph), 0, steps=5)
    into = sum(score for (_, end), score in scores.items() if end == int(run.logits[0]))
    assert into == pytest.approx(float(run.run()[0, 0]) - float(run._bias[run.logits[0]]), abs=1e-4)


@pytest.mark.parametrize("name", NEED_WEIGHTS)
def test_without_weights_the_case_is_refused_and_the_message_says_why(
    dallas_graph: AttributionGraph, name: BaselineName
) -> None:
    with pytest.raises(InputError, match=f"agent {name} runs the model, and cannot .no model weights"):
        baseline_agent(name).interpret(InterpretationCase("x", graph=dallas_graph), Toolbox(), Budget())
