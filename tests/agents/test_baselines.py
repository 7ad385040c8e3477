"""Baselines: the same loop and the same rule as every agent, and each the method that it stands for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.baselines import BASELINES, NEED_WEIGHTS, BaselineName, baseline_agent
from tracescribe.agents.baselines.attribution_profiles import clustered
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import SwapClaim
from tracescribe.agents.loop import LoopSettings
from tracescribe.agents.report import CircuitReport, validate_report
from tracescribe.agents.survey import make_survey
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.graph import AttributionGraph, NodeKind

FEW_CONTROLS = LoopSettings(experiments=ExperimentSettings(n_controls=50))
NO_HURRY = Budget(seconds=None)
"""A run that a limit of time cuts short has tested less: how busy the machine is must not tell."""


def interpreted(name: BaselineName, toolbox: Toolbox, **case: object) -> CircuitReport:
    """A baseline's report with few controls."""
    given = InterpretationCase("x", **case)  # type: ignore[arg-type]
    return baseline_agent(name, FEW_CONTROLS).interpret(given, toolbox, NO_HURRY)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_run_the_same_loop(embedded_toolbox: Toolbox, name: BaselineName) -> None:
    report = interpreted(name, embedded_toolbox, prompt=DALLAS)
    validate_report(report)
    assert report.provenance.agent == name and report.tested and report.claims
    assert report.importance and report.failures == ()
    seen = [member for supernode in report.supernodes for member in supernode.members]
    assert len(seen) == len(set(seen))
    if name == "influence":
        assert all(len(s.members) == 1 for s in report.supernodes)
    if name == "position":
        assert all(len({m.position for m in s.members}) == 1 for s in report.supernodes)
        assert any(isinstance(c, SwapClaim) for c in report.claims)
    if name in ("acdc", "eap-ig"):
        ids = {s.supernode_id for s in report.supernodes}
        assert any(edge.destination not in ids for edge in report.edges), "no edge reaches the output"
    if name == "layer":
        assert all(len({m.layer for m in s.members}) == 1 for s in report.supernodes)
        assert [one.node.layer for one in report.importance] == sorted(
            (one.node.layer for one in report.importance), reverse=True
        )


@pytest.mark.parametrize("name", [name for name in BASELINES if name not in NEED_WEIGHTS])
def test_on_a_graph_alone_every_feature_is_ranked_and_position_and_layer_group_all(
    dallas_graph: AttributionGraph, name: BaselineName
) -> None:
    report = interpreted(name, Toolbox(), graph=dallas_graph)
    features = {dallas_graph.feature_node(int(i)) for i in dallas_graph.of_kind(NodeKind.FEATURE)}
    assert {one.node.node for one in report.importance} == features
    grouped = {member.node for supernode in report.supernodes for member in supernode.members}
    if name in ("position", "layer", "random"):
        assert grouped == features
    assert grouped <= features and not report.tested


def test_influence_takes_what_carries_its_share(dallas_graph: AttributionGraph) -> None:
    report = interpreted("influence", Toolbox(), graph=dallas_graph)
    tools = Toolbox().open(InterpretationCase("x", graph=dallas_graph), Budget())
    influence = make_survey(tools).influence
    taken = [influence[s.members[0].node] for s in report.supernodes]
    assert taken == sorted(taken, reverse=True)
    assert sum(taken[:-1]) < 0.8 * sum(influence.values()) <= sum(taken)


def test_the_same_seed_gives_the_same_random_baseline(dallas_graph: AttributionGraph) -> None:
    first, again = (interpreted("random", Toolbox(), graph=dallas_graph) for _ in range(2))
    assert first.supernodes == again.supernodes and first.importance == again.importance
    other = baseline_agent("random", LoopSettings(seed=1)).interpret(
        InterpretationCase("x", graph=dallas_graph), Toolbox(), Budget()
    )
    assert other.importance != first.importance


def test_spectral_clusters_find_planted_blocks() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), [3, 5, 8, 13])
    likeness = np.where(truth[:, None] == truth[None, :], 0.9, 0.05) + 0.02 * rng.random((29, 29))
    likeness = (likeness + likeness.T) / 2
    order = rng.permutation(29)
    found = clustered(likeness[np.ix_(order, order)], 4, 10, seed=0)
    pairs = found[:, None] == found[None, :]
    assert (pairs == (truth[order][:, None] == truth[order][None, :])).all()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_features_are_clusters_of_their_own(n: int) -> None:
    assert clustered(np.ones((n, n)), 4, 10, seed=0).tolist() == list(range(n))
