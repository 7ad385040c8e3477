"""Golden cases: the shared ones, and what the command says of wrong, foreign and missing ones."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.tracer.tiny_pair import TinyShape, make_pair, random_tokens
from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens
from tracescribe.tracer.edits import FeatureEdit, InterventionSettings
from tracescribe.tracer.goldens import check_case, main
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, NodeKind
from tracescribe.tracer.interventions import intervene
from tracescribe.tracer.local_replacement import replace_locally
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.prune import PruneSettings, node_influence, prune_masks
from tracescribe.tracer.transcoders import TranscoderSet

Array = NDArray[Any]

INTERVENTIONS: list[dict[str, Any]] = [
    {"name": "open", "constrained": None, "freeze_attention": False},
    {"name": "frozen", "constrained": None, "freeze_attention": True},
    {"name": "direct", "constrained": [0, 3], "freeze_attention": True},
    {"name": "partial", "constrained": [0, 2], "freeze_attention": True},
    {"name": "empty range", "constrained": [1, 1], "freeze_attention": False},
]


def dense(graph: AttributionGraph, values: Array) -> Array:
    matrix = np.zeros((graph.n_nodes, graph.n_nodes), dtype=values.dtype)
    matrix[graph.edges.target, graph.edges.source] = values
    return matrix


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A golden case that this tracer itself wrote: a node budget, JumpReLU, and every mode of intervention."""
    folder = tmp_path_factory.mktemp("cases") / "own"
    folder.mkdir()
    shape = TinyShape(seed=10, jump=True)
    model, transcoders = make_pair(folder, shape)
    tokens = random_tokens(7, shape)
    budget = {
        "max_feature_nodes": 40,
        "batch_size": 8,
        "update_interval": 2,
        "max_n_logits": 5,
        "desired_logit_prob": 0.9,
    }
    settings = AttributionSettings(
        **{{"desired_logit_prob": "desired_logit_probability"}.get(k, k): v for k, v in budget.items()}  # type: ignore[arg-type]
    )
    graph = attribute_tokens(model, transcoders, tokens, settings)
    arrays = reference_arrays(graph, model, transcoders, tokens)
    ops = [{"layer": 0, "pos": "1:", "feature": 3, "value": 0.7}, {"layer": 1, "pos": 4, "feature": 5, "value": 0.0}]
    for spec in INTERVENTIONS:
        arrays |= intervened(str(spec["name"]), model, transcoders, tokens, arrays["active_features"])
    document = {
        "attribution": budget,
        "prune": {"node_threshold": 0.8, "edge_threshold": 0.98},
        "prune_alt": {"node_threshold": 0.95, "edge_threshold": 0.6},
        "interventions": [spec | {"ops": ops} for spec in INTERVENTIONS],
    }
    (folder / "case.json").write_text(json.dumps(document))
    np.savez(folder / "oracle.npz", **arrays)  # type: ignore[arg-type]
    return folder


def reference_arrays(
    graph: AttributionGraph, model: LanguageModel, transcoders: TranscoderSet, tokens: torch.Tensor
) -> dict[str, Array]:
    """The arrays of `oracle.npz` for a graph."""
    frozen, table = replace_locally(model, transcoders, tokens), graph.nodes
    features, logits = graph.of_kind(NodeKind.FEATURE), graph.of_kind(NodeKind.LOGIT)
    place = {tuple(row): i for i, row in enumerate(frozen.active.tolist())}
    keys = zip(table.layer[features], table.position[features], table.feature[features], strict=True)
    main_masks, alt_masks = prune_masks(graph), prune_masks(graph, PruneSettings(0.95, 0.6))
    assert graph.scores is not None
    return {
        "tokens": tokens.numpy(),
        "active_features": frozen.active.numpy(),
        "selected_features": np.array([place[int(a), int(b), int(c)] for a, b, c in keys]),
        "activation_values": frozen.activations.numpy(),
        "error_vectors": frozen.errors.numpy(),
        "adjacency": graph.dense(),
        "logit_tokens": table.feature[logits],
        "logit_probs": table.activation[logits],
        "node_influence": node_influence(graph),
        "cumulative_scores": table.influence,
        "scores": np.array(dataclasses.astuple(graph.scores)),
        "node_mask": main_masks.nodes,
        "edge_mask": dense(graph, main_masks.edges),
        "edge_scores": dense(graph, main_masks.edge_scores),
        "alt_node_mask": alt_masks.nodes,
        "alt_edge_mask": dense(graph, alt_masks.edges),
    }


def intervened(
    name: str,
    model: LanguageModel,
    transcoders: TranscoderSet,
    tokens: torch.Tensor,
    active: Array,
) -> dict[str, Array]:
    row = [FeatureEdit(0, slice(1, None), 3, 0.7), FeatureEdit(1, 4, 5, 0.0)]
    settings = {
        "open": InterventionSettings(),
        "frozen": InterventionSettings(freeze_attention=True),
        "direct": InterventionSettings("direct"),
        "partial": InterventionSettings("constrained", constrained_layers=(0, 1)),
        "empty range": InterventionSettings(),
    }[name]
    read = [FeatureNode(*(int(v) for v in node)) for node in active]
    result = intervene(model, transcoders, tokens, [row], settings, read=read, last_only=False)
    return {f"iv_logits/{name}": result.logits[0].numpy(), f"iv_acts/{name}": result.activations[0].numpy()}


def test_every_shared_case_passes(shared_folder: Path) -> None:
    folders = sorted(path.parent for path in (shared_folder / "tracer").rglob("case.json"))
    results = [check_case(folder) for folder in folders]
    assert [r.line for r in results if r.status != "passed"] == []
    assert len(results) >= 10
    for result in results:
        assert result.errors["adjacency"] < 2e-6, (
            "the algorithm reaches float32 rounding; more is a change of algorithm"
        )
        assert {"iv_logits", "iv_acts", "edge_mask", "alt_node_mask", "scores"} <= set(result.errors)


def test_an_architecture_without_an_adapter_is_printed(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Path(shutil.copytree(copied, copied.parent / "other"))
    config = json.loads((other / "model" / "config.json").read_text())
    (other / "model" / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    assert main([str(copied.parent)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3, "one line per case and a sum"
    assert any("not supported" in line and "architecture 'mamba'" in line for line in lines)
    assert lines[-1] == "1 passed, 1 not supported"
    (copied / "oracle.npz").unlink()
    assert main([str(copied.parent)]) == 1, "a failure outweighs what is not supported"
    out = capsys.readouterr().out
    assert "copied" in out and "failed" in out and "FileNotFoundError" in out


def test_a_case_with_budget_thresholds_and_interventions_passes(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(case.parent)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed"


@pytest.fixture
def copied(case: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(case, tmp_path / "copied"))


@pytest.mark.parametrize(
    "quantity",
    [
        "adjacency", "error_vectors", "activation_values", "logit_probs", "node_influence", "scores", "edge_scores",
        "cumulative_scores", "node_mask", "edge_mask", "alt_node_mask", "alt_edge_mask", "active_features",
        "selected_features", "logit_tokens", "iv_logits/open", "iv_acts/partial",
    ],
)  # fmt: skip
def test_each_wrong_quantity_is_found_and_named(copied: Path, quantity: str) -> None:
    with np.load(copied / "oracle.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    value = arrays[quantity]
    if value.dtype == bool:
        value.reshape(-1)[:3] ^= True
    elif np.issubdtype(value.dtype, np.integer):
        value.reshape(-1)[-1] += 1 if quantity != "selected_features" else -1
    else:
        value.reshape(-1)[int(np.abs(value).argmax())] *= 1.01
    np.savez(copied / "oracle.npz", **arrays)
    result = check_case(copied)
    assert result.status == "failed"
    assert quantity.split("/")[0] in result.reason


@pytest.mark.parametrize("spoil", ["case.json", "model/config.json", "transcoder/config.yaml"])
def test_a_broken_case_fails_and_is_not_skipped(copied: Path, spoil: str) -> None:
    (copied / spoil).write_text("{]")
    result = check_case(copied)
    assert result.status == "failed"
    assert "\n" not in result.line


def test_unknown_attribution_settings_fail(copied: Path) -> None:
    document = json.loads((copied / "case.json").read_text())
    document["attribution"]["warp"] = 9
    (copied / "case.json").write_text(json.dumps(document))
    assert "warp" in check_case(copied).reason


def test_no_case_is_a_wrong_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "no case.json below" in capsys.readouterr().err
    assert main([]) == 2
