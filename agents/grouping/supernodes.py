"""Group the features of a graph into supernodes by what feeds them, what they feed, and what they are about.

A supernode is pure in role: what reads words and what says words never share one. With corpus evidence, neither do two
positions, unless the same concept is carried from one to the other; within such a cell, features are clustered by the
likeness of their attribution profiles and of their decoders. Without evidence nothing is known of concepts: then a
fitted model of pairs says which features stand together (`graph_only`).

Source: "ADAG", arXiv 2604.07615 (attribution profiles, harmonic mean of input and output views).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import FeatureLabel, Role, Supernode
from tracescribe.agents.grouping.graph_facts import GraphFacts, Labels, graph_facts
from tracescribe.agents.grouping.graph_only import (
    clusters_without_evidence,
    importance_without_evidence,
    most_important,
)
from tracescribe.agents.grouping.likeness import agglomerated, decoder_cosines, views_of
from tracescribe.agents.grouping.naming import name_of, stand_alike
from tracescribe.agents.grouping.repeated_words import read_again
from tracescribe.agents.labelling.labels import MIXED
from tracescribe.agents.survey import Survey
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.profiles import similarity

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


__all__ = [
    "GraphFacts",
    "GroupSettings",
    "Labels",
    "combining_share",
    "graph_facts",
    "group_features",
    "role_of",
    "steps_within",
]


SAYING = ("output", "suppressor")
"""Roles that act on the output."""
STEPS_APART = 1e6
"""Distance between features of which one drives the other: far enough that no mean brings them together."""


@dataclass(frozen=True)
class GroupSettings:
    """Settings of the grouping.

    Attributes:
        merge_similarity: least mean profile likeness (0 to 1) at which clusters merge.
        direct_share: share of a feature's outgoing effect that goes straight to output tokens, from which it counts as
            saying a word rather than preparing one.
        driving_share: a feature that gives another this share of its input is a step before it: the two never share a
            supernode, and the first does not count as saying a word.
        min_influence: supernodes with less influence than this share of the largest are left ungrouped.
        relation_share: a word that shares sentences with at least this share of the vocabulary is taken for a relation
            (an operation on something) and not for a thing.
        decoder_weight: weight of decoder likeness beside profile likeness, 0 to 1, where the transcoders are at hand.
    """

    merge_similarity: float = 0.5
    direct_share: float = 0.5
    driving_share: float = 0.2
    min_influence: float = 0.02
    relation_share: float = 0.08
    decoder_weight: float = 0.25

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return asdict(self)


def role_of(
    tools: CaseTools, facts: GraphFacts, node: FeatureNode, label: FeatureLabel | None, settings: GroupSettings
) -> Role:
    """The role that a feature plays in this prompt, from its label and its place in the graph."""
    if says_a_word(facts, node, settings):
        effect = facts.profiles.outputs[facts.row_of[node]]
        return "output" if effect[int(np.argmax(np.abs(effect)))] > 0 else "suppressor"
    if label is None or label.predicate is None:
        return "other" if label is None else "intermediate"
    token = facts.graph.tokens[node.position].strip()
    reads_this = label.predicate.on == "token" and token in label.predicate.words
    if not reads_this or label.text != token:
        return "intermediate"
    return "relation" if combining_share(tools, token) >= settings.relation_share else "input"


def says_a_word(facts: GraphFacts, node: FeatureNode, settings: GroupSettings) -> bool:
    """Whether a feature acts on the output rather than preparing what does."""
    row = facts.row_of[node]
    direct = facts.direct_share[row] >= settings.direct_share and node.position == facts.final_position
    return bool(direct and facts.drives(row) < settings.driving_share)


def combining_share(tools: CaseTools, word: str) -> float:
    """Share of the corpus's vocabulary that a word shares a sentence with, on the labelling half; 0 without a corpus.

    A relation ('capital') is combined with many different things, a thing ('Ukraine') with a few relations.
    """
    corpus = tools.corpus
    if corpus is None:
        return 0.0
    ids, mine = corpus.store.token_ids, corpus.labelling
    together = mine & np.isin(corpus.store.token_sentence, corpus.sentences_with(word))
    return max(0, len(np.unique(ids[together])) - 1) / max(1, len(np.unique(ids[mine])))


def group_features(
    tools: CaseTools,
    survey: Survey,
    labels: Labels,
    settings: GroupSettings,
    nodes: Sequence[FeatureNode] | None = None,
) -> tuple[Supernode, ...]:
    """Supernodes of a surveyed graph, most influential first.

    Args:
        nodes: the features to group; all of the survey by default, or, where nothing but the graph is there, those that
            matter most in it.

    Raises:
        AttributionError: the graph has a cycle or a weight that is not finite.
    """
    facts = graph_facts(survey.full)
    chosen = surveyed(tools, survey, facts) if nodes is None else tuple(nodes)
    cells: dict[tuple[object, ...], list[FeatureNode]] = {}
    roles: dict[FeatureNode, Role] = {
        node: role_of(tools, facts, node, labels.get(node.ref), settings) for node in chosen
    }
    with_evidence = tools.corpus is not None
    for node in chosen:
        place = _place(node, labels.get(node.ref), roles[node]) if with_evidence else ()
        kind = roles[node] if with_evidence else None
        cells.setdefault((kind, place), []).append(node)
    clusters = [
        cluster
        for cell in cells.values()
        for cluster in (_by_profile(tools, facts, cell, settings) if with_evidence else _by_pairs(facts, cell, roles))
    ]
    if with_evidence:
        clusters = read_again(facts, clusters, roles, partial(stand_alike, tools))
    weight = {i: sum(survey.influence[n] for n in cluster) for i, cluster in enumerate(clusters)}
    floor = (settings.min_influence if with_evidence else 0) * max(weight.values(), default=0.0)
    needed = [i for i in weight if weight[i] >= floor or any(node in survey.screened for node in clusters[i])]
    order = sorted(needed, key=lambda i: (-weight[i], clusters[i][0]))
    return tuple(
        Supernode(
            supernode_id=tools.new_supernode_id(),
            label=name_of(tools, facts, clusters[i], roles[clusters[i][0]], survey, labels),
            role=roles[clusters[i][0]],
            members=tuple(FeatureAt.of(node) for node in clusters[i]),
            influence=weight[i],
        )
        for i in order
    )


def surveyed(tools: CaseTools, survey: Survey, facts: GraphFacts) -> tuple[FeatureNode, ...]:
    """The features to group: those of the survey, or, where a graph comes alone, those that matter most in it."""
    if tools.corpus is not None or tools.can_test:
        return survey.features
    chosen = set(most_important(importance_without_evidence(facts, survey.influence)))
    return tuple(sorted(chosen, key=lambda node: (-survey.influence[node], node)))


def _place(node: FeatureNode, label: FeatureLabel | None, role: Role) -> object:
    """What else must agree for two features of one role to share a supernode: the position, or a carried concept."""
    carried = role == "intermediate" and label is not None and label.reads == "input"
    if carried and label is not None and label.predicate is not None and not label.text.startswith(MIXED):
        return ("concept", label.text)
    return ("position", node.position)


def _by_profile(
    tools: CaseTools, facts: GraphFacts, cell: Sequence[FeatureNode], settings: GroupSettings
) -> list[list[FeatureNode]]:
    """Clusters of one cell by likeness of attribution profiles and decoders; of two features of which one drives the
    other, both are never in one."""
    rows = [facts.row_of[node] for node in cell]
    likeness = similarity(*views_of(facts, rows)).astype(np.float64)
    decoders = decoder_cosines(tools, cell)
    if decoders is not None:
        likeness += settings.decoder_weight * (np.clip(decoders, 0.0, 1.0) - likeness)
    drives = facts.drives_among(rows)
    likeness[np.maximum(drives, drives.T) >= settings.driving_share] = -STEPS_APART
    layers = np.array([node.layer for node in cell], dtype=np.int64)
    while True:
        clusters = agglomerated(likeness, settings.merge_similarity)
        steps = [step for found in clusters for step in steps_within(found, layers, drives, settings.driving_share)]
        if not steps:
            return [[cell[row] for row in found] for found in clusters]
        for lower, upper in steps:
            likeness[np.ix_(lower, upper)] = likeness[np.ix_(upper, lower)] = -STEPS_APART


def steps_within(
    cluster: Sequence[int], layers: NDArray[np.int64], drives: NDArray[np.float64], least: float
) -> list[tuple[list[int], list[int]]]:
    """Where a cluster falls into a step and the next: its features up to a layer drive those above, though perhaps none
    of them does alone."""
    found = []
    for layer in sorted(set(layers[cluster].tolist()))[:-1]:
        lower = [row for row in cluster if layers[row] <= layer]
        upper = [row for row in cluster if layers[row] > layer]
        if drives[np.ix_(upper, lower)].sum(axis=1).mean() >= least:
            found.append((lower, upper))
    return found


def _by_pairs(
    facts: GraphFacts, cell: Sequence[FeatureNode], roles: Mapping[FeatureNode, Role]
) -> list[list[FeatureNode]]:
    """Clusters of a cell by the fitted model of pairs, members in the cell's order."""
    place = {node: number for number, node in enumerate(cell)}
    found = clusters_without_evidence(facts, cell, {node for node in cell if roles[node] in SAYING})
    return [sorted(cluster, key=place.__getitem__) for cluster in found]
