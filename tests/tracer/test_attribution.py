"""Attribution: conservation, agreement with interventions, invariances, and the edges of the job."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tracer.tiny_pair import TinyShape, make_pair, random_tokens
from tracescribe.tracer import sweep
from tracescribe.tracer.attribution import AttributionSettings, attribute, attribute_tokens
from tracescribe.tracer.edits import FeatureEdit, InterventionSettings
from tracescribe.tracer.errors import AttributionError, PromptError, SettingError, TranscoderMismatchError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.interventions import intervene
from tracescribe.tracer.local_replacement import replace_locally
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet

ROUNDING = 2e-5
"""Differences of float32 sums in another order, relative to the largest value compared."""

SHAPES = {
    "grouped": TinyShape(seed=1),
    "jump": TinyShape(seed=2, jump=True, reads="hook_resid_mid"),
    "biased": TinyShape(seed=3, attention_bias=True, reads="ln2.hook_normalized", writes="mlp.hook_out"),
    "single kv head, tied": TinyShape(seed=4, n_kv_heads=1, tied=True, n_features=(20, 20, 20, 20)),
}

Pair = tuple[LanguageModel, TranscoderSet, Tensor]


@pytest.fixture(scope="module", params=list(SHAPES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A random model, random transcoders and a random prompt."""
    shape = SHAPES[cast(str, request.param)]
    return *make_pair(tmp_path_factory.mktemp("pair"), shape), random_tokens(9, shape)


def same_graph(first: AttributionGraph, second: AttributionGraph) -> bool:
    """Same nodes, and edges that differ by rounding alone."""
    difference = np.abs(first.dense() - second.dense()).max()
    return first.node_ids == second.node_ids and bool(difference <= ROUNDING * np.abs(first.dense()).max())


def test_edges_and_bias_sum_to_what_the_model_itself_computes(pair: Pair) -> None:
    """Features: their activation. Logits: the logit of the Hugging Face model over the mean logit."""
    model, transcoders, tokens = pair
    graph = attribute_tokens(model, transcoders, tokens)
    total = graph.dense().astype(np.float64).sum(1) + graph.nodes.bias
    features, logits = graph.of_kind(NodeKind.FEATURE), graph.of_kind(NodeKind.LOGIT)
    assert len(features) > 100
    activation = graph.nodes.activation[features]
    assert np.abs(total[features] - activation).max() <= ROUNDING * activation.max()
    with torch.no_grad():
        expected = cast(Any, model.hf)(tokens[None]).logits[0, -1].double()
    demeaned = (expected - expected.mean())[torch.from_numpy(graph.nodes.feature[logits])].numpy()
    assert np.abs(total[logits] - demeaned).max() <= ROUNDING * np.abs(demeaned).max()
    assert graph.provenance["conservation_error"] < 1e-5


def test_features_errors_and_biases_rebuild_what_the_mlps_wrote(pair: Pair) -> None:
    model, transcoders, tokens = pair
    frozen = replace_locally(model, transcoders, tokens)
    written: dict[int, Tensor] = {}
    handles = [
        cast(Any, block.mlp).register_forward_hook(lambda m, a, out, n=n: written.__setitem__(n, out[0]))
        for n, block in enumerate(model.architecture.blocks)
    ]
    with torch.no_grad():
        cast(Any, model.hf)(tokens[None])
    for handle in handles:
        handle.remove()
    rebuilt = frozen.errors + frozen.constants
    for (layer, position, feature), value in zip(frozen.active.tolist(), frozen.activations, strict=True):
        rows = transcoders.decoder_rows(layer, torch.tensor([feature]))[0]
        rebuilt[layer:, position] += value * rows
    expected = torch.stack([written[n] for n in range(model.n_layers)])
    assert (rebuilt - expected).abs().max() <= ROUNDING * expected.abs().max()
    assert not frozen.errors[:, 0].any()
    assert (frozen.active[:, 1] > 0).all()


def test_edges_predict_direct_interventions(pair: Pair) -> None:
    """Doubling a feature in direct mode moves logits and later features by exactly the feature's edges."""
    model, transcoders, tokens = pair
    graph = attribute_tokens(model, transcoders, tokens)
    features, logits = graph.of_kind(NodeKind.FEATURE), graph.of_kind(NodeKind.LOGIT)
    dense = graph.dense()
    # a read-out shows the pre-activation only while the feature stays active: compare those
    chosen = np.random.default_rng(0).choice(features, size=12, replace=False)
    rows = []
    for index in chosen:
        layer, position, feature = graph.feature_node(int(index))
        rows.append([FeatureEdit(layer, position, feature, 2 * float(graph.nodes.activation[index]))])
    nodes = [graph.feature_node(int(i)) for i in features]
    result = intervene(model, transcoders, tokens, rows, InterventionSettings("direct"), read=nodes)
    moved = result.logits[:, -1].double() - result.clean_logits[-1].double()
    moved -= moved.mean(-1, keepdim=True)
    by_token = moved[:, torch.from_numpy(graph.nodes.feature[logits])].numpy()
    edges = dense[np.ix_(logits, chosen)].T
    assert np.abs(by_token - edges).max() <= 10 * ROUNDING * np.abs(edges).max()
    changed = (result.activations - result.clean_activations).numpy()
    still_active = result.activations.numpy() > 0
    into_features = dense[np.ix_(features, chosen)].T
    compared = still_active & (into_features != 0)
    assert compared.sum() > 50
    assert np.abs(changed - into_features)[compared].max() <= 10 * ROUNDING * np.abs(into_features).max()


def test_batch_size_block_size_and_threads_change_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    model, transcoders, tokens = pair
    graph = attribute_tokens(model, transcoders, tokens)
    for batch_size in (7, 10_000):
        assert same_graph(
            graph, attribute_tokens(model, transcoders, tokens, AttributionSettings(batch_size=batch_size))
        )
    monkeypatch.setattr(sweep, "SWEEP_BYTES", 4 * len(tokens) * model.d_model * 11)  # eleven targets per block
    assert same_graph(graph, attribute_tokens(model, transcoders, tokens))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert same_graph(graph, attribute_tokens(model, transcoders, tokens))
    finally:
        torch.set_num_threads(threads)


def test_nothing_flows_backwards_in_time_or_down_the_layers(pair: Pair) -> None:
    graph = attribute_tokens(*pair)
    table, edges = graph.nodes, graph.edges
    assert (table.position[edges.source] <= table.position[edges.target]).all()
    assert (table.layer[edges.source] < table.layer[edges.target]).all()
    assert np.isin(table.kind[edges.target], [NodeKind.FEATURE, NodeKind.LOGIT]).all()
    assert (edges.weight != 0).all()


def test_a_longer_prompt_leaves_the_edges_among_earlier_positions_alone(pair: Pair) -> None:
    model, transcoders, tokens = pair
    short, long = (attribute_tokens(model, transcoders, t) for t in (tokens[:6], tokens))
    common = [i for i in short.node_ids if i in long.index_of and short.nodes.kind[short.index(i)] != NodeKind.LOGIT]
    first = short.dense()[np.ix_([short.index(i) for i in common], [short.index(i) for i in common])]
    second = long.dense()[np.ix_([long.index(i) for i in common], [long.index(i) for i in common])]
    assert len(common) == short.n_nodes - len(short.of_kind(NodeKind.LOGIT))
    assert np.abs(first - second).max() <= ROUNDING * np.abs(first).max()


def test_edges_come_sorted_and_nodes_in_their_order(pair: Pair) -> None:
    graph = attribute_tokens(*pair)
    table, edges = graph.nodes, graph.edges
    order = np.lexsort((edges.source, edges.target))
    assert (order == np.arange(len(edges))).all()
    assert (np.diff(table.kind) >= 0).all()
    assert len(set(graph.node_ids)) == graph.n_nodes
    features = graph.of_kind(NodeKind.FEATURE)
    keys = list(zip(table.layer[features], table.position[features], table.feature[features], strict=True))
    assert keys == sorted(keys)


def test_no_active_feature_leaves_errors_and_tokens(tmp_path: Path) -> None:
    shape = TinyShape(silent=True)
    model, transcoders = make_pair(tmp_path, shape)
    graph = attribute_tokens(model, transcoders, random_tokens(5, shape))
    assert len(graph.of_kind(NodeKind.FEATURE)) == 0
    assert len(graph.edges) > 0
    assert graph.scores is not None and 0 < graph.scores.replacement < 1


@pytest.mark.parametrize("zero_positions", [0, 1])
def test_a_prompt_of_one_token(pair: Pair, zero_positions: int) -> None:
    model, transcoders, _ = pair
    graph = attribute_tokens(
        model, transcoders, torch.zeros(1, dtype=torch.int64), AttributionSettings(zero_positions=zero_positions)
    )
    assert (len(graph.of_kind(NodeKind.FEATURE)) == 0) == (zero_positions == 1)
    assert graph.n_pos == 1
    assert graph.provenance["conservation_error"] < 1e-5


def test_masked_positions_hold_no_feature_and_no_error(pair: Pair) -> None:
    model, transcoders, tokens = pair
    graph = attribute_tokens(model, transcoders, tokens, AttributionSettings(zero_positions=3))
    held = np.isin(graph.nodes.kind[graph.edges.source], [NodeKind.FEATURE, NodeKind.ERROR])
    assert graph.nodes.position[graph.edges.source[held]].min() == 3
    assert graph.nodes.position[graph.of_kind(NodeKind.FEATURE)].min() == 3


def greedy_budget(full: AttributionGraph, budget: int, step: int) -> list[str]:
    """Node budget by its definition, on the dense matrix of a graph without one."""
    features, logits = full.of_kind(NodeKind.FEATURE), full.of_kind(NodeKind.LOGIT)
    shares = np.abs(full.dense().astype(np.float64))
    shares /= np.maximum(shares.sum(1, keepdims=True), 1e-8)
    done: list[int] = []
    while len(done) < budget:
        known = np.zeros_like(shares)
        known[[*logits, *done]] = shares[[*logits, *done]]
        flow = np.zeros(full.n_nodes)
        flow[logits] = full.nodes.activation[logits]
        total = np.zeros(full.n_nodes)
        for _ in range(full.n_layers + 2):
            flow = flow @ known
            total += flow
        left = [int(i) for i in features if i not in done]
        done += sorted(left, key=lambda i: (-total[i], i))[: min(step, budget - len(done))]
    return [full.node_ids[i] for i in sorted(done)]


@pytest.mark.parametrize(("budget", "batch_size", "update_interval"), [(30, 4, 2), (60, 3, 20), (7, 64, 4)])
def test_a_node_budget_keeps_the_most_influential_features(
    pair: Pair, budget: int, batch_size: int, update_interval: int
) -> None:
    model, transcoders, tokens = pair
    full = attribute_tokens(model, transcoders, tokens)
    settings = AttributionSettings(max_feature_nodes=budget, batch_size=batch_size, update_interval=update_interval)
    graph = attribute_tokens(model, transcoders, tokens, settings)
    expected = greedy_budget(full, budget, batch_size * update_interval)
    assert [graph.node_ids[i] for i in graph.of_kind(NodeKind.FEATURE)] == expected
    if update_interval == 20:
        assert expected != greedy_budget(full, budget, batch_size), "the interval must matter, or it is not tested"
    index = [full.index(i) for i in graph.node_ids]
    assert np.abs(full.dense()[np.ix_(index, index)] - graph.dense()).max() <= ROUNDING * np.abs(full.dense()).max()


def test_given_tokens_become_the_logit_nodes(pair: Pair) -> None:
    model, transcoders, tokens = pair
    graph = attribute_tokens(model, transcoders, tokens, AttributionSettings(target_tokens=(11, 5)))
    logits = graph.of_kind(NodeKind.LOGIT)
    assert graph.nodes.feature[logits].tolist() == [11, 5]
    assert [graph.node_ids[i] for i in logits] == [f"{model.n_layers + 1}_{t}_{len(tokens) - 1}" for t in (11, 5)]
    with pytest.raises(SettingError, match=r"targets: \[40\] are not in 0\.\.39"):
        attribute_tokens(model, transcoders, tokens, AttributionSettings(target_tokens=(40,)))


def test_a_text_prompt_and_its_tokens_give_one_graph(pair: Pair) -> None:
    model, transcoders, _ = pair
    by_text = attribute(model, transcoders, "w5 w9 w12")
    by_ids = attribute(model, transcoders, torch.tensor([5, 9, 12]))
    assert by_text.tokens == ("<bos>", "w5", "w9", "w12")
    assert by_text.token_ids == by_ids.token_ids == (0, 5, 9, 12)
    assert by_text.prompt == "w5 w9 w12"
    assert by_ids.prompt == "<bos> w5 w9 w12"
    assert same_graph(by_text, by_ids)
    with pytest.raises(PromptError, match="'w99'"):
        attribute(model, transcoders, "w5 w99")


def test_a_graph_says_what_it_came_from(pair: Pair) -> None:
    model, transcoders, tokens = pair
    settings = AttributionSettings(max_n_logits=3, target_tokens=(4,))
    provenance = attribute(model, transcoders, tokens, settings).provenance
    assert provenance["model_sha256"] == model.weights_sha256
    assert provenance["transcoders_sha256"] == transcoders.sha256
    told = {"target_tokens": [4], "targets": [], "zero_positions": model.zero_positions}
    expected = dataclasses.asdict(settings) | told
    del expected["max_memory"]  # a machine's, not a result's
    assert provenance["settings"] == expected


def test_progress_counts_every_target(pair: Pair) -> None:
    model, transcoders, tokens = pair
    calls: list[tuple[str, int, int]] = []
    graph = attribute_tokens(
        model, transcoders, tokens, AttributionSettings(batch_size=32), lambda *call: calls.append(call)
    )
    targets = len(graph.of_kind(NodeKind.FEATURE)) + len(graph.of_kind(NodeKind.LOGIT))
    assert calls[-1] == ("sweep", targets, targets)
    sweep = [done for stage, done, _ in calls if stage == "sweep"]
    assert sweep == sorted(set(sweep))


def test_a_model_that_its_adapter_misreads_is_found_out(pair: Pair) -> None:
    """A norm gain that the adapter does not know of breaks conservation, and the trace refuses to go on."""
    model, transcoders, tokens = pair
    block = model.architecture.blocks[0]
    wrong = dataclasses.replace(
        block, attention_norm=dataclasses.replace(block.attention_norm, gain=torch.ones(model.d_model))
    )
    blocks = (wrong, *model.architecture.blocks[1:])
    misread = dataclasses.replace(model, architecture=dataclasses.replace(model.architecture, blocks=blocks))
    with pytest.raises(
        AttributionError, match="edges and bias miss a target's pre-activation by .* expected at most 1e-04"
    ):
        attribute_tokens(misread, transcoders, tokens)


def test_settings_are_checked_all_at_once() -> None:
    with pytest.raises(SettingError) as caught:
        AttributionSettings(max_n_logits=0, desired_logit_probability=1.5, zero_positions=-1, target_tokens=(2, 2))
    for name in ("max_n_logits", "desired_logit_probability", "zero_positions", "target_tokens"):
        assert name in str(caught.value)


def test_transcoders_of_another_model_are_refused(pair: Pair, embedded_transcoders: TranscoderSet) -> None:
    with pytest.raises(TranscoderMismatchError, match="do not fit"):
        attribute(pair[0], embedded_transcoders, "w5")


def test_hooks_do_not_outlive_a_trace(pair: Pair) -> None:
    model, transcoders, tokens = pair

    def hooks() -> int:
        return sum(len(module._forward_hooks) for module in model.hf.modules())

    before = hooks()
    attribute_tokens(model, transcoders, tokens)
    assert hooks() == before


def test_two_threads_may_trace_with_one_model(pair: Pair) -> None:
    model, transcoders, tokens = pair
    prompts = [tokens[:n] for n in (4, 5, 6, 7, 8, 9)] * 2
    alone = [attribute_tokens(model, transcoders, prompt) for prompt in prompts]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda prompt: attribute_tokens(model, transcoders, prompt), prompts))
    assert all(same_graph(first, second) for first, second in zip(alone, together, strict=True))


def test_the_embedded_model_conserves_and_answers(dallas_graph: AttributionGraph) -> None:
    assert dallas_graph.provenance["conservation_error"] < 1e-5
    assert dallas_graph.tokens[0] == "<bos>" and dallas_graph.tokens[1] != "<bos>"
    assert len(dallas_graph.of_kind(NodeKind.FEATURE)) > 0


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(0, dtype=torch.int64), "no tokens"),
        (torch.tensor([[0, 3]]), r"\[n_pos\]"),
        (torch.tensor([0.0, 3.0]), "integers"),
        (torch.tensor([0, 40]), "token id 40 is not in"),
        (torch.tensor([0, -1]), "token id -1 is not in"),
        (torch.zeros(33, dtype=torch.int64), "33 tokens"),
    ],
)
def test_tokens_that_no_model_can_read_are_refused(pair: Pair, tokens: Tensor, message: str) -> None:
    model, transcoders, _ = pair
    with pytest.raises(PromptError, match=message):
        attribute_tokens(model, transcoders, tokens)
