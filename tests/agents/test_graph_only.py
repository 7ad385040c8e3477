"""Graphs that come alone: the models' laws. Order and numbering change nothing, scale changes nothing, nothing is NaN."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.grouping.feature_links import (
    cosines,
    feature_links,
    identities,
    open_cosines,
    overlaps,
)
from tracescribe.agents.grouping.graph_facts import graph_facts
from tracescribe.agents.grouping.graph_only import (
    MAX_GROUPED,
    clusters_without_evidence,
    importance_without_evidence,
    most_important,
    pair_probabilities,
    read_model,
    shipped_model,
)
from tracescribe.agents.grouping.node_evidence import NODE_EVIDENCE, node_evidence
from tracescribe.agents.grouping.pair_evidence import PAIR_EVIDENCE, pair_evidence
from tracescribe.agents.offline import OfflineProposer, offline_agent
from tracescribe.agents.survey import make_survey
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import WorkError
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, FeatureNode, NodeKind, NodeTable, standard_node_ids
from tracescribe.tracer.prune import node_influence

N_LAYERS = 6
Node = tuple[NodeKind, int, int, int, float]


def made(nodes: list[Node], links: list[tuple[int, int, float]], tokens: tuple[str, ...]) -> AttributionGraph:
    """A graph from (kind, layer, position, feature, activation) rows and (target, source, weight) links."""
    kind, layer, position, feature = (np.array([int(n[i]) for n in nodes], dtype=np.int64) for i in range(4))
    nothing = np.full(len(nodes), np.nan, dtype=np.float32)
    table = NodeTable(kind, layer, position, feature, np.array([n[4] for n in nodes], np.float32), nothing, nothing)
    target, source = (np.array([link[i] for link in links], dtype=np.int64) for i in range(2))
    return AttributionGraph(
        prompt=" ".join(tokens),
        tokens=tokens,
        token_ids=(),
        n_layers=N_LAYERS,
        nodes=table,
        node_ids=standard_node_ids(table, N_LAYERS),
        labels=("",) * len(nodes),
        edges=EdgeTable(target, source, np.array([link[2] for link in links], dtype=np.float32)),
    )


def random_rows(seed: int, n_features: int = 40, n_pos: int = 6) -> tuple[list[Node], list[tuple[int, int, float]]]:
    """Nodes and links of a random graph: links climb layers and never go back in the prompt."""
    rng = np.random.default_rng(seed)
    nodes: list[Node] = [(NodeKind.EMBEDDING, -1, p, 100 + p, np.nan) for p in range(n_pos)]
    nodes += [(NodeKind.LOGIT, N_LAYERS, n_pos - 1, 500 + i, 0.6 / (i + 1)) for i in range(3)]
    numbers = rng.choice(10_000_000, size=n_features, replace=False)
    for i in range(n_features):
        nodes.append((NodeKind.FEATURE, int(rng.integers(N_LAYERS)), int(rng.integers(n_pos)), int(numbers[i]), np.nan))
    links = []
    for target, (_, above, later, _, _) in enumerate(nodes):
        for source, (_, below, earlier, _, _) in enumerate(nodes):
            if below < above and earlier <= later and rng.random() < 0.4:
                links.append((target, source, float(np.round(rng.normal(), 3)) or 0.5))
    return nodes, links


def random_graph(seed: int, n_features: int = 40) -> AttributionGraph:
    nodes, links = random_rows(seed, n_features)
    return made(nodes, links, ("<bos>", "the", " big", " 12", "?", " is"))


def influence_of(graph: AttributionGraph) -> dict[FeatureNode, float]:
    values = node_influence(graph)
    return {node: float(values[index]) for node, index in graph.node_of_feature.items()}


def told(graph: AttributionGraph) -> tuple[set[frozenset[FeatureNode]], dict[FeatureNode, float]]:
    """Groups and importance of every feature of a graph."""
    facts = graph_facts(graph)
    groups = clusters_without_evidence(facts, list(graph.node_of_feature))
    return {frozenset(group) for group in groups}, importance_without_evidence(facts, influence_of(graph))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_a_file_and_the_numbers_of_its_tokens_change_nothing(seed: int) -> None:
    nodes, links = random_rows(seed)
    tokens = ("<bos>", "the", " big", " 12", "?", " is")
    groups, importance = told(made(nodes, links, tokens))
    assert 1 < len(groups) < 40 and len(set(importance.values())) > 20
    rng = np.random.default_rng(seed + 100)
    order = rng.permutation(len(nodes))
    place = np.argsort(order)
    renamed = [
        (n[0], n[1], n[2], n[3] if n[0] == NodeKind.FEATURE else 90_000 - 7 * n[3], n[4])
        for n in (nodes[int(i)] for i in order)
    ]
    shuffled = [(int(place[t]), int(place[s]), w) for t, s, w in (links[int(i)] for i in rng.permutation(len(links)))]
    again = told(made(renamed, shuffled, tokens))
    assert again == (groups, importance)


def test_the_unit_of_the_weights_changes_nothing() -> None:
    nodes, links = random_rows(5)
    tokens = ("<bos>", "the", " big", " 12", "?", " is")
    expected = told(made(nodes, links, tokens))
    assert told(made(nodes, [(t, s, w * 1024) for t, s, w in links], tokens)) == expected


def test_every_evidence_is_a_symmetric_matrix_of_its_name() -> None:
    facts = graph_facts(random_graph(1))
    links = feature_links(facts, list(facts.row_of))
    found = dict(pair_evidence(links))
    assert tuple(found) == PAIR_EVIDENCE
    for name, values in found.items():
        assert values.shape == (40, 40) and np.isfinite(values).all(), name
        np.testing.assert_allclose(values, values.T, atol=1e-9, err_msg=name)
    nodes = node_evidence(facts, influence_of(facts.graph))
    assert nodes.shape == (40, len(NODE_EVIDENCE)) and nodes.min() >= 0 and nodes.max() <= 1


def test_possible_neighbours_are_counted_as_by_hand() -> None:
    graph = random_graph(2)
    facts = graph_facts(graph)
    table, dense = graph.nodes, graph.dense()
    column = node_evidence(facts, influence_of(graph))[:, NODE_EVIDENCE.index("sources_of_possible@graph")]
    share = []
    for index in facts.profiles.nodes:
        possible = (table.layer < table.layer[index]) & (table.position <= table.position[index])
        share.append((dense[index] != 0).sum() / max(1, possible.sum()))
    values = np.array(share, dtype=np.float32)
    expected = np.array(
        [((values < v).sum() + ((values == v).sum() - 1) / 2 + 0.5) / len(values) for v in values], dtype=np.float64
    )
    assert float(np.abs(column - expected).max()) < 1e-12


def degenerate() -> dict[str, AttributionGraph]:
    tokens = ("a", "b")
    ends: list[Node] = [(NodeKind.EMBEDDING, -1, 0, 1, np.nan), (NodeKind.LOGIT, N_LAYERS, 1, 2, 0.9)]
    alike: list[Node] = [(NodeKind.FEATURE, 2, 1, i, np.nan) for i in range(5)]
    straight = [(i, 0, 1.0) for i in range(2, 7)] + [(1, i, 1.0) for i in range(2, 7)]
    return {
        "no links": made(ends + alike, [], tokens),
        "one feature": made([*ends, alike[0]], [(2, 0, 1.0), (1, 2, 1.0)], tokens),
        "two features, no links": made([*ends, *alike[:2]], [], tokens),
        "all alike": made(ends + alike, straight, tokens),
        "links of weight zero": made(ends + alike, [(t, s, 0.0) for t, s, _ in straight], tokens),
    }


@pytest.mark.parametrize("name", list(degenerate()))
def test_a_degenerate_graph_is_grouped_and_ranked_without_nan(name: str) -> None:
    graph = degenerate()[name]
    groups, importance = told(graph)
    nodes = list(graph.node_of_feature)
    assert sorted(node for group in groups for node in group) == sorted(nodes)
    assert set(importance) == set(nodes) and all(np.isfinite(v) for v in importance.values())
    assert clusters_without_evidence(graph_facts(graph), []) == []
    report = offline_agent().interpret(InterpretationCase("x", graph=graph), Toolbox(), Budget())
    assert {i.node.node for i in report.importance} == set(nodes)


def test_missing_activations_and_huge_weights_leave_numbers_finite() -> None:
    graph = random_graph(3)
    huge = replace(
        graph, edges=EdgeTable(graph.edges.target, graph.edges.source, graph.edges.weight * np.float32(1e30))
    )
    assert all(np.isfinite(v) for v in told(huge)[1].values())


def test_one_feature_at_two_positions_stays_in_one_group_and_what_says_words_apart() -> None:
    graph = random_graph(4)
    facts, nodes = graph_facts(graph), list(graph.node_of_feature)
    said = set(nodes[:13])
    for group in clusters_without_evidence(facts, nodes, said):
        assert set(group) <= said or not set(group) & said
    first = nodes[0]
    where = next(n for n in nodes if n.position != first.position)
    feature = graph.nodes.feature.copy()
    feature[graph.node_of_feature[where]] = first.feature
    twins = replace(graph, nodes=replace(graph.nodes, feature=feature))
    groups = clusters_without_evidence(graph_facts(twins), list(twins.node_of_feature))
    home = next(group for group in groups if first in group)
    assert FeatureNode(where.layer, where.position, first.feature) in home


def test_features_that_share_every_link_go_together_and_strangers_do_not() -> None:
    """Two bundles at two words, each read from its own word and feeding its own answer."""
    tokens = ("x", "y", "z")
    nodes: list[Node] = [(NodeKind.EMBEDDING, -1, p, p, np.nan) for p in range(3)]
    nodes += [(NodeKind.LOGIT, N_LAYERS, 2, 50 + i, 0.5 - 0.1 * i) for i in range(2)]
    links: list[tuple[int, int, float]] = []
    bundles: list[set[FeatureNode]] = []
    for word in range(2):
        bundle = set()
        for number in range(6):
            layer = number // 3
            nodes.append((NodeKind.FEATURE, layer, word, 1_000_000 * (word + 1) + number, np.nan))
            links += [(len(nodes) - 1, word, 2.0 + number / 10), (3 + word, len(nodes) - 1, 1.0)]
            bundle.add(FeatureNode(layer, word, 1_000_000 * (word + 1) + number))
        bundles.append(bundle)
    groups, _ = told(made(nodes, links, tokens))
    assert groups == {frozenset(bundle) for bundle in bundles}


def test_a_shared_number_means_one_feature_only_where_numbers_are_many() -> None:
    wide = (FeatureNode(1, 0, 20_000_000), FeatureNode(4, 2, 20_000_000), FeatureNode(4, 2, 3))
    assert len(set(identities(wide).tolist())) == 2
    narrow = tuple(FeatureNode(i % 5, i, i % 7) for i in range(35)) + (FeatureNode(0, 99, 0),)
    key = identities(narrow)
    assert len(set(key.tolist())) == 35 and key[0] == key[-1]


def test_likenesses_against_counts_by_hand() -> None:
    rows = np.array([[1.0, 0.0, 2.0, 0.0], [2.0, 0.0, 4.0, 5.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(cosines(rows)[0, 1], 10 / np.sqrt(5 * 45))
    by_hand = np.array([[1, 2 / 3, 0], [2 / 3, 1, 0], [0, 0, 0]], dtype=np.float64)
    assert float(np.abs(overlaps(rows) - by_hand).max()) < 1e-12
    # only columns below layer 2 can feed both: there the two rows are parallel
    layers, column_layer = np.array([2, 4, 2]), np.array([0, 1, 1, 3])
    found = open_cosines(rows, column_layer, layers, below=True)
    np.testing.assert_allclose(found[0, 1], 1.0)
    np.testing.assert_allclose(found[1, 0], 1.0)
    assert found[0, 2] == found[2, 2] == 0.0
    np.testing.assert_allclose(open_cosines(rows, np.array([5, 5, 5, 3]), layers, below=False)[0, 1], 1.0)


def test_a_large_graph_is_ranked_whole_and_grouped_where_it_matters() -> None:
    rng = np.random.default_rng(0)
    n = 1500
    nodes: list[Node] = [(NodeKind.EMBEDDING, -1, p, p, np.nan) for p in range(10)]
    nodes.append((NodeKind.LOGIT, N_LAYERS, 9, 7, 0.9))
    nodes += [(NodeKind.FEATURE, int(rng.integers(N_LAYERS)), int(rng.integers(10)), i, 1.0) for i in range(n)]
    ends = rng.integers(len(nodes), size=(30_000, 2))
    links = {
        (int(t), int(s)): float(rng.normal())
        for t, s in ends
        if nodes[s][1] < nodes[t][1] and nodes[s][2] <= nodes[t][2]
    }
    graph = made(nodes, [(t, s, w) for (t, s), w in links.items()], tuple("abcdefghij"))
    tools = Toolbox().open(InterpretationCase("x", graph=graph), Budget())
    survey, proposer = make_survey(tools), OfflineProposer()
    importance = proposer.rank(tools, survey, ())
    supernodes = proposer.group(tools, survey, ()).items
    members = [m.node for s in supernodes for m in s.members]
    assert len(importance) == n and len(members) == len(set(members)) == MAX_GROUPED
    assert set(members) == set(most_important(importance))


def test_with_evidence_influence_ranks(embedded_toolbox: Toolbox) -> None:
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    survey = make_survey(tools)
    assert OfflineProposer().rank(tools, survey, ()) == survey.influence


def test_what_ships_are_names_and_numbers_that_fit_the_code() -> None:
    model = shipped_model()
    values = [*model.pair_weights.values(), *model.node_weights.values(), model.pair_intercept]
    assert np.isfinite(values).all() and 0 < model.least < 1
    facts = graph_facts(random_graph(1))
    probability = pair_probabilities(feature_links(facts, list(facts.row_of)), model)
    assert probability.min() >= 0 and probability.max() <= 1
    text = json.dumps(
        {
            "schema": "tracescribe-graph-only/1",
            "pairs": {"intercept": 0.0, "least": 0.5, "weights": {"unheard_of": 1.0}},
            "nodes": {"weights": dict(model.node_weights)},
        }
    )
    with pytest.raises(WorkError, match="does not fit this version: fit it again"):
        read_model(text)
