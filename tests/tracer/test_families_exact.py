"""Every family with every kind of transcoders: the tracer in float64 against autograd, to 1e-9 of the largest edge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from tests.tracer import dense_reference
from tests.tracer.autograd_oracle import open_hugging_face, read_transcoders, trace_by_autograd
from tests.tracer.exact_cases import EXACT, Case, dense, faults, make_case, node_counts, relative, wrongly_pruned
from tests.tracer.tiny_families import FAMILIES
from tests.tracer.tiny_transcoders import TranscoderShape
from tracescribe.tracer import sweep
from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens
from tracescribe.tracer.graph import NodeKind
from tracescribe.tracer.local_replacement import replace_locally
from tracescribe.tracer.prune import PruneSettings
from tracescribe.tracer.transcoders import load_transcoders

KINDS = {
    "CLT, ReLU": TranscoderShape("clt", "relu", silent_position=4),
    "CLT, JumpReLU": TranscoderShape("clt", "jumprelu"),
    "per layer with skip, ReLU": TranscoderShape("plt", "relu", skip=True, silent_position=2),
    "per layer, TopK": TranscoderShape("plt", "topk"),
    "per layer, JumpReLU": TranscoderShape("plt", "jumprelu"),
    "sparsify with skip, ReLU then TopK": TranscoderShape("sparsify", "topk", skip=True),
}
POINTS = (
    ("hook_resid_mid", "mlp.hook_out"),
    ("mlp.hook_in", "hook_mlp_out"),
    ("ln2.hook_normalized", "mlp.hook_out"),
    ("hook_resid_mid", "hook_mlp_out"),
    ("mlp.hook_in", "mlp.hook_out"),
    ("ln2.hook_normalized", "hook_mlp_out"),
)


def shape_of(family: str, kind: str) -> TranscoderShape:
    """A kind at a pair of points: those of a family take up to all six in turn, and so do those of a kind."""
    shape = KINDS[kind]
    if shape.kind == "sparsify":  # the format has its points
        return shape
    reads, writes = POINTS[(FAMILIES.index(family) + list(KINDS).index(kind)) % len(POINTS)]
    return TranscoderShape(**{**vars(shape), "reads": reads, "writes": writes})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models lie: each family's is written once."""
    return tmp_path_factory.mktemp("families")


def case_of(place: Path, family: str, kind: str) -> Case:
    folder = place / family
    folder.mkdir(exist_ok=True)
    return make_case(folder, family, shape_of(family, kind), seed=FAMILIES.index(family))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_is_the_one_that_autograd_gives(place: Path, family: str, kind: str) -> None:
    case = case_of(place, family, kind)
    model, transcoders = case.open()
    graph, oracle = attribute_tokens(model, transcoders, case.tokens), case.oracle()
    assert faults(graph, oracle) == []
    assert graph.edges.weight.dtype == np.float64
    written = replace_locally(model, transcoders, case.tokens).error_vectors
    assert relative(written, oracle.errors) <= EXACT
    assert not written[:, 0].any() and (oracle.active[:, 1] > 0).all()
    # the case is worth something: features fire, not all of them, and edges reach from the first layer to the top
    targets = ~oracle.values.isnan()
    assert relative(oracle.frozen_values[targets], oracle.values[targets]) < 1e-12, "the frozen pass is the model's own"
    share = len(oracle.active) / (len(case.tokens) * sum(transcoders.n_features))
    assert 0.08 < share < 0.35
    counts = node_counts(oracle)
    lowest = np.flatnonzero(oracle.active[:, 0] == 0)
    assert oracle.adjacency[counts.of("logits")][:, lowest].all()
    assert oracle.adjacency.count_nonzero() > 800


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_in_float64_is_the_one_of_transformers(place: Path, family: str) -> None:
    case = case_of(place, family, "CLT, ReLU")
    model, _ = case.open()
    with torch.no_grad():
        own = cast(Any, model.hf)(input_ids=case.tokens[None]).logits
        theirs = cast(Any, open_hugging_face(case.model_folder))(input_ids=case.tokens[None]).logits
    assert relative(own, theirs) < 1e-5, "transformers takes norms and attention in float32"
    assert relative(own[0, -1], case.oracle().logits) <= EXACT


@pytest.mark.parametrize("family", FAMILIES)
def test_pruning_scores_and_a_node_budget_follow_from_the_edges(place: Path, family: str) -> None:
    case = case_of(place, family, "CLT, JumpReLU")
    model, transcoders = case.open()
    oracle = case.oracle()
    adjacency, counts = oracle.adjacency.numpy(), node_counts(oracle)
    probabilities = oracle.logit_probabilities.numpy()
    graph = attribute_tokens(model, transcoders, case.tokens)
    assert graph.scores is not None
    found = (graph.scores.replacement, graph.scores.completeness)
    assert relative(found, dense_reference.scores(adjacency, counts, probabilities)) < 1e-6
    expected = dense_reference.cumulative(adjacency, counts, probabilities)
    assert relative(graph.nodes.influence, expected) < 1e-5
    for thresholds in ((0.8, 0.98), (0.95, 0.6)):
        pruned = dense_reference.prune(adjacency, counts, probabilities, *thresholds)
        assert wrongly_pruned(graph, PruneSettings(*thresholds), pruned) == []
        assert 0 < pruned.edges.sum() < np.count_nonzero(adjacency)
    settings = AttributionSettings(max_feature_nodes=30, batch_size=3, update_interval=2)
    kept = dense_reference.within_budget(adjacency, counts, probabilities, budget=30, step=6)
    assert kept != sorted(np.argsort(-oracle.activations.numpy())[:30]) and len(kept) == 30 < len(oracle.active)
    budgeted = attribute_tokens(model, transcoders, case.tokens, settings)
    assert [f for f in faults(budgeted, oracle, np.array(kept)) if "bias" not in f] == []


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "mistral"])
@pytest.mark.parametrize("zero_positions", [0, 3])
def test_masked_positions_are_a_setting(place: Path, family: str, zero_positions: int) -> None:
    case = case_of(place, family, "per layer with skip, ReLU")
    settings = AttributionSettings(zero_positions=zero_positions)
    graph = attribute_tokens(*case.open(), case.tokens, settings)
    assert faults(graph, case.oracle(zero_positions=zero_positions)) == []
    assert int(graph.nodes.position[graph.of_kind(NodeKind.FEATURE)].min()) == zero_positions


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
@pytest.mark.parametrize("keeps_images", [True, False])
def test_prompts_longer_than_the_tiles_of_a_pattern(
    place: Path, family: str, keeps_images: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sliding windows of 4 leave whole tiles of the pattern empty; positions at the edges of tiles count all the same."""
    if not keeps_images:
        monkeypatch.setattr(sweep, "TOKEN_MAP_BYTES", 0)
    folder = place / f"long {family} {keeps_images}"
    folder.mkdir()
    shape = TranscoderShape("clt", "relu", n_features=3, share=0.1)
    case = make_case(folder, family, shape, n_pos=133, seed=1, max_position_embeddings=256)
    settings = AttributionSettings(max_n_logits=2)
    graph, oracle = attribute_tokens(*case.open(), case.tokens, settings), case.oracle(max_n_logits=2)
    assert len(oracle.active) > 100
    assert faults(graph, oracle) == []


@pytest.mark.parametrize("family", ["gemma2", "gpt2"])
def test_given_targets_are_combinations_of_logits(place: Path, family: str) -> None:
    """A difference of two logits has the difference of their edges; a given token has its own."""
    case = case_of(place, family, "CLT, ReLU")
    everything = case.oracle(max_n_logits=10**6, desired_logit_probability=1.0)
    rows = {
        int(t): row
        for t, row in zip(everything.logit_tokens, everything.adjacency[-len(everything.logit_tokens) :], strict=True)
    }
    assert len(rows) == 40
    settings = AttributionSettings(target_tokens=(7,), targets=(((9, 1.0), (4, -1.0)), ((5, 0.5), (6, 0.5), (7, -2.0))))
    graph = attribute_tokens(*case.open(), case.tokens, settings)
    expected = torch.stack([rows[7], rows[9] - rows[4], 0.5 * rows[5] + 0.5 * rows[6] - 2 * rows[7]])
    n_sources = graph.n_nodes - 3
    assert relative(dense(graph)[n_sources:, :n_sources], expected[:, :n_sources]) <= EXACT


def test_float32_differs_by_rounding_alone(place: Path) -> None:
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    case = case_of(place, "gemma2", "CLT, ReLU")
    graph = attribute_tokens(load_model(case.model_folder), load_transcoders(case.transcoder_folder), case.tokens)
    assert graph.edges.weight.dtype == np.float32
    assert relative(dense(graph), case.oracle().adjacency) < 1e-5


def test_the_oracle_and_the_definitions_agree_with_another_implementation(shared_folder: Path) -> None:
    """Circuit-tracer's golden cases: edges, errors, node budget, pruning and scores."""
    folders = sorted(file.parent for file in (shared_folder / "tracer").rglob("case.json"))
    assert len(folders) >= 10
    for folder in folders:
        settings = json.loads((folder / "case.json").read_text())["attribution"]
        with np.load(folder / "oracle.npz") as archive:
            golden = {key: archive[key] for key in archive.files if not key.startswith("iv_")}
        oracle = trace_by_autograd(
            open_hugging_face(folder / "model"),
            read_transcoders(folder / "transcoder"),
            torch.from_numpy(golden["tokens"]).long(),
            max_n_logits=settings["max_n_logits"],
            desired_logit_probability=settings["desired_logit_prob"],
        )
        counts, probabilities = node_counts(oracle), oracle.logit_probabilities.numpy()
        assert (oracle.active.numpy() == golden["active_features"]).all(), folder.name
        assert (oracle.logit_tokens.numpy() == golden["logit_tokens"]).all(), folder.name
        assert relative(oracle.errors, golden["error_vectors"]) < 1e-5, folder.name
        budget = settings["max_feature_nodes"] or counts.features
        kept = dense_reference.within_budget(
            oracle.adjacency.numpy(),
            counts,
            probabilities,
            budget,
            settings["batch_size"] * settings["update_interval"],
        )
        assert kept == golden["selected_features"].tolist(), folder.name
        nodes = np.array([*kept, *range(counts.features, sum(counts))])
        adjacency = oracle.adjacency.numpy()[np.ix_(nodes, nodes)]
        assert relative(adjacency, golden["adjacency"]) < 1e-5, folder.name
        counts = counts._replace(features=len(kept))
        pruned = dense_reference.prune(adjacency, counts, probabilities, 0.8, 0.98)
        assert (pruned.nodes == golden["node_mask"]).all(), folder.name
        assert (pruned.edges != golden["edge_mask"]).sum() <= 2, folder.name
        assert relative(pruned.scores, golden["edge_scores"]) < 1e-5, folder.name
        found = dense_reference.scores(adjacency, counts, probabilities)
        assert relative(found, golden["scores"]) < 1e-5, folder.name


def test_a_set_less_precise_than_the_model_is_used_as_precisely_as_it_goes(place: Path) -> None:
    case = case_of(place, "qwen2", "per layer with skip, ReLU")
    model, exact = case.open()
    single = load_transcoders(case.transcoder_folder)
    graph, expected = (attribute_tokens(model, each, case.tokens) for each in (single, exact))
    assert graph.node_ids == expected.node_ids
    assert graph.edges.weight.dtype == np.float64
    assert 1e-12 < relative(dense(graph), dense(expected)) < 1e-5
