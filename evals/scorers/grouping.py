"""Grouping: are features that carry one concept together, and others apart?

The adjusted Rand index and B-cubed look at gold's grouped nodes alone, so that they judge grouping and not selection. A
node that the prediction left out stands alone for the Rand index; for B-cubed its recall is 0. Matched supernode F1 looks
at whole supernodes, wrong members and surplus supernodes included.

Source: Hubert and Arabie 1985 (ARI, through sklearn); Bagga and Baldwin 1998 (B-cubed); Luo 2005 (CEAF with the entity
similarity phi-4, here "matched supernode F1").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.matching import Matching
from tracescribe.evals.prediction import Prediction
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally

METRICS = (
    Metric("grouping.ari", "ARI", "gold's nodes are partitioned as gold does", headline=True),
    Metric("grouping.b3_precision", "B3 precision", "no group mixes concepts"),
    Metric("grouping.b3_recall", "B3 recall", "no concept is split or left out"),
    Metric("grouping.b3_f1", "B3 F1", "harmonic mean of both", headline=True),
    Metric("grouping.supernode_f1", "supernode F1", "supernodes match gold's one to one", headline=True),
    Metric("grouping.placed", "placed", "every node of gold is in some supernode"),
)


def score_grouping(prediction: Prediction, gold: GoldCircuit, matching: Matching) -> Mapping[str, Tally]:
    """Score how feature nodes were grouped; a node in several groups belongs to the first.

    The adjusted Rand index needs a gold supernode of two nodes at least: where every node stands alone, leaving all out
    would be perfect. Without supernodes B-cubed precision does not exist.
    """
    gold_group = _group_of({s.supernode_id: s.members for s in gold.scorable_supernodes})
    if not gold_group:
        return {metric.name: NOTHING for metric in METRICS}
    predicted_group = _group_of({s.supernode_id: s.members for s in prediction.standing})
    placed = [node for node in gold_group if node in predicted_group]
    precision, recall = _b_cubed(gold_group, predicted_group, placed)
    judged = [s for s in prediction.standing if s.supernode_id not in matching.undecided]
    n_supernodes = len(gold.scorable_supernodes) + len(judged)
    return {
        "grouping.ari": _adjusted_rand(gold_group, predicted_group),
        "grouping.b3_precision": Tally(precision, len(placed)),
        "grouping.b3_recall": Tally(recall, len(gold_group)),
        "grouping.b3_f1": _harmonic(Tally(precision, len(placed)), Tally(recall, len(gold_group))),
        "grouping.supernode_f1": Tally(2 * sum(match.f1 for match in matching.matches), n_supernodes),
        "grouping.placed": Tally(len(placed), len(gold_group)),
    }


def _group_of(groups: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Group by node; the first group that lists a node keeps it."""
    found: dict[str, str] = {}
    for name, members in groups.items():
        for node in members:
            found.setdefault(node, name)
    return found


def _adjusted_rand(gold_group: Mapping[str, str], predicted_group: Mapping[str, str]) -> Tally:
    from sklearn.metrics import adjusted_rand_score

    if len(set(gold_group.values())) == len(gold_group):
        return NOTHING
    predicted = [predicted_group.get(node, f"alone {node}") for node in gold_group]
    return Tally(float(adjusted_rand_score(list(gold_group.values()), predicted)))


def _b_cubed(
    gold_group: Mapping[str, str], predicted_group: Mapping[str, str], placed: list[str]
) -> tuple[float, float]:
    """Sums over placed nodes of B-cubed precision and recall."""
    gold_size = Counter(gold_group.values())
    predicted_size = Counter(predicted_group[node] for node in placed)
    together = Counter((gold_group[node], predicted_group[node]) for node in placed)
    precision = sum(together[gold_group[n], predicted_group[n]] / predicted_size[predicted_group[n]] for n in placed)
    recall = sum(together[gold_group[n], predicted_group[n]] / gold_size[gold_group[n]] for n in placed)
    return precision, recall


def _harmonic(precision: Tally, recall: Tally) -> Tally:
    p, r = precision.value or 0.0, recall.value or 0.0
    return Tally(2 * p * r / (p + r) if p + r else 0.0)
