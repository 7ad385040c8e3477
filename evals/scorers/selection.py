"""Selection: does the report pick the features that matter?

Candidates are all feature nodes of the unpruned graph that gold decides about. Precision and recall are of the set in
supernodes; the ranking scores use each selected node's influence, unselected nodes sharing the last place.

Source: sklearn.metrics; average precision after Manning, Raghavan and Schütze 2008, chapter 8.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.prediction import Prediction, feature_node_ids
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally
from tracescribe.tracer.graph import AttributionGraph

METRICS = (
    Metric("selection.precision", "sel. precision", "every selected feature matters"),
    Metric("selection.recall", "sel. recall", "every feature that matters is selected"),
    Metric("selection.f1", "selection F1", "the selected features are exactly those that matter", headline=True),
    Metric("selection.auc", "selection AUC", "every feature that matters outranks every other", headline=True),
    Metric("selection.average_precision", "sel. AP", "the ranking starts with the features that matter"),
)


def score_selection(prediction: Prediction, gold: GoldCircuit, graph: AttributionGraph) -> Mapping[str, Tally]:
    """Score which feature nodes were selected.

    Without a selected candidate precision does not exist, with none that does not matter no ranking score does, and with
    none that matters nothing does.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    undecided = set(gold.undecided)
    candidates = [i for i in feature_node_ids(graph) if i not in undecided]
    matters = [i in set(gold.selected) for i in candidates]
    picked = [i in prediction.selected for i in candidates]
    n_matters, n_picked = sum(matters), sum(picked)
    if not n_matters:
        return {metric.name: NOTHING for metric in METRICS}
    right = sum(m and p for m, p in zip(matters, picked, strict=True))
    ranks = n_matters < len(candidates)
    floor = min(prediction.importance.values(), default=0.0) - 1.0
    ranking = [prediction.importance.get(i, floor) for i in candidates]
    return {
        "selection.precision": Tally(right, n_picked),
        "selection.recall": Tally(right, n_matters),
        "selection.f1": Tally(2 * right, n_picked + n_matters),
        "selection.auc": Tally(float(roc_auc_score(matters, ranking))) if ranks else NOTHING,
        "selection.average_precision": Tally(float(average_precision_score(matters, ranking))) if ranks else NOTHING,
    }
