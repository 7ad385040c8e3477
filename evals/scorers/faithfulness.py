"""Faithfulness: how much of the model's answer do the features that a report ranks first carry, the rest ablated?

`f(k) = (m(circuit_k) - m(empty)) / (m(full) - m(empty))`: `circuit_k` keeps the first share `k` of the prompt's features,
`full` is the untouched model, `empty` has every feature of the graph ablated. What no feature explains (errors, biases,
the attention of the model) stays in place throughout, so `f` speaks of the features alone.

Source: Mueller et al. 2025, MIB (arXiv 2504.13151), for f, its grid of k, CPR and CMD; Marks et al. 2024, Sparse Feature
Circuits (arXiv 2403.19647), for faithfulness of features and of the complement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tracescribe.evals.prediction import prediction_of_report
from tracescribe.evals.scorers.circuit_runs import Answers, CircuitRuns
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally
from tracescribe.tracer.graph import AttributionGraph, FeatureNode
from tracescribe.tracer.statistics import Float64Array

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport

Measure = Literal["difference", "logit"]
"""m: the logit difference of answer and foil, or the answer's logit alone."""

GRID = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares k at which MIB measures a circuit."""
MIN_WHOLE = math.log(2)
"""Least m(full) - m(empty), in nats: where all features together do not even double the odds of answer against foil, a
share of them is a share of next to nothing, and there is no score."""
N_RANDOM_RANKINGS = 20
"""Random rankings that CPR is compared with: only their mean is used, and single cases are averaged afterwards."""

METRICS = (
    Metric("circuit.faithfulness", "faithfulness", "the reported circuit alone keeps the whole preference"),
    Metric(
        "circuit.complement",
        "left without it",
        "the rest keeps the whole preference when the circuit is ablated",
        higher_is_better=False,
    ),
    Metric("circuit.cpr", "CPR", "area under f(k): the first features keep the whole preference", headline=True),
    Metric(
        "circuit.cmd", "CMD", "area of |1 - f(k)|: the first features keep nothing as it was", higher_is_better=False
    ),
    Metric("circuit.cpr_over_random", "CPR over random", "the ranking keeps all where random ones keep nothing"),
    Metric("circuit.cpr_mean", "CPR, means", "as CPR, other features at their means instead of 0"),
    Metric("circuit.cmd_mean", "CMD, means", "as CMD, with means", higher_is_better=False),
    Metric("circuit.cpr_logit", "CPR, logit", "as CPR, of the answer's logit alone"),
    Metric("circuit.grid", "k that exist", "every k of the grid keeps at least one feature of the prompt"),
)


@dataclass(frozen=True, eq=False)
class FaithfulnessCurve:
    """f over the grid.

    Attributes:
        kept: features kept at each k: the share rounded down, `[n_grid]`.
        f: faithfulness at each k, `[n_grid]`.
    """

    kept: tuple[int, ...]
    f: Float64Array

    @property
    def cpr(self) -> float:
        """Area under f, by trapezoids over k from the first to the last of the grid; 0.999 where f is 1 throughout."""
        return float(np.trapezoid(self.f, GRID))

    @property
    def cmd(self) -> float:
        """Area of |1 - f|, by trapezoids of the absolute values at the grid's k, as MIB adds it up."""
        return float(np.trapezoid(np.abs(1.0 - self.f), GRID))


def kept_counts(n_features: int) -> tuple[int, ...]:
    """Features that each k of the grid keeps of `n_features`: rounded down, as MIB does with edges."""
    return tuple(int(share * n_features) for share in GRID)


def ranked_nodes(
    report: CircuitReport, graph: AttributionGraph, runs: CircuitRuns, rng: np.random.Generator
) -> tuple[FeatureNode, ...]:
    """All features of the prompt, by the report's importance; equal and unranked ones in a random order."""
    importance = prediction_of_report(report, graph).importance
    scores = {node: importance.get(graph.node_ids[graph.node_of_feature[node]], -math.inf) for node in runs.features}
    drawn = [runs.features[i] for i in rng.permutation(len(runs.features))]
    return tuple(sorted(drawn, key=lambda node: -scores[node]))


def faithfulness_curves(
    runs: CircuitRuns, rankings: Sequence[Sequence[FeatureNode]], measure: Measure = "difference", means: bool = False
) -> list[FaithfulnessCurve] | None:
    """f over the grid for several rankings of the prompt's features, each set of features run once.

    Args:
        means: features left out are set to their mean over the corpus instead of 0, in `empty` too.

    Returns:
        None where all features together carry less than `MIN_WHOLE`.

    Raises:
        InterventionError: the edits drive the model out of the range of numbers.
    """
    kept = kept_counts(len(runs.features))
    wanted = [[frozenset(ranking[:count]) for count in kept] for ranking in rankings]
    sets = list(dict.fromkeys([frozenset(runs.features), frozenset[FeatureNode](), *(s for w in wanted for s in w)]))
    shares = recovered(_of(runs.run([runs.only(nodes, means) for nodes in sets]), measure))
    if shares is None:
        return None
    found = dict(zip(sets, shares.tolist(), strict=True))
    return [FaithfulnessCurve(kept, np.array([found[nodes] for nodes in row])) for row in wanted]


def recovered(values: Float64Array) -> Float64Array | None:
    """m as shares of what all features carry; the first value is m(full), the second m(empty).

    Returns:
        None where less than `MIN_WHOLE` lies between the two.
    """
    whole, empty = float(values[0]), float(values[1])
    return (values - empty) / (whole - empty) if whole - empty >= MIN_WHOLE else None


def score_faithfulness(
    report: CircuitReport, graph: AttributionGraph, runs: CircuitRuns, rng: np.random.Generator
) -> Mapping[str, Tally]:
    """Score how faithful the reported circuit and the report's ranking are to the model.

    Raises:
        InterventionError: the edits drive the model out of the range of numbers.
    """
    scores = {metric.name: NOTHING for metric in METRICS}
    if not runs.features:
        return scores
    scores["circuit.grid"] = Tally(sum(map(bool, kept_counts(len(runs.features)))), len(GRID))
    ranking = ranked_nodes(report, graph, runs, rng)
    shuffled = [[runs.features[i] for i in rng.permutation(len(ranking))] for _ in range(N_RANDOM_RANKINGS)]
    curves = faithfulness_curves(runs, [ranking, *shuffled])
    if curves is not None:
        chance = float(np.mean([curve.cpr for curve in curves[1:]]))
        scores["circuit.cpr"] = Tally(curves[0].cpr)
        scores["circuit.cmd"] = Tally(curves[0].cmd)
        scores["circuit.cpr_over_random"] = Tally(curves[0].cpr - chance)
        rows = [(), runs.only(()), runs.only(runs.circuit), runs.without(runs.circuit)]
        shares = recovered(runs.run(rows).difference)
        if shares is not None:
            scores["circuit.faithfulness"] = Tally(float(shares[2]))
            scores["circuit.complement"] = Tally(float(shares[3]))
    by_mean = faithfulness_curves(runs, [ranking], means=True) if runs.has_means else None
    if by_mean is not None:
        scores["circuit.cpr_mean"] = Tally(by_mean[0].cpr)
        scores["circuit.cmd_mean"] = Tally(by_mean[0].cmd)
    by_logit = faithfulness_curves(runs, [ranking], measure="logit")
    if by_logit is not None:
        scores["circuit.cpr_logit"] = Tally(by_logit[0].cpr)
    return scores


def _of(answers: Answers, measure: Measure) -> Float64Array:
    return answers.difference if measure == "difference" else answers.logit
