"""Nothing is made on the default device by accident: what would fail on CUDA is found without one.

A tensor that is made from nothing (`torch.zeros`, `torch.arange`, ...) without a device lands on the CPU and meets, on
CUDA, tensors that lie elsewhere. Here the default device is `meta`, whose tensors hold no numbers: an accidental one makes
the computation fail on any machine.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tracer.exact_cases import Case, dense, make_case, relative
from tests.tracer.tiny_transcoders import TranscoderShape
from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens
from tracescribe.tracer.edits import FeatureEdit, InterventionSettings
from tracescribe.tracer.graph import NodeKind
from tracescribe.tracer.interventions import intervene

KINDS = {
    "gemma2": TranscoderShape("clt", "jumprelu"),
    "gpt2": TranscoderShape("clt", "relu"),
    "mistral": TranscoderShape("plt", "topk"),
    "llama": TranscoderShape("plt", "relu", skip=True),
}


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp(request.param), request.param, KINDS[request.param])


@pytest.mark.parametrize("budget", [None, 20])
def test_a_trace_makes_every_tensor_where_the_model_lies(case: Case, budget: int | None) -> None:
    model, transcoders = case.open()
    settings = AttributionSettings(max_feature_nodes=budget)
    expected = attribute_tokens(model, transcoders, case.tokens, settings)
    assert len(expected.of_kind(NodeKind.FEATURE)) >= 20
    with torch.device("meta"):
        found = attribute_tokens(model, transcoders, case.tokens, settings)
    assert found.node_ids == expected.node_ids
    assert relative(dense(found), dense(expected)) == 0
    assert np.array_equal(found.nodes.bias, expected.nodes.bias, equal_nan=True)


@pytest.mark.parametrize("mode", ["open", "frozen", "constrained", "direct"])
def test_interventions_make_every_tensor_where_the_model_lies(case: Case, mode: str) -> None:
    model, transcoders = case.open()
    graph = attribute_tokens(model, transcoders, case.tokens)
    nodes = [graph.feature_node(int(i)) for i in graph.of_kind(NodeKind.FEATURE)]
    rows = [[FeatureEdit(n.layer, n.position, n.feature, 0.0)] for n in nodes[::7]]
    settings = {
        "open": InterventionSettings("open"),
        "frozen": InterventionSettings("open", freeze_attention=True),
        "constrained": InterventionSettings("constrained", constrained_layers=(0, 1)),
        "direct": InterventionSettings("direct"),
    }[mode]
    expected = intervene(model, transcoders, case.tokens, rows, settings, read=nodes)
    assert not torch.equal(expected.logits[0, -1], expected.clean_logits[-1])
    with torch.device("meta"):
        found = intervene(model, transcoders, case.tokens, rows, settings, read=nodes)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.activations, expected.activations)


def test_the_trap_springs() -> None:
    with torch.device("meta"), pytest.raises(TypeError, match="meta"):
        torch.arange(3).numpy()
