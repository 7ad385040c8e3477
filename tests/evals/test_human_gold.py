"""Published human-labelled circuits fit the schema, and an independent scorer agrees with ours on them.

They lie in the shared folder, outside the repository; nothing of them is copied here.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.offline import offline_agent
from tracescribe.agents.toolbox import Toolbox
from tracescribe.evals.gold import GoldCircuit, check_circuit
from tracescribe.evals.prediction import PredictedSupernode, Prediction, feature_node_ids, prediction_of_gold
from tracescribe.evals.scores import score_prediction
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import read_graph


@pytest.fixture(scope="module")
def gold_folder(shared_folder: Path) -> Path:
    folder = shared_folder / "gold"
    if not (folder / "circuits").is_dir():
        pytest.skip(f"no human-labelled circuits at {folder}; set TRACESCRIBE_SHARED to the folder that holds gold/")
    return folder


@pytest.fixture(scope="module")
def other_scorer(gold_folder: Path) -> ModuleType:
    """The stand-alone scorer that lies beside the circuits: numpy alone, written by somebody else."""
    spec = importlib.util.spec_from_file_location("score_gold", gold_folder / "score_gold.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_gold(circuit: dict[str, Any], graph: AttributionGraph) -> GoldCircuit:
    """A published circuit in our schema; overlapping supernodes keep their members in each."""
    features = set(feature_node_ids(graph))
    supernodes = []
    for number, supernode in enumerate(circuit["supernodes"], start=1):
        members = [m for m in dict.fromkeys(supernode["members"]) if m in features]
        label = supernode["label"] or "unnamed"
        supernodes.append(
            {
                "supernode_id": f"g{number}",
                "label": label,
                "accepted_labels": [label],
                "role": "other",
                "members": members,
            }
        )
    selected = [i for i in circuit["selected"] if i in features]
    selected += [m for s in supernodes for m in s["members"]]
    return GoldCircuit.model_validate(
        {
            "gold_id": circuit["circuit_id"],
            "family": str(circuit["flags"]["family"]),
            "source": {"kind": "human", "origin": circuit["source"]["repo"], "licence": circuit["source"]["licence"]},
            "stamp": {
                "model": circuit["model"],
                "model_sha256": None,
                "transcoder": circuit["transcoder_set"],
                "transcoder_sha256": None,
            },
            "prompt": graph.prompt,
            "tokens": graph.tokens,
            "targets": [{"node_id": t["node_id"], "token": t["text"]} for t in circuit["target_logits"]],
            "supernodes": supernodes,
            "selected": tuple(dict.fromkeys(selected)),
            "can_score": ["selection", "grouping"],
        }
    )


def random_prediction(rng: np.random.Generator, graph: AttributionGraph) -> Prediction:
    """A random third of the features in groups by position, with random importance."""
    ids = feature_node_ids(graph)
    picked = [ids[int(i)] for i in rng.permutation(len(ids))[: max(2, len(ids) // 3)]]
    groups: dict[int, list[str]] = {}
    for node in picked:
        groups.setdefault(int(graph.nodes.position[graph.index(node)]), []).append(node)
    supernodes = tuple(
        PredictedSupernode(f"s{number}", "x", "other", tuple(members))
        for number, members in enumerate(groups.values(), start=1)
    )
    return Prediction(supernodes, {node: float(rng.uniform(0.1, 1.0)) for node in picked})


def test_an_independent_scorer_agrees(gold_folder: Path, other_scorer: ModuleType) -> None:
    rng, compared = np.random.default_rng(11), 0
    for path in sorted((gold_folder / "circuits").glob("*.json")):
        circuit = json.loads(path.read_text())
        if not (circuit["can_score"]["selection"] and circuit["can_score"]["grouping"]):
            continue
        graph = read_graph(gold_folder / circuit["graph"])
        gold = as_gold(circuit, graph)
        check_circuit(gold, graph)
        prediction = random_prediction(rng, graph)
        ours = score_prediction(prediction, gold, graph)
        told = {
            "selected": sorted(prediction.selected),
            "scores": prediction.importance,
            "groups": [{"label": s.label, "members": list(s.members)} for s in prediction.supernodes],
        }
        # both sides score the same circuit: feature nodes only, supernode members counted as selected
        same = circuit | {
            "selected": list(gold.selected),
            "supernodes": [{"label": s.label, "members": list(s.members)} for s in gold.scorable_supernodes],
        }
        nodes = [{"node_id": i, "feature_type": "cross layer transcoder"} for i in feature_node_ids(graph)]
        selection = other_scorer.score_selection(same, {"nodes": nodes}, told)
        grouping = other_scorer.score_grouping(same, told)
        for name in ("precision", "recall", "f1", "auc"):
            value = ours.value(f"selection.{name}")
            if value is not None:
                assert value == pytest.approx(selection[name]), (path.stem, name)
        assert ours.value("grouping.ari") == pytest.approx(grouping["ari"]), path.stem
        assert ours.value("grouping.cover") == pytest.approx(grouping["cover"]), path.stem
        compared += 1
    assert compared >= 10


def test_a_human_circuit_scores_itself_perfectly(gold_folder: Path) -> None:
    circuit = json.loads((gold_folder / "circuits" / "gemma-fact-dallas-austin.json").read_text())
    graph = read_graph(gold_folder / circuit["graph"])
    gold = as_gold(circuit, graph)
    scores = score_prediction(prediction_of_gold(gold), gold, graph)
    for name in ("grouping.ari", "grouping.b3_f1", "grouping.supernode_f1", "selection.precision"):
        assert scores.value(name) == 1.0, name
    assert scores.not_scored == ("labels", "node_labels", "causal", "edges")


def test_groups_of_a_graph_alone_are_nearer_to_peoples_than_positions_are(
    gold_folder: Path, other_scorer: ModuleType
) -> None:
    """Without weights and evidence: the offline agent's groups against grouping every feature by its position."""
    ours, by_position = [], []
    for path in sorted((gold_folder / "circuits").glob("*.json")):
        circuit = json.loads(path.read_text())
        if not circuit["can_score"]["grouping"]:
            continue
        graph = read_graph(gold_folder / circuit["graph"])
        report = offline_agent().interpret(InterpretationCase(path.stem, graph=graph), Toolbox(), Budget())
        assert not report.tested and report.verdict_counts()["supported"] == 0
        ids = {node: graph.node_ids[index] for node, index in graph.node_of_feature.items()}
        told = [{"label": s.label, "members": [ids[m.node] for m in s.members]} for s in report.supernodes]
        positions: dict[int, list[str]] = {}
        for node, node_id in ids.items():
            positions.setdefault(node.position, []).append(node_id)
        plain = [{"label": "", "members": members} for members in positions.values()]
        ours.append(other_scorer.score_grouping(circuit, {"groups": told}))
        by_position.append(other_scorer.score_grouping(circuit, {"groups": plain}))
    assert len(ours) >= 10
    for score in ("ari", "b3_f1"):
        assert np.mean([one[score] for one in ours]) > np.mean([one[score] for one in by_position]), score
