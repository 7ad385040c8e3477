"""Selection: does the report pick the features that matter?

Candidates are all feature nodes of the unpruned graph that gold decides about. Precision, recall and F1 are of the set in
supernodes; the ranking scores are of the report's ranking, in which nodes that it does not rank share the last place. A
report that ranks nothing is ranked by its set. R-precision is the precision of the first K nodes, K being how many matter;
nodes that are ranked alike stand in the order of their ids.

An answer that selects nothing has a precision of 0: it is an answer, and a bad one.

Source: sklearn.metrics; average precision and R-precision after Manning, Raghavan and Schütze 2008, chapter 8.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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
    Metric("selection.rprec", "R-precision", "the K first of the ranking are the K features that matter"),
)


def score_selection(prediction: Prediction, gold: GoldCircuit, graph: AttributionGraph) -> Mapping[str, Tally]:
    """Score which feature nodes were selected, and how they were ranked.

    With none that does not matter no ranking can be told from another, and with none that matters nothing can be scored.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    candidates = candidates_of(gold, graph)
    wanted, chosen = set(gold.selected), prediction.selected
    matters = np.array([i in wanted for i in candidates], dtype=bool)
    picked = np.array([i in chosen for i in candidates], dtype=bool)
    n_matters, n_picked, right = int(matters.sum()), int(picked.sum()), int((matters & picked).sum())
    if not n_matters:
        return {metric.name: NOTHING for metric in METRICS}
    ranking = _ranking(prediction, candidates, picked)
    ranks = n_matters < len(candidates)
    precision = Tally(right, n_picked) if n_picked else Tally(0.0)
    first = np.argsort(-ranking, kind="stable")[:n_matters]
    return {
        "selection.precision": precision,
        "selection.recall": Tally(right, n_matters),
        "selection.f1": Tally(2 * right, n_picked + n_matters),
        "selection.auc": Tally(float(roc_auc_score(matters, ranking))) if ranks else NOTHING,
        "selection.average_precision": Tally(float(average_precision_score(matters, ranking))) if ranks else NOTHING,
        "selection.rprec": Tally(int(matters[first].sum()), n_matters) if prediction.importance else precision,
    }


def candidates_of(gold: GoldCircuit, graph: AttributionGraph) -> list[str]:
    """Ids of the feature nodes that gold decides about, each once, in the order of their ids."""
    return sorted(set(feature_node_ids(graph)) - set(gold.undecided))


def _ranking(prediction: Prediction, candidates: list[str], picked: np.ndarray) -> np.ndarray:
    """How much each candidate matters to the report, `[n_candidates]`."""
    if not prediction.importance:
        return picked.astype(np.float64)
    last = min(prediction.importance.values()) - 1.0
    return np.array([prediction.importance.get(i, last) for i in candidates], dtype=np.float64)
