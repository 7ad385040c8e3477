"""One concept read at several places: clusters of the same features on the same word, with the same work to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.findings import Role
from tracescribe.agents.grouping.graph_facts import GraphFacts
from tracescribe.tracer.graph import FeatureNode

SAME_FEATURES = 0.5
"""Least share of features that two clusters have in common, of all that either has."""
SAME_WORK = 0.9
"""Least cosine between the ways in which two clusters move the answer, over the features that they feed."""


def read_again(
    facts: GraphFacts,
    clusters: Sequence[Sequence[FeatureNode]],
    roles: Mapping[FeatureNode, Role],
    listed: Callable[[str, str], bool] = lambda word, other: True,
) -> list[list[FeatureNode]]:
    """Clusters, with those joined that are one concept met several times: the votes for one candidate.

    Two are joined if they have one role, stand on the same word, hold the same features, and do the same work: they
    move the answer alike, through the same features. A word that is met twice in two parts (a name that acts, and is acted on)
    does different work each time, and stays apart. So does one that is met twice in two places of a pattern (13 + 13): votes
    stand in a list, with nothing between them but words of their kind.

    Args:
        clusters: each of one role.
        listed: whether a word between two places is of the kind of the word there.
    """
    joined: list[list[FeatureNode]] = []
    firsts: list[Sequence[FeatureNode]] = []
    for cluster in clusters:
        for number, first in enumerate(firsts):
            if roles[cluster[0]] == roles[first[0]] and _same(facts, first, cluster, listed):
                joined[number] += cluster
                break
        else:
            firsts.append(cluster)
            joined.append(list(cluster))
    return joined


def _same(
    facts: GraphFacts,
    first: Sequence[FeatureNode],
    other: Sequence[FeatureNode],
    listed: Callable[[str, str], bool],
) -> bool:
    words = {facts.graph.tokens[node.position].strip() for node in (*first, *other)}
    places = [{node.position for node in cluster} for cluster in (first, other)]
    if len(words) > 1 or places[0] & places[1]:
        return False
    (word,), (low, high) = words, sorted(min(place) for place in places)
    if not all(listed(word, token.strip()) for token in facts.graph.tokens[low + 1 : high]):
        return False
    refs = [{node.ref for node in cluster} for cluster in (first, other)]
    if len(refs[0] & refs[1]) < SAME_FEATURES * len(refs[0] | refs[1]):
        return False
    moves = [facts.moves_answer([facts.row_of[node] for node in cluster]) for cluster in (first, other)]
    return _cosine(moves[0], moves[1]) >= SAME_WORK


def _cosine(first: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    norm = float(np.linalg.norm(first) * np.linalg.norm(other))
    return float(first @ other) / norm if norm > 0 else 0.0
