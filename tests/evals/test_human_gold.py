"""Published human-labelled circuits fit the schema, and an independent scorer agrees with ours on them.

They lie in the shared folder, outside the repository; nothing of them is copied here.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.offline import offline_agent
from tracescribe.agents.toolbox import Toolbox
from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.gold.folders import read_gold_folder
from tracescribe.evals.prediction import prediction_of_gold
from tracescribe.evals.predictions_file import prediction_from_json, predictions_as_json, predictions_from_json
from tracescribe.evals.scores import METRICS, score_prediction
from tracescribe.evals.statistics.averages import average
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import read_graph

GROUPING = ("ari", "pair_p", "pair_r", "pair_f1", "b3_p", "b3_r", "b3_f1", "name", "cover")
OUR_NAME = {
    "pair_p": "pair_precision",
    "pair_r": "pair_recall",
    "b3_p": "b3_precision",
    "b3_r": "b3_recall",
}


@dataclass(frozen=True)
class Circuit:
    """A published circuit: as we read it, as it lies there, and its graph likewise."""

    gold: GoldCircuit
    document: dict[str, Any]
    graph: AttributionGraph
    raw: dict[str, Any]

    @property
    def nodes(self) -> list[str]:
        """Ids of all nodes of the graph, and of all that gold names."""
        members = [m for s in self.document["supernodes"] for m in s["members"]]
        return list(dict.fromkeys([*(n["node_id"] for n in self.raw["nodes"]), *self.document["selected"], *members]))

    @property
    def words(self) -> list[str]:
        """Names that people gave, and a few that are none."""
        return [*(s["label"] for s in self.document["supernodes"]), "say", "", "Éa  b-c", "  "]


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


@pytest.fixture(scope="module")
def circuits(gold_folder: Path, other_scorer: ModuleType) -> tuple[Circuit, ...]:
    """Every circuit with what our reader makes of it, the published document, its graph for us and for the other scorer."""
    found = []
    for gold in read_gold_folder(gold_folder):
        document = json.loads((gold_folder / "circuits" / f"{gold.gold_id}.json").read_text())
        path = gold_folder / document["graph"]
        found.append(Circuit(gold, document, read_graph(path), other_scorer.read(str(path))))
    return tuple(found)


def random_prediction(rng: np.random.Generator, circuit: Circuit) -> dict[str, Any]:
    """An answer without sense: any nodes, in groups that overlap, with ties, strangers, and parts left out at random."""
    ids = [*circuit.nodes, "999_999_9", "no node", ""]
    picked = [ids[int(i)] for i in rng.permutation(len(ids))[: int(rng.integers(0, len(ids)))]]
    n_groups = int(rng.integers(0, 9))
    groups = [
        {
            "label": str(rng.choice(circuit.words)),
            "members": [ids[int(i)] for i in rng.integers(len(ids), size=int(rng.integers(0, 12)))],
        }
        for _ in range(n_groups)
    ]
    named = [node for node in (*circuit.gold.node_labels, *picked[:5]) if rng.uniform() < 0.7]
    whole: dict[str, Any] = {
        "selected": picked,
        "scores": {node: float(rng.choice([rng.normal(), 0.5, -3.0])) for node in picked},
        "groups": groups,
        "labels": {node: str(rng.choice(circuit.words)) for node in named},
    }
    return {part: found for part, found in whole.items() if rng.uniform() < 0.8}


def gold_shaped_prediction(rng: np.random.Generator, circuit: Circuit) -> dict[str, Any]:
    """Gold itself with a few nodes moved: overlaps, embeddings and repeated names as people published them."""
    supernodes = [{"label": s["label"], "members": list(s["members"])} for s in circuit.document["supernodes"]]
    for group in supernodes:
        group["members"] = [m for m in group["members"] if rng.uniform() < 0.8]
    rng.shuffle(supernodes)
    labels = {node: names[-1] for node, names in circuit.document["label_targets"].items() if rng.uniform() < 0.8}
    return {"selected": circuit.document["selected"], "groups": supernodes, "labels": labels}


ADVERSARIAL: tuple[dict[str, Any], ...] = (
    {},
    {"selected": [], "scores": {}, "groups": [], "labels": {}},
    {"groups": [{"label": "", "members": []}]},
    {"scores": {"no node": 1e300, "": -1e300}},
    {"labels": {"": "x", "no node": "   "}},
    {"selected": ["0_0_0"] * 3, "scores": {"0_0_0": 0.0}, "groups": [{"label": "a", "members": ["0_0_0"] * 4}] * 3},
)


def same_score(ours: float | None, other: float) -> bool:
    return np.isnan(other) if ours is None else abs(ours - other) <= 1e-9


def test_an_independent_scorer_agrees(circuits: tuple[Circuit, ...], other_scorer: ModuleType) -> None:
    """Every quantity of the scorer that lies beside the circuits, to 1e-9, for answers that nobody would give."""
    rng, compared = np.random.default_rng(11), 0
    for circuit in circuits:
        answers = [random_prediction(rng, circuit) for _ in range(4)]
        answers += [gold_shaped_prediction(rng, circuit) for _ in range(2)]
        every = {"selected": circuit.nodes, "groups": [{"label": "all", "members": circuit.nodes}]}
        alone = {"groups": [{"label": "one", "members": [node]} for node in circuit.nodes]}
        for told in (*answers, *ADVERSARIAL, every, alone):
            ours = score_prediction(prediction_from_json(told), circuit.gold, circuit.graph)
            other: dict[str, float] = {}
            if circuit.document["can_score"]["selection"]:
                found = other_scorer.score_selection(circuit.document, circuit.raw, told)
                other |= {f"selection.{name}": found[name] for name in ("precision", "recall", "f1", "auc", "rprec")}
            if circuit.document["can_score"]["grouping"]:
                found = other_scorer.score_grouping(circuit.document, told)
                other |= {f"grouping.{OUR_NAME.get(name, name)}": found[name] for name in GROUPING}
            if circuit.document["label_targets"]:
                found = other_scorer.score_labels(circuit.document["label_targets"], told)
                other |= {f"node_labels.{name}": found[name] for name in other_scorer.TASKS["labels"]}
            for name, value in other.items():
                assert same_score(ours.value(name), value), (circuit.gold.gold_id, name, ours.value(name), value, told)
            compared += len(other)
    assert compared > 2000


def test_averages_of_all_circuits_agree(
    circuits: tuple[Circuit, ...], other_scorer: ModuleType, gold_folder: Path
) -> None:
    """Through a predictions file, as the other scorer is run: a circuit that was not answered is left out by both."""
    rng = np.random.default_rng(12)
    answered = {c.gold.gold_id: gold_shaped_prediction(rng, c) for c in circuits[:-2]}
    predictions = predictions_from_json(json.loads(json.dumps(answered)))
    told = predictions_as_json(predictions)
    other = other_scorer.score_dir(told, str(gold_folder), skip_missing=True)["mean"]
    scores = [
        score_prediction(predictions[c.gold.gold_id], c.gold, c.graph)
        for c in circuits
        if c.gold.gold_id in predictions
    ]
    for task, name in (("selection", "f1"), ("selection", "auc"), ("grouping", "ari"), ("grouping", "b3_f1")):
        metric = next(m for m in METRICS if m.name == f"{task}.{name}")
        found = average(scores, metric)
        assert found is not None and found.n_cases == other[task]["circuits"]
        assert found.value == pytest.approx(other[task][name], abs=1e-9)


def test_gold_as_the_answer_is_perfect(circuits: tuple[Circuit, ...], other_scorer: ModuleType) -> None:
    for circuit in circuits:
        scores = score_prediction(prediction_of_gold(circuit.gold), circuit.gold, circuit.graph)
        told = score_prediction(
            prediction_from_json(prediction_of_gold(circuit.gold).as_json()), circuit.gold, circuit.graph
        )
        for name in ("selection.f1", "selection.auc", "selection.rprec", "grouping.supernode_f1", "node_labels.exact"):
            assert scores.value(name) in (None, 1.0) and told.value(name) in (None, 1.0), (circuit.gold.gold_id, name)
        for name in ("ari", "pair_f1", "b3_f1", "name", "cover"):
            assert scores.value(f"grouping.{name}") in (None, pytest.approx(1.0)), (circuit.gold.gold_id, name)
        assert {"labels", "causal", "edges"} <= set(scores.not_scored)


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
