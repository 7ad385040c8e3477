"""Grouping: are features that carry one concept together, and others apart?

All but the last look at gold's grouped nodes alone, so that they judge grouping and not selection. They differ in what a
node that the report left out costs, and in what they do with a node that is in several groups:

* adjusted Rand index and V-measure: partitions; a node left out stands alone, one in several groups is in the first;
* pairs and B-cubed: two nodes are together if any group holds both; a node left out stands alone;
* placed B-cubed: partitions; precision is over the nodes that were placed, and a node left out has a recall of 0;
* name: how far the name of the group that overlaps a concept best shares its words;
* matched supernode F1: whole supernodes one to one, wrong members and surplus supernodes included.

Source: Hubert and Arabie 1985 (ARI) and Rosenberg and Hirschberg 2007 (V-measure), through sklearn; Bagga and Baldwin
1998 (B-cubed), with overlaps after Amigó et al. 2009; Luo 2005 (CEAF with the entity similarity phi-4, here "matched
supernode F1").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.matching import Matching
from tracescribe.evals.prediction import PredictedSupernode, Prediction
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally, harmonic
from tracescribe.evals.scorers.words import word_f1

METRICS = (
    Metric("grouping.ari", "ARI", "gold's nodes are partitioned as gold does", headline=True),
    Metric("grouping.v_measure", "V-measure", "groups hold one concept each, and each concept one group"),
    Metric("grouping.pair_precision", "pair precision", "nodes that were put together belong together"),
    Metric("grouping.pair_recall", "pair recall", "nodes that belong together were put together"),
    Metric("grouping.pair_f1", "pair F1", "harmonic mean of both"),
    Metric("grouping.b3_precision", "B3 precision", "no group mixes concepts"),
    Metric("grouping.b3_recall", "B3 recall", "no concept is split"),
    Metric("grouping.b3_f1", "B3 F1", "harmonic mean of both", headline=True),
    Metric("grouping.placed_b3_precision", "placed B3 precision", "no group mixes concepts"),
    Metric("grouping.placed_b3_recall", "placed B3 recall", "no concept is split or left out"),
    Metric("grouping.placed_b3_f1", "placed B3 F1", "harmonic mean of both", headline=True),
    Metric("grouping.supernode_f1", "supernode F1", "supernodes match gold's one to one", headline=True),
    Metric("grouping.name", "group name", "the best overlapping groups have the words of gold's names"),
    Metric("grouping.cover", "cover", "every node of gold is in some supernode"),
)
BoolMatrix = NDArray[np.bool_]


def score_grouping(prediction: Prediction, gold: GoldCircuit, matching: Matching) -> Mapping[str, Tally]:
    """Score how nodes were grouped.

    Partitions (Rand index, V-measure) need a gold supernode of two nodes at least: where every node stands alone,
    leaving all out would be perfect. Where nothing was placed, placed B-cubed precision does not exist.
    """
    gold_groups = [s.members for s in gold.scorable_supernodes]
    nodes = list(dict.fromkeys(node for members in gold_groups for node in members))
    if not nodes:
        return {metric.name: NOTHING for metric in METRICS}
    groups = [s.members for s in prediction.standing]
    judged = [s for s in prediction.standing if s.supernode_id not in matching.undecided]
    placed = {node for members in groups for node in members} & set(nodes)
    return {
        **_partitions(nodes, gold_groups, groups),
        **_overlapping(nodes, gold_groups, groups),
        **_placed(nodes, gold_groups, groups),
        "grouping.supernode_f1": Tally(2 * sum(match.f1 for match in matching.matches), len(gold_groups) + len(judged)),
        "grouping.name": _names(prediction.standing, gold),
        "grouping.cover": Tally(len(placed), len(nodes)),
    }


def _first_group(groups: Sequence[Collection[str]]) -> dict[str, int]:
    """Number of the group of every node; the first group that lists a node keeps it."""
    found: dict[str, int] = {}
    for number, members in enumerate(groups):
        for node in members:
            found.setdefault(node, number)
    return found


def _partitions(
    nodes: Sequence[str], gold_groups: Sequence[Collection[str]], groups: Sequence[Collection[str]]
) -> dict[str, Tally]:
    from sklearn.metrics import adjusted_rand_score, v_measure_score

    gold_of, predicted_of = _first_group(gold_groups), _first_group(groups)
    truth = [gold_of[node] for node in nodes]
    if len(set(truth)) == len(truth):
        return {"grouping.ari": NOTHING, "grouping.v_measure": NOTHING}
    told = [predicted_of.get(node, len(groups) + alone) for alone, node in enumerate(nodes)]
    return {
        "grouping.ari": Tally(float(adjusted_rand_score(truth, told))),
        "grouping.v_measure": Tally(float(v_measure_score(truth, told))),
    }


def _together(nodes: Sequence[str], groups: Sequence[Collection[str]]) -> BoolMatrix:
    """Whether some group holds both nodes, `[n, n]`; every node is together with itself."""
    place = {node: number for number, node in enumerate(nodes)}
    same = np.eye(len(nodes), dtype=bool)
    for members in groups:
        rows = [place[node] for node in dict.fromkeys(members) if node in place]
        same[np.ix_(rows, rows)] = True
    return same


def _overlapping(
    nodes: Sequence[str], gold_groups: Sequence[Collection[str]], groups: Sequence[Collection[str]]
) -> dict[str, Tally]:
    truth, told = _together(nodes, gold_groups), _together(nodes, groups)
    both, n = truth & told, len(nodes)
    n_both, n_told, n_truth = (int(same.sum()) - n for same in (both, told, truth))
    precision = float(np.mean(both.sum(1) / told.sum(1)))
    recall = float(np.mean(both.sum(1) / truth.sum(1)))
    pairs = n_truth > 0
    return {
        "grouping.pair_precision": (Tally(n_both, n_told) if n_told else Tally(0.0)) if pairs else NOTHING,
        "grouping.pair_recall": Tally(n_both, n_truth),
        "grouping.pair_f1": Tally(2 * n_both, n_told + n_truth) if pairs else NOTHING,
        "grouping.b3_precision": Tally(precision),
        "grouping.b3_recall": Tally(recall),
        "grouping.b3_f1": Tally(harmonic(precision, recall)),
    }


def _placed(
    nodes: Sequence[str], gold_groups: Sequence[Collection[str]], groups: Sequence[Collection[str]]
) -> dict[str, Tally]:
    """B-cubed in which leaving a node out is missing it, not setting it apart."""
    gold_of, predicted_of = _first_group(gold_groups), _first_group(groups)
    pairs = [(gold_of[node], predicted_of[node]) for node in nodes if node in predicted_of]
    gold_size = Counter(gold_of[node] for node in nodes)
    predicted_size = Counter(predicted for _, predicted in pairs)
    together = Counter(pairs)
    precision = Tally(sum(together[pair] / predicted_size[pair[1]] for pair in pairs), len(pairs))
    recall = Tally(sum(together[pair] / gold_size[pair[0]] for pair in pairs), len(nodes))
    return {
        "grouping.placed_b3_precision": precision,
        "grouping.placed_b3_recall": recall,
        "grouping.placed_b3_f1": Tally(harmonic(precision.value or 0.0, recall.value or 0.0)),
    }


def _names(groups: Sequence[PredictedSupernode], gold: GoldCircuit) -> Tally:
    """Word F1 of each concept's name and the name of the group of highest Jaccard overlap, summed over concepts.

    Of groups that overlap alike the better named one counts. A concept that people drew and that has no member counts too,
    and nothing names it; one that a model has no feature for is not asked for.
    """
    asked = gold.supernodes if gold.source.kind == "human" else gold.scorable_supernodes
    undecided = set(gold.undecided)
    members = [set(group.members) - undecided for group in groups]
    total = 0.0
    for concept in asked:
        wanted, best = set(concept.members), (0.0, 0.0)
        for group, of in zip(groups, members, strict=True):
            if wanted & of:
                best = max(best, (len(wanted & of) / len(wanted | of), word_f1(concept.label, group.label)))
        total += best[1]
    return Tally(total, len(asked))
