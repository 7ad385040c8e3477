"""Features that share their work: what brings them into the survey, joins them, parts them, and makes them suppressors."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tracer.test_profiles import random_graph
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import Role, Supernode
from tracescribe.agents.grouping.graph_facts import GraphFacts, graph_facts
from tracescribe.agents.grouping.repeated_words import read_again
from tracescribe.agents.grouping.supernodes import steps_within
from tracescribe.agents.offline import OfflineProposer
from tracescribe.agents.survey import make_survey, sharing_work
from tracescribe.agents.testing.hypotheses import opposes
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.edges import EdgeTable
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, NodeKind, NodeTable, standard_node_ids

FIRST, SECOND = FeatureNode(0, 1, 7), FeatureNode(0, 2, 7)


def facts_of(first: float, second: float, onward: float = 3.0, words: tuple[str, str] = ("elm", "elm")) -> GraphFacts:
    """One feature at two positions, which feeds a feature at the last one with two weights; that one feeds the logit."""
    rows = [(NodeKind.EMBEDDING, -1, p, p) for p in range(4)]
    rows += [(NodeKind.FEATURE, 0, 1, 7), (NodeKind.FEATURE, 0, 2, 7), (NodeKind.FEATURE, 1, 3, 9)]
    rows += [(NodeKind.LOGIT, 2, 3, 5)]
    kind, layer, position, feature = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    activation = np.array([np.nan] * 4 + [2.0, 2.0, 4.0, 0.9], dtype=np.float32)
    unknown = np.full(len(rows), np.nan, dtype=np.float32)
    nodes = NodeTable(kind, layer, position, feature, activation, unknown, unknown)
    edges = EdgeTable(
        np.array([4, 5, 6, 6, 7], dtype=np.int64),
        np.array([1, 2, 4, 5, 6], dtype=np.int64),
        np.array([2.0, 2.0, first, second, onward], dtype=np.float32),
    )
    return graph_facts(
        AttributionGraph(
            prompt="x",
            tokens=("<bos>", *words, "is"),
            token_ids=(0, 1, 2, 3),
            n_layers=2,
            nodes=nodes,
            node_ids=standard_node_ids(nodes, 2),
            labels=("",) * len(rows),
            edges=edges,
        )
    )


@pytest.mark.parametrize("seed", range(4))
def test_what_a_feature_moves_adds_up_to_its_total_effect(seed: int) -> None:
    facts = graph_facts(random_graph(seed))
    for row in range(len(facts.profiles.nodes)):
        assert facts.moves_answer([row]).sum() == pytest.approx(float(facts.profiles.outputs[row, 0]), abs=1e-4)


@pytest.mark.parametrize(
    ("second", "words", "n_clusters"), [(1.5, ("elm", "elm"), 1), (-1.5, ("elm", "elm"), 2), (1.5, ("elm", "box"), 2)]
)
def test_a_concept_read_twice_is_one_cluster_where_it_does_the_same(
    second: float, words: tuple[str, str], n_clusters: int
) -> None:
    roles: dict[FeatureNode, Role] = {FIRST: "input", SECOND: "input"}
    found = read_again(facts_of(1.0, second, words=words), [[FIRST], [SECOND]], roles)
    assert len(found) == n_clusters
    assert sorted(node for cluster in found for node in cluster) == [FIRST, SECOND]


@pytest.mark.parametrize(("weight", "onward", "expected"), [(-1.0, 3.0, True), (1.0, 3.0, False), (-1.0, -3.0, False)])
def test_a_suppressor_moves_the_answer_down_and_a_suppressor_of_a_rival_does_not(
    weight: float, onward: float, expected: bool
) -> None:
    supernode = Supernode(
        supernode_id="s1", label="x", role="input", members=(FeatureAt.of(FIRST), FeatureAt.of(SECOND)), influence=0.5
    )
    assert opposes(facts_of(weight, weight, onward), supernode) is expected
    assert opposes(facts_of(weight, -weight, onward), supernode) is False


@pytest.mark.parametrize(
    ("shares", "expected"), [((0.02, 0.02, 0.02), 3), ((0.02, 0.02), 0), ((0.05, 0.01, 0.006), 2), ((0.0005,) * 400, 0)]
)
def test_features_come_back_that_carry_enough_together(shares: tuple[float, ...], expected: int) -> None:
    influence = {FeatureNode(1, 2, number): share for number, share in enumerate(shares)}
    assert len(sharing_work(tuple(influence), influence)) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.15, [([0, 1], [2])]), (0.05, [])])
def test_features_that_drive_the_next_step_together_are_a_step(
    share: float, expected: list[tuple[list[int], list[int]]]
) -> None:
    drives = np.zeros((3, 3))
    drives[2, :2] = share
    assert steps_within([0, 1, 2], np.array([0, 0, 1]), drives, 0.2) == expected


def test_what_stands_twice_in_a_pattern_is_no_vote(embedded_toolbox: Toolbox) -> None:
    """13 + 13: both operands do the same, but what stands between them is of another kind."""
    tools = embedded_toolbox.open(InterpretationCase("x", prompt="13 + 13 ="), Budget())
    survey, proposer = make_survey(tools), OfflineProposer()
    supernodes = proposer.group(tools, survey, proposer.label(tools, survey).items).items
    operands = [s for s in supernodes if {m.position for m in s.members} & {1, 3}]
    assert [len({m.position for m in s.members}) for s in operands] == [1, 1]
    assert {m.feature for m in operands[0].members} == {m.feature for m in operands[1].members}
