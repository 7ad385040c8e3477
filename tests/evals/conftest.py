"""Fixtures of the evals tests: a circuit small enough to score by hand, and the shipped oracle gold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tracescribe.evals.gold import (
    GoldCircuit,
    GoldEdge,
    GoldSet,
    GoldSource,
    GoldSupernode,
    GoldTarget,
    KnownEffects,
    KnownSwap,
    ModelStamp,
)
from tracescribe.evals.oracle.building import load_oracle_gold
from tracescribe.evals.prediction import PredictedSupernode, Prediction
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, NodeKind, NodeTable

FEATURES = ("0_1_1", "0_2_1", "1_3_2", "1_4_2", "2_5_3", "2_6_3")
EMBEDDING, LOGIT = "E_7_1", "4_9_3"
Predict = Callable[..., Prediction]


@pytest.fixture
def small_gold() -> GoldCircuit:
    """Texas {0_1_1, 0_2_1} and capital {1_3_2} make say-Austin {2_5_3}; 1_4_2 plays no part, 2_6_3 is undecided."""
    swaps = (
        KnownSwap(value="California", expected_token="Sacramento", site_gain=0.9, features_gain=0.9),
        KnownSwap(value="Ohio", expected_token="Columbus", site_gain=0.8, features_gain=0.1),
        KnownSwap(value="Utah", expected_token="Provo", site_gain=0.2, features_gain=0.1),
    )
    return GoldCircuit(
        gold_id="small-01",
        family="small",
        source=GoldSource(kind="reviewed", origin="made for the tests", licence="Apache-2.0"),
        stamp=ModelStamp(model="m", model_sha256="a" * 64, transcoder="t", transcoder_sha256="b" * 64),
        prompt="x y z",
        tokens=("<bos>", "x", "y", "z"),
        targets=(GoldTarget(node_id=LOGIT, token="Austin", probability=1.0),),
        supernodes=(
            _supernode("g1", "Texas", "intermediate", "0_1_1", "0_2_1"),
            _supernode("g2", "capital", "relation", "1_3_2"),
            _supernode("g3", "say Austin", "output", "2_5_3"),
        ),
        selected=("0_1_1", "0_2_1", "1_3_2", "2_5_3"),
        undecided=("2_6_3",),
        edges=(
            GoldEdge(source=EMBEDDING, destination="g1"),
            GoldEdge(source="g1", destination="g3"),
            GoldEdge(source="g2", destination="g3", visible=False),
            GoldEdge(source="g3", destination=LOGIT),
        ),
        effects=(
            KnownEffects(
                supernode="g1", target_token="Austin", site_drop=3.0, features_drop=2.0, swaps=swaps, exhaustive=True
            ),
            KnownEffects(supernode="g2", target_token="Austin", site_drop=0.1, features_drop=0.0),
        ),
        rest_drop=0.01,
        rest_swap_gain=0.02,
        can_score=("selection", "grouping", "labels", "edges", "causal"),
    )


def _supernode(name: str, label: str, role: str, *members: str) -> GoldSupernode:
    accepted = tuple(dict.fromkeys((label, label.removeprefix("say "))))
    return GoldSupernode.model_validate(
        {"supernode_id": name, "label": label, "accepted_labels": accepted, "role": role, "members": members}
    )


@pytest.fixture
def small_graph() -> AttributionGraph:
    """Six features in a chain of three layers, one embedding, one logit."""
    layers, features, positions = np.array([[int(part) for part in name.split("_")] for name in FEATURES]).T
    n_features = len(FEATURES)
    kind = np.array([NodeKind.FEATURE] * n_features + [NodeKind.EMBEDDING, NodeKind.LOGIT], dtype=np.int64)
    nodes = NodeTable(
        kind=kind,
        layer=np.append(layers, [-1, 3]),
        position=np.append(positions, [1, 3]),
        feature=np.append(features, [7, 9]),
        activation=np.array([1.0] * n_features + [np.nan, 0.9], dtype=np.float32),
        influence=np.full(n_features + 2, np.nan, dtype=np.float32),
        bias=np.zeros(n_features + 2, dtype=np.float32),
    )
    # 0_1_1 feeds most, 1_4_2 more than 1_3_2
    links = [(0, 6, 1.0), (1, 6, 0.5), (4, 0, 4.0), (4, 1, 1.0), (4, 2, 1.0), (4, 3, 2.0), (7, 4, 3.0), (7, 5, 1.0)]
    target, source, weight = zip(*links, strict=True)
    return AttributionGraph(
        prompt="x y z",
        tokens=("<bos>", "x", "y", "z"),
        token_ids=(1, 7, 8, 9),
        n_layers=3,
        nodes=nodes,
        node_ids=(*FEATURES, EMBEDDING, LOGIT),
        labels=("",) * (n_features + 2),
        edges=EdgeTable(np.array(target), np.array(source), np.array(weight, dtype=np.float32)),
    )


@pytest.fixture
def predict() -> Predict:
    """Makes a prediction from (label, role, members) triples; importance falls in the order of the members."""

    def make(*supernodes: tuple[str, str, tuple[str, ...]], **more: object) -> Prediction:
        found = tuple(
            PredictedSupernode(f"s{number}", label, role, members)
            for number, (label, role, members) in enumerate(supernodes, start=1)
        )
        nodes = [node for supernode in found for node in supernode.members]
        importance = {node: float(len(nodes) - place) for place, node in enumerate(nodes)}
        return Prediction(supernodes=found, importance=importance, **more)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def oracle_gold() -> GoldSet:
    """The oracle gold that ships, checked against the installed weights."""
    return load_oracle_gold()
