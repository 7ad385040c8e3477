"""Labels of single nodes: does what the report says of a feature share the words of what people say?

Only nodes that people labelled are asked for. A node may have several accepted labels; the best counts. Word F1 is crude:
a right answer in other words scores 0.

Source: token F1 as in Rajpurkar et al. 2016 (SQuAD).
"""

from __future__ import annotations

from collections.abc import Mapping

from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.prediction import Prediction
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally
from tracescribe.evals.scorers.words import word_f1

METRICS = (
    Metric("node_labels.word_f1_all", "node label words", "every labelled node has the words of an accepted label"),
    Metric("node_labels.word_f1_given", "words, if given", "the labels that were given have an accepted label's words"),
    Metric("node_labels.exact", "node label exact", "every labelled node has an accepted label, but for case"),
    Metric("node_labels.cover", "nodes labelled", "every node that people labelled has some label"),
)


def score_node_labels(prediction: Prediction, gold: GoldCircuit) -> Mapping[str, Tally]:
    """Score labels of single nodes; a blank label is none. Without any, those that were given score 0."""
    asked = gold.node_labels
    if not asked:
        return {metric.name: NOTHING for metric in METRICS}
    told = {node: prediction.node_labels.get(node, "").strip() for node in asked}
    given = {node: text for node, text in told.items() if text}
    shared = sum(max(word_f1(accepted, text) for accepted in asked[node]) for node, text in given.items())
    exact = sum(any(_same(accepted, text) for accepted in asked[node]) for node, text in given.items())
    return {
        "node_labels.word_f1_all": Tally(shared, len(asked)),
        "node_labels.word_f1_given": Tally(shared, len(given)) if given else Tally(0.0),
        "node_labels.exact": Tally(exact, len(asked)),
        "node_labels.cover": Tally(len(given), len(asked)),
    }


def _same(accepted: str, text: str) -> bool:
    return accepted.strip().lower() == text.lower()
