"""Calibration: do the probabilities that a report states come true as often as it says?

A report states a probability where it calls a claim supported and tells the claim's q value: q is the share of false ones
that it expects among claims at least as certain, so that the claim is said to be true with 1 - q. Refuted and undecided
claims state none: their q tells how they compare with random controls, not how likely the refutation is. Only claims of
which gold can tell enter. Where nothing is stated there is no score.

* Brier: mean squared difference of what was stated and what was true; 0 is perfect, 1/4 is what saying 1/2 always costs.
* ECE: expected calibration error: difference of the mean stated probability and the share that came true, bin by bin,
  weighed by size. Bins are narrower near 1, because a supported claim's q lies below the level of the test.

Source: Brier 1950; Naeini, Cooper and Hauskrecht 2015 (expected calibration error).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.matching import Matching
from tracescribe.evals.prediction import Prediction
from tracescribe.evals.scorers.causal import claim_truth
from tracescribe.evals.scorers.metric import NOTHING, Bins, Metric, Tally

METRICS = (
    Metric("calibration.brier", "Brier", "what was called certain is always false", "pooled", higher_is_better=False),
    Metric("calibration.ece", "ECE", "what was called certain is always false", "binned", higher_is_better=False),
)
EDGES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Between the bins of stated probabilities; a probability on an edge is in the upper bin."""


def score_calibration(prediction: Prediction, gold: GoldCircuit, matching: Matching) -> Mapping[str, Tally]:
    """Score the probabilities that are stated of claims."""
    stated: list[tuple[float, bool]] = []
    for judged in prediction.claims:
        truth = claim_truth(judged.claim, gold, matching) if judged.probability is not None else None
        if judged.probability is not None and truth is not None:
            stated.append((judged.probability, truth))
    if not stated:
        return {metric.name: NOTHING for metric in METRICS}
    bins = binned(stated)
    return {
        "calibration.brier": Tally(sum((p - true) ** 2 for p, true in stated), len(stated)),
        "calibration.ece": Tally(sum(abs(told - came) for told, came, _ in bins), len(stated), bins),
    }


def binned(stated: list[tuple[float, bool]]) -> Bins:
    """Sums by bin of (probability, truth) pairs."""
    sums = [[0.0, 0.0, 0.0] for _ in range(len(EDGES) + 1)]
    for probability, true in stated:
        of = sums[bisect_right(EDGES, probability)]
        of[0] += probability
        of[1] += true
        of[2] += 1
    return tuple((told, came, n) for told, came, n in sums)
