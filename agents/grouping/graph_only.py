"""Two small models for graphs that come alone: which features belong together, and which matter.

Where there are neither weights nor a corpus, nobody can say what a feature means; a graph still shows where it stands, what
feeds it and what it feeds. Both models are weighted sums of such evidence. Their weights ship in `graph_only.json`; they
were fitted by `evals/fitting_graph_only.py` on circuits that people had labelled, and no label, prompt or feature of those is
in them. `docs/graph-only.md` tells the method and what it reaches on circuits left out of the fit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from tracescribe.agents.grouping.feature_links import FeatureLinks, Matrix, feature_links
from tracescribe.agents.grouping.graph_facts import GraphFacts
from tracescribe.agents.grouping.likeness import agglomerated
from tracescribe.agents.grouping.node_evidence import NODE_EVIDENCE, node_evidence
from tracescribe.agents.grouping.pair_evidence import PAIR_EVIDENCE, pair_evidence
from tracescribe.tracer.errors import WorkError
from tracescribe.tracer.graph import FeatureNode

WEIGHTS_FILE = "graph_only.json"
SCHEMA = "tracescribe-graph-only/1"
MAX_GROUPED = 200
"""Most features that are grouped, the most important ones: what a person can read. A published graph that was thinned by
hand has fewer, and all of them are grouped."""

FAR = 1e6
"""Unlikeness that no mean makes up for."""


@dataclass(frozen=True)
class GraphOnlyModel:
    """The fitted weights.

    Attributes:
        pair_intercept, pair_weights: log odds that two features share a supernode, per unit of each evidence.
        least: mean probability of pairs from which clusters merge.
        node_weights: of each evidence that a feature matters.
    """

    pair_intercept: float
    pair_weights: Mapping[str, float]
    least: float
    node_weights: Mapping[str, float]


@cache
def shipped_model() -> GraphOnlyModel:
    """The model that ships.

    Raises:
        WorkError: the shipped file does not fit this version of the code.
    """
    return read_model(files("tracescribe.agents.grouping").joinpath(WEIGHTS_FILE).read_text(encoding="utf-8"))


def read_model(text: str) -> GraphOnlyModel:
    """A model from the text of its file.

    Raises:
        WorkError: it is not a file of this version: other evidence, another schema.
    """
    told = json.loads(text)
    pairs, nodes = told["pairs"], told["nodes"]
    if (
        told["schema"] != SCHEMA
        or set(pairs["weights"]) != set(PAIR_EVIDENCE)
        or set(nodes["weights"]) != set(NODE_EVIDENCE)
    ):
        raise WorkError(f"{WEIGHTS_FILE} does not fit this version: fit it again, see docs/graph-only.md")
    return GraphOnlyModel(pairs["intercept"], pairs["weights"], pairs["least"], nodes["weights"])


def importance_without_evidence(
    facts: GraphFacts, influence: Mapping[FeatureNode, float], model: GraphOnlyModel | None = None
) -> dict[FeatureNode, float]:
    """How likely each feature node is to be among those that a person would keep: a score, larger is likelier.

    Args:
        influence: share of the output's influence that passes through each feature node.
    """
    weights = (model or shipped_model()).node_weights
    score = node_evidence(facts, influence) @ np.array([weights[name] for name in NODE_EVIDENCE])
    # rounded, so that equal features stay equal in whatever order sums were taken
    return {
        facts.graph.feature_node(int(i)): round(float(s), 6) for i, s in zip(facts.profiles.nodes, score, strict=True)
    }


def most_important(importance: Mapping[FeatureNode, float]) -> tuple[FeatureNode, ...]:
    """The features that are grouped: at most `MAX_GROUPED`, most important first."""
    return tuple(sorted(importance, key=lambda node: (-importance[node], node))[:MAX_GROUPED])


def clusters_without_evidence(
    facts: GraphFacts,
    nodes: Sequence[FeatureNode],
    saying: Collection[FeatureNode] = (),
    model: GraphOnlyModel | None = None,
) -> list[list[FeatureNode]]:
    """Groups of features that a person would put together; every feature is in one, some alone.

    One feature at several positions stays in one group; what says words shares none with what does not.

    Args:
        saying: those of the features that say words.
    """
    model = model or shipped_model()
    if not nodes:
        return []
    links = feature_links(facts, nodes)
    likeness = np.round(pair_probabilities(links, model), 6)
    likeness[links.twins] = 1.0
    says = np.array([node in saying for node in links.features])
    likeness[says[:, None] != says[None, :]] = -FAR
    return [[links.features[row] for row in rows] for rows in agglomerated(likeness, model.least)]


def pair_probabilities(links: FeatureLinks, model: GraphOnlyModel) -> Matrix:
    """Probability that two features share a supernode, `[n, n]`, symmetric."""
    odds = np.full((len(links.features), len(links.features)), model.pair_intercept)
    for name, values in pair_evidence(links):
        odds += model.pair_weights[name] * np.nan_to_num(values)
    probability = 1.0 / (1.0 + np.exp(-np.clip(odds, -30.0, 30.0)))
    return np.asarray((probability + probability.T) / 2)
