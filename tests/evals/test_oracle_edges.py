"""Edges decided by measurement: exact on networks whose weights are known, and true of the embedded model."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tracescribe.evals.gold import GoldCircuit, GoldSet
from tracescribe.evals.oracle.agreement import agreement
from tracescribe.evals.oracle.alternatives import MAX_ALTERNATIVES, alternatives
from tracescribe.evals.oracle.building import embedded_stamp
from tracescribe.evals.oracle.direct_effects import EdgeBounds, Effects, decide_edges, measure_effects
from tracescribe.tracer.attribution import attribute
from tracescribe.tracer.edits import ablation
from tracescribe.tracer.embedded.training import world
from tracescribe.tracer.embedded.training.corpus import TASKS, draw
from tracescribe.tracer.graph import AttributionGraph, FeatureNode
from tracescribe.tracer.interventions import intervene
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet

Floats = NDArray[np.float64]
WORDS, HIDDEN, REST = ("E_1_1", "E_2_2"), ("g1", "g2", "g3"), ("rest 0",)


class Chain:
    """A linear network in which every node reads the words and the nodes before it, by known weights."""

    def __init__(self, weights: dict[tuple[str, str], float]) -> None:
        self.weights = weights
        self.names = (*WORDS, *REST, *HIDDEN)
        self.clean = self.run({})

    def run(self, changed: dict[str, float], held: dict[str, float] | None = None) -> dict[str, float]:
        """Values of all nodes; `changed` are set, `held` says what every other one passes on."""
        read: dict[str, float] = {}
        value: dict[str, float] = {}
        for name in self.names:
            inputs = [self.weights.get((before, name), 0.0) * value[before] for before in value]
            read[name] = 1.0 if name in (*WORDS, *REST) else sum(inputs)
            passed = read[name] if held is None else held[name]
            value[name] = changed.get(name, passed)
        return read

    def responses(self, sources: Sequence[str], *, held: bool) -> Floats:
        """Every source is taken to zero, alone."""
        rows = [self.run({source: 0.0}, self.clean if held else None) for source in sources]
        return np.array([[row[name] for name in HIDDEN] for row in rows])

    def effects(self, ends: Sequence[str] = (*WORDS, *HIDDEN)) -> Effects:
        """All pairs, measured."""
        clean = np.array([self.clean[name] for name in HIDDEN])
        return measure_effects(ends, REST, HIDDEN, clean, self.responses)


PLANTED = {
    ("E_1_1", "g1"): 2.0,
    ("E_2_2", "g2"): 1.0,
    ("rest 0", "g2"): 1.0,
    ("g1", "g3"): 3.0,
    ("g2", "g3"): -0.5,
    ("E_2_2", "g3"): 0.05,
}


def test_planted_weights_are_recovered_exactly() -> None:
    effects = Chain(PLANTED).effects()
    values = Chain(PLANTED).clean
    for row, source in enumerate(effects.sources):
        for column, destination in enumerate(effects.destinations):
            expected = PLANTED.get((source, destination), 0.0) * values[source]
            assert effects.direct[row, column] == pytest.approx(expected)
    total = dict(zip(effects.sources, effects.total, strict=False))
    assert total["E_1_1"].tolist() == pytest.approx([2.0, 0.0, 6.0]), "the word reaches g3 through g1"
    assert total["E_2_2"].tolist() == pytest.approx([0.0, 1.0, 0.05 - 0.5])
    assert effects.drives.tolist() == pytest.approx([2.0, 2.0, 6.05])


def test_edges_are_the_planted_ones_with_their_signs() -> None:
    edges = {(e.source, e.destination): e for e in decide_edges(Chain(PLANTED).effects())}
    asked = {pair: edge.sign for pair, edge in edges.items() if edge.status == "asked"}
    assert asked == {("E_1_1", "g1"): 1, ("E_2_2", "g2"): 1, ("g1", "g3"): 1, ("g2", "g3"): -1}
    assert ("E_1_1", "g3") not in edges, "an effect through another end is no edge"
    assert ("E_2_2", "g3") not in edges, "a share of .05 / 6.05 is below the lower bound"
    assert edges["E_2_2", "g2"].share == 0.5, "the rest drives g2 as much, and is no edge"


def test_the_order_and_the_unit_of_what_is_measured_do_not_matter() -> None:
    chain = Chain(PLANTED)
    straight = decide_edges(chain.effects())
    turned = decide_edges(chain.effects((*reversed(HIDDEN), *reversed(WORDS))))
    assert sorted(map(str, straight)) == sorted(map(str, turned))
    effects = chain.effects()
    scaled = Effects(effects.sources, effects.n_ends, effects.destinations, effects.direct * 7.0, effects.total * 7.0)
    assert decide_edges(scaled) == straight


def test_a_story_decides_what_is_asked() -> None:
    effects = Chain(PLANTED).effects()
    story = {("E_1_1", "g1"), ("g1", "g3"), ("E_1_1", "g3"), ("E_1_1", "g2")}
    edges = {(e.source, e.destination): e for e in decide_edges(effects, story=story, by_pattern={("g2", "g3")})}
    assert {pair for pair, e in edges.items() if e.status == "asked" and e.visible} == {("E_1_1", "g1"), ("g1", "g3")}
    assert edges["E_2_2", "g2"].status == "undecided", "real, but outside the story"
    assert edges["E_1_1", "g3"].status == "undecided", "told, with a total effect that other ends mediate"
    assert ("E_1_1", "g2") not in edges, "told, but nothing follows"
    assert not edges["g2", "g3"].visible


def test_an_edge_that_is_undone_on_another_path_is_not_asked() -> None:
    chain = Chain({("E_1_1", "g1"): 1.0, ("E_1_1", "g3"): 1.0, ("g1", "g3"): -1.0, ("rest 0", "g3"): 2.0})
    told = {("E_1_1", "g1"), ("E_1_1", "g3"), ("g1", "g3")}
    with_story = {(e.source, e.destination): e.status for e in decide_edges(chain.effects(), story=told)}
    assert with_story["E_1_1", "g3"] == "undecided"
    alone = {(e.source, e.destination): e.status for e in decide_edges(chain.effects())}
    assert alone["E_1_1", "g3"] == "asked", "where weights were written, the path is there"


def test_bounds_are_shares_of_the_drive() -> None:
    direct = np.array([[0.10], [0.0999], [0.03], [0.0299], [0.7402]])
    effects = Effects(("g1", "g2", "g3", "g4", "rest"), 4, ("9_9_9",), direct, direct[:4])
    edges = decide_edges(effects, bounds=EdgeBounds(asked=0.1, undecided=0.03))
    assert [(e.source, e.status) for e in edges] == [("g1", "asked"), ("g2", "undecided"), ("g3", "undecided")]
    nothing = Effects(("g1",), 1, ("g2",), np.zeros((1, 1)), np.zeros((1, 1)))
    assert decide_edges(nothing) == ()


# -- the embedded model -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dallas(oracle_gold: GoldSet) -> GoldCircuit:
    found = oracle_gold.of_prompt("the capital of the state containing Dallas is")
    assert found is not None
    return found


def pairs_of(circuit: GoldCircuit) -> dict[tuple[str, str], str]:
    """Status of each edge by its ends: variables, words, `logit`."""
    name = {s.supernode_id: s.concept.split("=")[0] for s in circuit.supernodes}
    words = {f"E_{e.source.split('_')[1]}_{e.source.split('_')[2]}": int(e.source.split("_")[2])
             for e in circuit.edges if e.source.startswith("E_")}  # fmt: skip
    name |= {node: circuit.tokens[position] for node, position in words.items()}
    return {(name[e.source], name.get(e.destination, "logit")): e.status for e in circuit.edges if e.visible}


def test_the_dallas_circuit_has_its_edges(dallas: GoldCircuit) -> None:
    pairs = pairs_of(dallas)
    asked = {pair for pair, status in pairs.items() if status == "asked"}
    words = {("capital", "relation"), ("Dallas", "state")}
    assert asked == {*words, ("state", "answer"), ("relation", "answer"), ("answer", "logit")}
    assert ("Dallas", "relation") not in pairs and ("of", "state") not in pairs


def test_edges_of_every_task_are_measured_where_the_causal_model_has_them(oracle_gold: GoldSet) -> None:
    """The main paths of each task's causal model, which no measurement was told of beyond which to ask for."""
    paths = {
        "states": ("state", "answer"),
        "countries": ("country", "answer"),
        "antonyms": ("meaning", "answer"),
        "addition": ("sum", "answer"),
        "people": ("sport", "answer"),
    }
    for task in TASKS:
        circuits = [c for c in oracle_gold.circuits if c.family == task]
        seen = Counter(pair for c in circuits for pair, status in pairs_of(c).items() if status == "asked")
        assert seen["answer", "logit"] >= 0.95 * len(circuits), task
        if task in paths:
            assert seen[paths[task]] >= 0.9 * len(circuits), task
    copied = [c for c in oracle_gold.circuits if c.family == "indirect_objects"]
    assert all(pairs_of(c).get((c.targets[0].token, "answer")) == "asked" for c in copied), "the name is copied"


def test_the_tracer_measures_the_same_direct_effects(dallas: GoldCircuit, dallas_graph: AttributionGraph) -> None:
    """Another implementation: the graph's edges from two supernodes to a third stand in the ratio of gold's shares."""
    by_variable = {s.concept.split("=")[0]: s for s in dallas.supernodes}
    (answer,) = by_variable["answer"].members
    target = dallas_graph.index(answer)
    weights, shares = [], []
    for variable in ("state", "relation"):
        sources = {dallas_graph.index(member) for member in by_variable[variable].members}
        edges = dallas_graph.edges
        weights.append(
            sum(
                float(w)
                for t, s, w in zip(edges.target, edges.source, edges.weight, strict=True)
                if t == target and s in sources
            )
        )
        ends = (by_variable[variable].supernode_id, by_variable["answer"].supernode_id)
        shares.append(next(e.share for e in dallas.edges if (e.source, e.destination) == ends))
    assert shares[0] is not None and shares[1] is not None
    assert weights[0] / weights[1] == pytest.approx(shares[0] / shares[1], rel=0.02)


def test_total_effects_are_what_interventions_do(
    dallas: GoldCircuit, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    """The tracer clears each supernode: the answer's logit falls in the ratio of gold's total effects on it."""
    members = {s.supernode_id: s.members for s in dallas.supernodes}
    edges = [e for e in dallas.edges if e.source in members and e.destination == dallas.targets[0].node_id]
    tokens = embedded_model.encode(dallas.prompt)
    rows = [ablation([_node(member) for member in members[edge.source]]) for edge in edges]
    result = intervene(embedded_model, embedded_transcoders, tokens, rows)
    token = embedded_model.token_id(dallas.targets[0].token)
    clean, after = result.clean_logits[-1], result.logits[:, -1]
    fall = ((clean[token] - clean.mean()) - (after[:, token] - after.mean(-1))).tolist()
    totals = [edge.total or 0.0 for edge in edges]
    assert len(edges) == 3, "state, relation and answer"
    assert [x / fall[0] for x in fall] == pytest.approx([x / totals[0] for x in totals], rel=0.01)


def _node(name: str) -> FeatureNode:
    layer, feature, position = (int(part) for part in name.split("_"))
    return FeatureNode(layer, position, feature)


def test_gold_stands_for_the_installed_weights(dallas: GoldCircuit) -> None:
    assert dallas.stamp == embedded_stamp()


def test_every_edge_is_measured_and_follows_its_own_bounds(oracle_gold: GoldSet) -> None:
    bounds = EdgeBounds()
    for circuit in oracle_gold.circuits:
        for edge in circuit.edges:
            assert edge.share is not None and edge.total is not None
            if edge.visible and edge.status == "asked":
                assert edge.sign * edge.share >= bounds.asked - 1e-3, (circuit.gold_id, edge)
                assert edge.sign * edge.total >= bounds.undecided - 1e-3, (circuit.gold_id, edge)
            assert edge.source != edge.destination
            assert edge.source.startswith("g") or not edge.source.endswith("_0"), "`<bos>` tells nothing"


def test_attribution_covers_every_asked_edge(
    oracle_gold: GoldSet, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    """Asked edges can be seen: in a graph of the prompt, source and destination are joined with gold's sign."""
    seen: Counter[bool] = Counter()
    for circuit in [c for c in oracle_gold.circuits if "second_draw" in c.tags][::6]:
        graph = attribute(embedded_model, embedded_transcoders, circuit.prompt)
        members = {s.supernode_id: s.members for s in circuit.supernodes}
        for edge in circuit.edges:
            if not edge.visible or edge.status != "asked" or not edge.source.startswith("g"):
                continue
            sources = {graph.index(node) for node in members[edge.source]}
            targets = {graph.index(node) for node in members.get(edge.destination, (edge.destination,))}
            joined = [
                float(w)
                for t, s, w in zip(graph.edges.target, graph.edges.source, graph.edges.weight, strict=True)
                if t in targets and s in sources
            ]
            if sources and targets:
                seen[sum(joined) * edge.sign > 0] += 1
    assert seen[True] >= 20 and seen[False] == 0


def test_most_of_the_causal_model_is_measured(oracle_gold: GoldSet) -> None:
    """Four of five pairs that the causal model connects are seen, and hardly one in six of the others is real."""
    total = sum(agreement(oracle_gold).values(), Counter[str]())
    story = {kind: count for kind, count in total.items() if kind.startswith("story")}
    other = {kind: count for kind, count in total.items() if kind.startswith("other")}
    assert story["story, asked"] >= 0.75 * sum(story.values())
    assert other["other, undecided"] <= 0.17 * sum(other.values())
    assert "other, asked" not in other
    assert total["story, asked"] + total["by pattern"] == sum(
        edge.status == "asked" and not _nameless(circuit) & {edge.source, edge.destination}
        for circuit in oracle_gold.circuits
        for edge in circuit.edges
    )


def _nameless(circuit: GoldCircuit) -> set[str]:
    return {s.supernode_id for s in circuit.supernodes if not s.members}


def test_a_word_is_changed_to_words_of_its_sort_that_mean_something_else() -> None:
    dallas = draw(random.Random(0), "states", {"kind": "two_hop", "state": "Texas", "city": "Dallas"})
    cities = {city for place in world.STATES.values() for city in place.cities}
    for seed in range(5):
        found = alternatives(random.Random(seed), dallas, dallas.roles["city"])
        assert len(found) == MAX_ALTERNATIVES and set(found) <= cities - set(world.STATES["Texas"].cities)
        assert found == alternatives(random.Random(seed), dallas, dallas.roles["city"])
    fixed = {"kind": "antonym", "language": "French", "input_language": "French"}
    french = draw(random.Random(0), "antonyms", fixed)
    frame = next(p for p in range(1, french.answer) if p not in (french.roles["word"], french.roles["operation"]))
    assert not {"le", "est"} & set(alternatives(random.Random(0), french, frame)), "the frame tells the language"
