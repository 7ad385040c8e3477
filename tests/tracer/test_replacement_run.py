"""A complete graph runs as the model that it is: unchanged it gives itself, and cuts and gradients are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tracer.runnable_graphs import planted, random_graph, relu_layers
from tracescribe.tracer.attribution import AttributionSettings, attribute
from tracescribe.tracer.edits import InterventionSettings, ablation
from tracescribe.tracer.errors import AttributionError
from tracescribe.tracer.graph import NodeKind
from tracescribe.tracer.interventions import intervene
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.prune import prune
from tracescribe.tracer.replacement_run import Cut, ReplacementRun
from tracescribe.tracer.transcoders import TranscoderSet

PROMPTS = ("the capital of the state containing Dallas is", "7 + 5 =", "the opposite of slow is")
SETTINGS = AttributionSettings(max_n_logits=20, desired_logit_probability=1.0)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_unchanged_it_gives_the_models_own_probabilities(
    embedded_model: LanguageModel, embedded_transcoders: TranscoderSet, prompt: str
) -> None:
    graph = attribute(embedded_model, embedded_transcoders, prompt, SETTINGS)
    (out,) = ReplacementRun(graph, embedded_transcoders).run()
    logits = graph.of_kind(NodeKind.LOGIT)
    probabilities = graph.nodes.activation[logits].astype(np.float64)
    told = np.log(probabilities)
    np.testing.assert_allclose(out - out[0], told - told[0], atol=2e-3)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_cutting_a_feature_off_the_outputs_is_what_ablating_it_does_directly(
    embedded_model: LanguageModel, embedded_transcoders: TranscoderSet, prompt: str
) -> None:
    graph = attribute(embedded_model, embedded_transcoders, prompt, SETTINGS)
    run = ReplacementRun(graph, embedded_transcoders)
    features = [int(i) for i in graph.of_kind(NodeKind.FEATURE)]
    rows = [ablation([graph.feature_node(i)]) for i in features]
    tokens = embedded_model.encode(prompt)
    done = intervene(embedded_model, embedded_transcoders, tokens, rows, InterventionSettings(mode="direct"))
    ids = [int(graph.nodes.feature[i]) for i in run.logits]
    lost = done.logits[:, -1, ids] - done.clean_logits[-1, ids]
    found = run.run([Cut(-1, [i]) for i in features]) - run.run()
    expected = (lost - lost[:, :1]).double().numpy()  # outputs of a graph are told relative to the mean of all
    np.testing.assert_allclose(found - found[:, :1], expected, atol=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_cuts_are_what_cutting_for_good_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    edges = rng.permutation(len(graph.edges))[:12]
    cuts = [Cut(int(graph.edges.target[e]), [int(graph.edges.source[e])]) for e in edges]
    together = ReplacementRun(graph, relu_layers(graph)).run(
        [Cut(-1 if graph.nodes.kind[c.target] == NodeKind.LOGIT else c.target, c.sources) for c in cuts]
    )
    for cut, row in zip(cuts, together, strict=True):
        run = ReplacementRun(graph, relu_layers(graph))
        weight = run.weight.tolil()
        ends = run.logits if graph.nodes.kind[cut.target] == NodeKind.LOGIT else [cut.target]
        for end in ends:
            weight[int(end), list(cut.sources)] = 0.0
        run.weight = weight.tocsr()
        np.testing.assert_allclose(run.run()[0], row, atol=1e-9)


@pytest.mark.parametrize("scale", [0.4, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_agree_with_differences(seed: int, scale: float) -> None:
    graph = random_graph(np.random.default_rng(seed))
    run = ReplacementRun(graph, relu_layers(graph))
    weights = np.random.default_rng(seed + 100).normal(size=len(run.logits))
    gradient = run.gradients(weights, scale)
    step = 1e-6
    for index in graph.of_kind(NodeKind.FEATURE)[::3]:
        moved = []
        for sign in (1, -1):
            other = ReplacementRun(graph, relu_layers(graph))
            other._bias[index] += sign * step
            moved.append(float(other.run(scale=scale)[0] @ weights))
        assert gradient[index] == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-5)


def test_a_feature_that_loses_its_input_goes_out_and_so_does_what_it_fed() -> None:
    graph, names = planted()
    run = ReplacementRun(graph, relu_layers(graph))
    clean = run.run()[0]
    (cut,) = run.run([Cut(names["first"], [names["token"]])])
    (direct,) = run.run([Cut(-1, [names["second"]])])
    np.testing.assert_allclose(cut, direct)
    assert cut[0] < clean[0]


def test_a_graph_that_is_not_complete_is_refused(
    embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    graph = prune(attribute(embedded_model, embedded_transcoders, PROMPTS[0], SETTINGS))
    with pytest.raises(AttributionError, match="do not sum up to their activations"):
        ReplacementRun(graph, embedded_transcoders)
