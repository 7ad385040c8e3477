"""Laws that hold for every trace, graph and pruning, on examples drawn by Hypothesis (the same ones in every run)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tests.tracer.exact_cases import Case, dense, make_case, relative, tolerances
from tests.tracer.test_families_exact import KINDS, POINTS
from tests.tracer.tiny_families import FAMILIES
from tests.tracer.tiny_transcoders import TranscoderShape
from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens
from tracescribe.tracer.edits import FeatureEdit, InterventionSettings
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, NodeKind, NodeTable, standard_node_ids
from tracescribe.tracer.graph_json import parse_graph, to_json
from tracescribe.tracer.interventions import intervene
from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.prune import (
    PruneSettings,
    graph_scores,
    node_influence,
    prune,
    prune_masks,
    threshold_score,
)
from tracescribe.tracer.transcoders import load_transcoders


def laws(n: int) -> settings:
    """The same `n` examples in every run; a law that fails is not searched for a smaller failure for minutes."""
    return settings(
        max_examples=n, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )


# --- traces of random models -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A random pair and prompt, before they are written to disk."""

    family: str
    shape: TranscoderShape
    n_layers: int
    heads: tuple[int, int]
    n_pos: int
    seed: int

    def write(self, folder: Path) -> Case:
        """Models and transcoders as files, in a folder of their own."""
        place = folder / f"{len(list(folder.iterdir()))}"
        place.mkdir()
        config = {
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.heads[0],
            "num_key_value_heads": self.heads[1],
        }
        return make_case(place, self.family, self.shape, n_pos=self.n_pos, seed=self.seed, **config)


@st.composite
def pairs(draw: st.DrawFn) -> Drawn:
    """Any family, any kind of transcoders, at any pair of points, of any small shape."""
    seed = draw(st.integers(0, 1000))
    shape = draw(st.sampled_from(list(KINDS.values())))
    width, share = draw(st.integers(4, 24)), draw(st.sampled_from([0.1, 0.3]))
    shape = dataclasses.replace(shape, n_features=width, share=share, seed=seed, silent_position=None)
    if shape.kind != "sparsify":  # the format has its points
        reads, writes = draw(st.sampled_from(POINTS))
        shape = dataclasses.replace(shape, reads=reads, writes=writes)
    heads = draw(st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)]))
    return Drawn(draw(st.sampled_from(FAMILIES)), shape, draw(st.integers(1, 4)), heads, draw(st.integers(2, 11)), seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the drawn pairs lie."""
    return tmp_path_factory.mktemp("drawn")


@given(drawn=pairs(), zero_positions=st.integers(0, 2))
@laws(20)
def test_edges_and_bias_sum_to_what_the_model_computes(folder: Path, drawn: Drawn, zero_positions: int) -> None:
    """Conservation: nothing reaches a target but by an edge or as a constant."""
    case = drawn.write(folder)
    graph = attribute_tokens(*case.open(), case.tokens, AttributionSettings(zero_positions=zero_positions))
    values = case.oracle(zero_positions=zero_positions).values.numpy()
    targets = np.concatenate([graph.of_kind(NodeKind.FEATURE), graph.of_kind(NodeKind.LOGIT)])
    total = (dense(graph).sum(1) + graph.nodes.bias)[targets]
    assert relative(total, values[targets]) <= tolerances(graph)["bias"]


@given(drawn=pairs(), batch_size=st.integers(1, 40))
@laws(12)
def test_batch_size_and_threads_change_nothing(folder: Path, drawn: Drawn, batch_size: int) -> None:
    case = drawn.write(folder)
    single = load_model(case.model_folder), load_transcoders(case.transcoder_folder)
    for pair, tolerance in ((case.open(), 1e-12), (single, 1e-6)):
        graph = attribute_tokens(*pair, case.tokens)
        batched = attribute_tokens(*pair, case.tokens, AttributionSettings(batch_size=batch_size))
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(2)
            threaded = attribute_tokens(*pair, case.tokens)
        finally:
            torch.set_num_threads(threads)
        for other in (batched, threaded):
            assert other.node_ids == graph.node_ids
            assert relative(dense(other), dense(graph)) <= tolerance


@given(drawn=pairs())
@laws(12)
def test_nothing_flows_from_later_positions_or_from_layers_that_are_not_below(folder: Path, drawn: Drawn) -> None:
    case = drawn.write(folder)
    graph = attribute_tokens(*case.open(), case.tokens)
    table, target, source = graph.nodes, graph.edges.target, graph.edges.source
    assert len(graph.edges) > 0
    assert (table.position[source] <= table.position[target]).all()
    assert (table.layer[source] < table.layer[target]).all()
    assert np.isin(table.kind[target], [NodeKind.FEATURE, NodeKind.LOGIT]).all()
    assert not np.isin(table.kind[source], [NodeKind.LOGIT]).any()


@given(drawn=pairs(), data=st.data())
@laws(15)
def test_a_direct_intervention_moves_logits_and_features_by_the_edges(
    folder: Path, drawn: Drawn, data: st.DataObject
) -> None:
    """Twice the activation, everything else frozen: each target moves by exactly the feature's edge."""
    case = drawn.write(folder)
    model, transcoders = case.open()
    graph = attribute_tokens(model, transcoders, case.tokens)
    features, logits = graph.of_kind(NodeKind.FEATURE), graph.of_kind(NodeKind.LOGIT)
    if not len(features):
        return
    chosen = data.draw(st.lists(st.sampled_from(features.tolist()), min_size=1, max_size=4, unique=True))
    activations = case.oracle().activations
    rows = [[FeatureEdit(*_edited(graph, index), 2 * float(activations[index]))] for index in chosen]
    nodes = [graph.feature_node(int(i)) for i in features]
    result = intervene(model, transcoders, case.tokens, rows, InterventionSettings("direct"), read=nodes)
    after, before = (uncapped(model, x) for x in (result.logits[:, -1], result.clean_logits[-1]))
    moved = after - before - (after - before).mean(-1, keepdim=True)
    edges = dense(graph)
    tokens = torch.from_numpy(graph.nodes.feature[logits].astype(np.int64))
    expected = edges[np.ix_(logits, chosen)].T
    assert np.abs(moved[:, tokens].numpy() - expected).max() <= 1e-9 * max(np.abs(moved.numpy()).max(), 1e-3)
    # a read-out shows the pre-activation as long as the feature stays active
    changed = (result.activations - result.clean_activations).numpy()
    alive = (result.activations != 0).numpy()
    into = edges[np.ix_(features, chosen)].T
    scale = max(np.abs(into).max(), 1e-3)
    assert np.abs(changed - into)[alive].max(initial=0.0) <= 1e-9 * scale


def _edited(graph: AttributionGraph, index: int) -> tuple[int, int, int]:
    node = graph.feature_node(index)
    return node.layer, node.position, node.feature


def uncapped(model: LanguageModel, logits: Tensor) -> Tensor:
    """Logits before the model's soft-cap."""
    cap = model.architecture.logit_softcap
    return logits if cap is None else cap * torch.atanh(logits / cap)


# --- graphs drawn at random, without a model ---------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)


@st.composite
def graphs(draw: st.DrawFn) -> AttributionGraph:
    """A layered graph: features, errors, tokens and logits, with any weights between layers that climb."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n_layers, n_pos, n_logits = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    places = sorted({(int(a), int(b), int(c)) for a, b, c in rng.integers(0, (n_layers, n_pos, 50), (12, 3))})
    places = places[: draw(st.integers(0, 12))]
    layer, position = np.divmod(np.arange(n_layers * n_pos), n_pos)
    counts = (len(places), n_layers * n_pos, n_pos, n_logits)
    token_ids = rng.integers(0, 90, n_pos)
    feature = np.array(places, dtype=np.int64).reshape(-1, 3)
    known = np.concatenate([np.ones(counts[0]), np.full(counts[1] + counts[2], np.nan), np.ones(n_logits)])
    nodes = NodeTable(
        kind=np.repeat(np.array([*NodeKind], dtype=np.int64), counts),
        layer=np.concatenate([feature[:, 0], layer, np.full(n_pos, -1), np.full(n_logits, n_layers)]),
        position=np.concatenate([feature[:, 1], position, np.arange(n_pos), np.full(n_logits, n_pos - 1)]),
        feature=np.concatenate([feature[:, 2], np.full(counts[1], -1), token_ids, rng.permutation(90)[:n_logits]]),
        activation=(known * rng.uniform(0.01, 1 / n_logits, sum(counts))).astype(np.float32),
        influence=np.full(sum(counts), np.nan, dtype=np.float32),
        bias=(known * rng.normal(size=sum(counts))).astype(np.float32),
    )
    climbs = nodes.layer[:, None] > nodes.layer
    climbs &= nodes.position[:, None] >= nodes.position
    climbs &= np.isin(nodes.kind, [NodeKind.FEATURE, NodeKind.LOGIT])[:, None]
    target, source = np.nonzero(climbs & (rng.random(climbs.shape) < draw(st.sampled_from([0.2, 0.6, 1.0]))))
    return AttributionGraph(
        prompt=draw(WORDS),
        tokens=tuple(draw(st.lists(WORDS, min_size=n_pos, max_size=n_pos))),
        token_ids=tuple(token_ids.tolist()),
        n_layers=n_layers,
        nodes=nodes,
        node_ids=standard_node_ids(nodes, n_layers),
        labels=tuple(draw(WORDS) if draw(st.booleans()) else "" for _ in range(sum(counts))),
        edges=EdgeTable(target, source, rng.standard_cauchy(len(target)).astype(np.float32)),
        provenance={"seed": None},
    )


SHARES = st.sampled_from([0.05, 0.3, 0.5, 0.77, 0.8, 0.95, 0.98, 1.0])


@given(graph=graphs(), node_share=SHARES, shares=st.tuples(SHARES, SHARES))
@laws(150)
def test_a_higher_edge_threshold_keeps_all_that_a_lower_one_keeps(
    graph: AttributionGraph, node_share: float, shares: tuple[float, float]
) -> None:
    """Exactly, for nodes and edges: scores do not depend on the edge threshold, and what dangles in more edges dangles
    in fewer."""
    low, high = (prune_masks(graph, PruneSettings(node_share, share)) for share in sorted(shares))
    assert (high.nodes | ~low.nodes).all()
    assert (high.edges | ~low.edges).all()


@given(graph=graphs(), edge_share=SHARES, shares=st.tuples(SHARES, SHARES))
@laws(150)
def test_a_higher_node_threshold_lets_more_nodes_in(
    graph: AttributionGraph, edge_share: float, shares: tuple[float, float]
) -> None:
    """For the nodes that influence lets in. Of the kept ones it would not hold: a node that comes in takes its share of
    every row that it feeds, and an edge beside it may fall below the cut-off."""
    influence = node_influence(graph)
    fixed = np.isin(graph.nodes.kind, [NodeKind.EMBEDDING, NodeKind.LOGIT])
    admitted = []
    for share in sorted(shares):
        let_in = influence >= threshold_score(influence, share)
        assert influence[let_in].sum() >= share * influence.sum() * (1 - 1e-9)
        kept = prune_masks(graph, PruneSettings(share, edge_share)).nodes
        assert (let_in | fixed | ~kept).all(), "kept, but neither influential enough nor fixed"
        assert (kept | ~fixed).all(), "tokens and logits stay"
        admitted.append(let_in)
    assert (admitted[1] | ~admitted[0]).all()


@given(
    scores=st.lists(st.one_of(st.floats(0, 1e6), st.sampled_from([0.0, 1.0, 2.0])), min_size=1, max_size=60),
    share=SHARES,
    at_once=st.sampled_from([1, 5, 1 << 20]),
)
@laws(200)
def test_a_cut_off_is_the_largest_above_which_the_share_is_held(
    scores: list[float], share: float, at_once: int
) -> None:
    """Whether all scores are sorted at once or halved until few are left."""
    values = np.array(scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tracescribe.tracer.prune.SORTED_AT_ONCE", at_once)
        cut_off = threshold_score(values, share)
    wanted = share * values.sum()
    assert values[values >= cut_off].sum() >= wanted * (1 - 1e-12)
    assert values[values > cut_off].sum() <= wanted * (1 + 1e-12)
    assert cut_off in (0.0, *scores)


@given(graph=graphs(), node_share=SHARES, edge_share=SHARES)
@laws(150)
def test_what_is_kept_hangs_together(graph: AttributionGraph, node_share: float, edge_share: float) -> None:
    masks = prune_masks(graph, PruneSettings(node_share, edge_share))
    target, source = graph.edges.target[masks.edges], graph.edges.source[masks.edges]
    assert masks.nodes[target].all() and masks.nodes[source].all()
    feature, error = graph.of_kind(NodeKind.FEATURE), graph.of_kind(NodeKind.ERROR)
    assert np.isin(feature[masks.nodes[feature]], target).all(), "a kept feature without a kept input"
    inner = np.concatenate([feature, error])
    assert np.isin(inner[masks.nodes[inner]], source).all(), "a kept feature or error that leads nowhere"


@given(graph=graphs(), node_share=SHARES, edge_share=SHARES, seed=st.integers(0, 1000))
@laws(150)
def test_the_order_of_nodes_does_not_matter(
    graph: AttributionGraph, node_share: float, edge_share: float, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(graph.n_nodes)  # the node that stands at each new place
    place = np.argsort(order)
    shuffled = dataclasses.replace(
        graph,
        nodes=graph.nodes.take(order),
        node_ids=tuple(graph.node_ids[i] for i in order),
        labels=tuple(graph.labels[i] for i in order),
        edges=EdgeTable(place[graph.edges.target], place[graph.edges.source], graph.edges.weight),
    )
    assert relative(node_influence(shuffled), node_influence(graph)[order]) < 1e-12
    assert relative(dataclasses.astuple(graph_scores(shuffled)), dataclasses.astuple(graph_scores(graph))) < 1e-12
    # sums in another order differ in the last digit: shares that a sum meets exactly, as 1.0 does, may then cut elsewhere
    settings = PruneSettings(min(node_share, 0.987), min(edge_share, 0.987))
    first, second = prune_masks(graph, settings), prune_masks(shuffled, settings)
    assert (second.nodes == first.nodes[order]).all()
    assert _pairs(shuffled, second.edges, order) == _pairs(graph, first.edges, np.arange(graph.n_nodes))


def _pairs(graph: AttributionGraph, mask: NDArray[np.bool_], names: NDArray[np.int64]) -> set[tuple[int, int]]:
    target, source = names[graph.edges.target[mask]], names[graph.edges.source[mask]]
    return set(zip(target.tolist(), source.tolist(), strict=True))


@given(graph=graphs(), pruned=st.booleans())
@laws(150)
def test_a_graph_file_reads_back_as_the_same_graph(graph: AttributionGraph, pruned: bool) -> None:
    graph = prune(graph) if pruned else graph
    document = to_json(graph, slug="drawn")
    read = parse_graph(json.dumps(document).encode())
    for name in ("prompt", "tokens", "token_ids", "n_layers", "node_ids", "labels", "scores"):
        assert getattr(read, name) == getattr(graph, name), name
    for column in dataclasses.fields(graph.nodes):
        expected = getattr(graph.nodes, column.name).copy()
        if column.name == "influence":  # files hold none for logits
            expected[graph.of_kind(NodeKind.LOGIT)] = np.nan
        assert np.array_equal(getattr(read.nodes, column.name), expected, equal_nan=True), column.name
    assert np.array_equal(dense(read), dense(graph))
    assert len(read.edges) == len(graph.edges)
    assert to_json(read) == document
