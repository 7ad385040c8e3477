"""Grouping: pure in role and place; and the edges of the circuit add up."""

from __future__ import annotations

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import Supernode
from tracescribe.agents.grouping.circuit_edges import circuit_edges
from tracescribe.agents.grouping.graph_facts import graph_facts
from tracescribe.agents.grouping.supernodes import combining_share, group_features
from tracescribe.agents.offline import OfflineProposer, by_feature
from tracescribe.agents.report import CircuitReport
from tracescribe.agents.survey import make_survey
from tracescribe.agents.testing.donors import DonorSettings, find_donors
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.graph import AttributionGraph, NodeKind

PROMPTS = (DALLAS, "le contraire de big est", "7 + 5 =", "in Turkey , the language is")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_supernodes_are_pure_and_share_no_member(embedded_toolbox: Toolbox, prompt: str) -> None:
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=prompt), Budget())
    survey, proposer = make_survey(tools), OfflineProposer()
    labels = proposer.label(tools, survey).items
    supernodes = group_features(tools, survey, by_feature(labels), proposer.groups)
    members = [m.node for s in supernodes for m in s.members]
    assert len(members) == len(set(members)) > 0
    assert set(members) <= set(survey.features)
    last = survey.full.n_pos - 1
    for supernode in supernodes:
        positions = {m.position for m in supernode.members}
        if supernode.role in ("output", "suppressor"):
            assert positions == {last}
        if supernode.role in ("input", "relation"):
            assert len(positions) == 1
            assert supernode.label == survey.full.tokens[positions.pop()]
    shares = [s.influence for s in supernodes]
    assert shares == sorted(shares, reverse=True)


def test_relations_combine_with_more_words_than_things_do(embedded_toolbox: Toolbox) -> None:
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    relations = [combining_share(tools, word) for word in ("capital", "bird", "language", "currency")]
    things = [combining_share(tools, word) for word in ("Texas", "Egypt", "Dallas", "Mary", "five")]
    assert min(relations) > max(things)
    assert combining_share(tools, "nowhere-to-be-found") == 0.0


def test_edges_of_the_circuit_are_sums_of_edges_of_the_graph(dallas_graph: AttributionGraph) -> None:
    features = [dallas_graph.feature_node(int(i)) for i in dallas_graph.of_kind(NodeKind.FEATURE)]
    first = [n for n in features if n.layer == 0]
    last = [n for n in features if n.layer == 2]
    supernodes = [
        Supernode(supernode_id=f"s{i}", label="x", role="other", members=tuple(FeatureAt.of(n) for n in nodes))
        for i, nodes in enumerate((first, last), 1)
    ]
    dense = dallas_graph.dense()
    rows = [dallas_graph.node_of_feature[n] for n in last]
    columns = [dallas_graph.node_of_feature[n] for n in first]
    expected = float(dense[np.ix_(rows, columns)].astype(np.float64).sum())
    edges = {(e.source, e.destination): e.weight for e in circuit_edges(dallas_graph, supernodes)}
    assert edges["s1", "s2"] == pytest.approx(expected, rel=1e-5)
    assert ("s2", "s1") not in edges
    logit = dallas_graph.node_ids[int(dallas_graph.target_logit or 0)]
    assert edges["s2", logit] == pytest.approx(float(dense[dallas_graph.index(logit), rows].sum()), rel=1e-5)


def test_donors_change_only_what_feeds_the_supernode(embedded_toolbox: Toolbox, dallas_report: CircuitReport) -> None:
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    facts = graph_facts(tools.full)
    texas = next(s for s in dallas_report.supernodes if s.label == "Texas")
    donors = find_donors(tools, facts, texas, DonorSettings())
    assert len(donors) == DonorSettings().donors_per_supernode
    city = tools.full.tokens.index("Dallas")
    for donor in donors:
        assert [position for position, _ in donor.changed] == [city]
        assert donor.expected_token != "Austin" and donor.probability >= 0.5
        assert {f.position for f in donor.features} == {city}
        assert not {f.ref for f in donor.features} & {m.ref for m in texas.members}
    assert find_donors(tools, facts, texas, DonorSettings()) == donors
