"""Group the features of a graph into supernodes by what feeds them, what they feed, and what they are about.

A supernode is pure in role: what reads words and what says words never share one, and neither do two positions, unless
the same concept is carried from one to the other. Within such a cell, features are clustered by the likeness of their
attribution profiles.

Source: "ADAG", arXiv 2604.07615 (attribution profiles, harmonic mean of input and output views).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import FeatureLabel, Role, Supernode
from tracescribe.agents.labels import MIXED
from tracescribe.agents.predicates import holds
from tracescribe.agents.survey import Survey
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, FeatureRef, NodeKind
from tracescribe.tracer.profiles import Profiles, profiles, similarity

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


@dataclass(frozen=True)
class GroupSettings:
    """Settings of the grouping.

    Attributes:
        merge_similarity: least mean profile likeness (0 to 1) at which clusters merge.
        direct_share: share of a feature's outgoing effect that goes straight to output tokens, from which it counts as
            saying a word rather than preparing one.
        min_influence: supernodes with less influence than this share of the largest are left ungrouped.
        relation_answers: a word after which the model gives at least this many different answers, weighted by how often,
            is taken for a relation (an operation on something) and not for a thing.
    """

    merge_similarity: float = 0.5
    direct_share: float = 0.5
    min_influence: float = 0.02
    relation_answers: float = 12.0

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return asdict(self)


UNSCORED = 0.5
"""Weight of a label without a detection score when members vote on a name: between a bad and a good one."""

Labels = Mapping[FeatureRef, FeatureLabel]
"""Labels by feature."""


@dataclass(frozen=True, eq=False)
class GraphFacts:
    """What grouping needs to know of a graph; rows are the graph's feature nodes.

    Attributes:
        graph: the graph.
        profiles: attribution profiles of all its features.
        row_of: row by feature node.
        to_logits: summed direct effect on each logit, `[n_features, n_logits]`.
        direct_share: share of absolute outgoing effect that goes straight to logits, `[n_features]`.
    """

    graph: AttributionGraph
    profiles: Profiles
    row_of: Mapping[FeatureNode, int]
    to_logits: NDArray[np.float64]
    direct_share: NDArray[np.float64]

    @property
    def final_position(self) -> int:
        """Position of the last token, where answers are given."""
        return self.graph.n_pos - 1


def graph_facts(graph: AttributionGraph) -> GraphFacts:
    """Profiles and direct effects of a graph.

    Raises:
        AttributionError: the graph has a cycle or a weight that is not finite.
    """
    found = profiles(graph)
    n_features = len(found.nodes)
    row = np.full(graph.n_nodes, -1)
    row[found.nodes] = np.arange(n_features)
    column = np.full(graph.n_nodes, -1)
    column[found.logits] = np.arange(len(found.logits))
    edges = graph.edges
    source, weight = row[edges.source], edges.weight.astype(np.float64)
    mine = source >= 0
    total = np.bincount(source[mine], weights=np.abs(weight[mine]), minlength=n_features)
    direct = mine & (graph.nodes.kind[edges.target] == NodeKind.LOGIT)
    to_logits = np.zeros((n_features, len(found.logits)))
    np.add.at(to_logits, (source[direct], column[edges.target[direct]]), weight[direct])
    straight = np.bincount(source[direct], weights=np.abs(weight[direct]), minlength=n_features)
    share = np.divide(straight, total, out=np.zeros(n_features), where=total > 0)
    rows = {graph.feature_node(int(node)): number for number, node in enumerate(found.nodes)}
    return GraphFacts(graph, found, rows, to_logits, share)


def role_of(
    tools: CaseTools, facts: GraphFacts, node: FeatureNode, label: FeatureLabel | None, settings: GroupSettings
) -> Role:
    """The role that a feature plays in this prompt, from its label and its place in the graph."""
    row = facts.row_of[node]
    says = facts.direct_share[row] >= settings.direct_share and node.position == facts.final_position
    if says:
        effect = facts.profiles.outputs[row]
        return "output" if effect[int(np.argmax(np.abs(effect)))] > 0 else "suppressor"
    if label is None or label.predicate is None:
        return "other" if label is None else "intermediate"
    token = facts.graph.tokens[node.position].strip()
    reads_this = label.predicate.on == "token" and token in label.predicate.words
    if not reads_this or label.text != token:
        return "intermediate"
    many = distinct_answers(tools, token) >= settings.relation_answers
    return "relation" if many else "input"


def distinct_answers(tools: CaseTools, word: str) -> float:
    """How many different answers the model gives in sentences with this word: the exponential of their entropy.

    An answer is the model's most probable word at the last position but one of a sentence, the full stop's place aside;
    counted on the labelling half. 0 without a corpus.
    """
    store = tools.store
    if store is None:
        return 0.0
    ids = [i for i, text in store.token_texts.items() if text == word]
    mine = ~store.token_in_test & np.isin(store.token_ids, ids)
    sentences = np.unique(store.token_sentence[mine])
    last = store.offsets[sentences + 1] - 3  # before the answer: answer and full stop end a sentence
    kept = last >= store.offsets[sentences]
    count = np.bincount(store.next_token_ids[last[kept]]).astype(np.float64)
    share = count[count > 0] / max(count.sum(), 1.0)
    return float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0


def group_features(
    tools: CaseTools,
    survey: Survey,
    labels: Labels,
    settings: GroupSettings,
    nodes: Sequence[FeatureNode] | None = None,
) -> tuple[Supernode, ...]:
    """Supernodes of a surveyed graph, most influential first.

    Args:
        nodes: the features to group; all of the survey by default.

    Raises:
        AttributionError: the graph has a cycle or a weight that is not finite.
    """
    facts = graph_facts(survey.full)
    chosen = tuple(survey.features if nodes is None else nodes)
    cells: dict[tuple[object, ...], list[FeatureNode]] = {}
    roles: dict[FeatureNode, Role] = {
        node: role_of(tools, facts, node, labels.get(node.ref), settings) for node in chosen
    }
    for node in chosen:
        cells.setdefault((roles[node], _place(node, labels.get(node.ref), roles[node])), []).append(node)
    clusters = [cluster for cell in cells.values() for cluster in _cluster(facts, cell, settings.merge_similarity)]
    weight = {i: sum(survey.influence[n] for n in cluster) for i, cluster in enumerate(clusters)}
    floor = settings.min_influence * max(weight.values(), default=0.0)
    order = sorted((i for i in weight if weight[i] >= floor), key=lambda i: (-weight[i], clusters[i][0]))
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


def _place(node: FeatureNode, label: FeatureLabel | None, role: Role) -> object:
    """What else must agree for two features of one role to share a supernode: the position, or a carried concept."""
    carried = role == "intermediate" and label is not None and label.reads == "input"
    if carried and label is not None and label.predicate is not None and not label.text.startswith(MIXED):
        return ("concept", label.text)
    return ("position", node.position)


def _cluster(facts: GraphFacts, cell: Sequence[FeatureNode], merge_similarity: float) -> list[list[FeatureNode]]:
    """Agglomerative clusters of one cell by mean likeness of profiles; members keep the cell's order."""
    if len(cell) < 2:
        return [list(cell)]
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    rows = [facts.row_of[node] for node in cell]
    views = (facts.profiles.inputs[rows], facts.profiles.outputs[rows], facts.profiles.destinations[rows])
    distance = 1.0 - similarity(*views).astype(np.float64)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    found = fcluster(tree, 1.0 - merge_similarity, criterion="distance")
    clusters: dict[int, list[FeatureNode]] = {}
    for node, cluster in zip(cell, found, strict=True):
        clusters.setdefault(int(cluster), []).append(node)
    return list(clusters.values())


def name_of(
    tools: CaseTools,
    facts: GraphFacts,
    cluster: Sequence[FeatureNode],
    role: Role,
    survey: Survey,
    labels: Labels,
) -> str:
    """Name of a supernode.

    Outputs and suppressors are named after the token they act on. The others take the label that carries most influence
    among the members, of those labels that hold at this place of this prompt: a feature may fire here for a reason that
    its label does not tell. Where none holds, the name says which answer the supernode leads to.
    """
    rows = [facts.row_of[node] for node in cluster]
    if role in ("output", "suppressor"):
        token = _strongest(tools, facts, facts.to_logits[rows].sum(axis=0))[0]
        return f"say {token}" if role == "output" else f"not {token}"
    votes: dict[str, float] = {}
    for node in cluster:
        text = _text_here(tools, facts, node, labels.get(node.ref))
        if text is not None:
            label = labels[node.ref]
            score = label.score.f1 if label.score is not None else UNSCORED
            votes[text] = votes.get(text, 0.0) + survey.influence[node] * (0.1 + score)
    if votes:
        return max(votes, key=lambda text: (votes[text], text))
    token, effect = _strongest(tools, facts, facts.profiles.outputs[rows].sum(axis=0))
    return f"leads to {token}" if effect > 0 else f"leads away from {token}"


def _strongest(tools: CaseTools, facts: GraphFacts, effects: NDArray[np.floating[Any]]) -> tuple[str, float]:
    """The output token that is moved most, and by how much."""
    best = int(np.argmax(np.abs(effects)))
    return tools.token_of_logit(facts.graph, int(facts.profiles.logits[best])).strip(), float(effects[best])


def _text_here(tools: CaseTools, facts: GraphFacts, node: FeatureNode, label: FeatureLabel | None) -> str | None:
    """A label's text if it holds at this node; in a list of words the one that is met here comes first."""
    if label is None or label.text.startswith(MIXED):
        return None
    if label.predicate is None:
        return label.text
    tokens = [token.strip() for token in facts.graph.tokens]
    following = tools.next_tokens()
    if label.predicate.on == "next" and not following:
        return label.text
    if not holds(label.predicate, tokens, following or tokens)[node.position]:
        carried = label.predicate.on == "token" and _usually_fires(tools, node.ref, tokens[node.position])
        return label.text if carried else None
    if " / " not in label.text or label.predicate.on == "previous":
        return label.text
    here = tokens[node.position] if label.predicate.on == "token" else following[node.position]
    others = [word for word in label.predicate.words if word != here]
    return ("say " if label.predicate.on == "next" else "") + " / ".join([here, *others[:2]])


def _usually_fires(tools: CaseTools, ref: FeatureRef, word: str) -> bool:
    """Whether a feature fires on most occurrences of a word in the labelling half, or the word never occurs there.

    A predicate lists the words that detect a feature best, not all that belong: 'Japan' may also fire on a city that the
    corpus has hardly seen.
    """
    store = tools.store
    if store is None:
        return False
    ids = [i for i, text in store.token_texts.items() if text == word]
    mine = ~store.token_in_test & np.isin(store.token_ids, ids)
    return not mine.any() or float((store.dense(ref)[mine] > 0).mean()) >= 0.5
