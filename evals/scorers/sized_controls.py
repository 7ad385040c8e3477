"""Necessity and sufficiency of the reported circuit as published, beside random sets of the same size.

*Necessity* is `p(target) - p(target | circuit ablated)`; times 100 it is the percentage points of CircuitExplorer.
*Sufficiency* is `p(target | all other features of the graph ablated) / p(target)`: a ratio that may pass 1, and is not
clipped. Neither knows how large the circuit is: whoever reports more features has more of both. So both are also told as
the difference to the mean of random sets of equal size, with the rank p value among them.

What is as there: features are set to 0 at their own position, attention is recomputed, errors stay, p is of the model at
temperature 1 without truncation of its vocabulary. What differs: they count a target outside the 50 most probable tokens
as 0, and ablate the features of a pruned graph alone; here all features of the graph count.

Source: CircuitExplorer's evaluation of 15 researchers' circuits, for the two definitions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tracescribe.evals.scorers.circuit_runs import CircuitRuns
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally
from tracescribe.tracer.controls import SHIFTS_MATCHED_ON, matched_shifts
from tracescribe.tracer.edits import FeatureShift, Row
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.statistics import Float64Array, rank_p_value

N_SETS = 60
"""Random sets of each score: the smallest p value is then 1/61."""
MIN_SETS = 50
"""Random sets from which one way of matching is enough; with fewer a coarser match is tried."""

METRICS = (
    Metric(
        "circuit.necessity",
        "necessity",
        "without the circuit the answer's probability falls from 1 to 0",
        headline=True,
    ),
    Metric("circuit.necessity_over_random", "necessity over random", "so, and random sets of its size do nothing"),
    Metric("circuit.necessity_p", "necessity p", "every random set does as much", higher_is_better=False),
    Metric("circuit.sufficiency", "sufficiency", "with the circuit alone the answer is as probable as ever"),
    Metric(
        "circuit.sufficiency_over_random", "sufficiency over random", "so, and random sets of its size keep nothing"
    ),
    Metric("circuit.sufficiency_p", "sufficiency p", "every random set keeps as much", higher_is_better=False),
    Metric("circuit.size", "circuit size", "every feature of the prompt is in the circuit", higher_is_better=False),
)

_Key = Callable[[FeatureNode], tuple[int, ...]]
_MATCHES: tuple[tuple[tuple[str, ...], _Key], ...] = (
    (("number of features", "layer", "position", "active in the prompt"), lambda node: (node.layer, node.position)),
    (("number of features", "layer", "active in the prompt"), lambda node: (node.layer,)),
    (("number of features", "position", "active in the prompt"), lambda node: (node.position,)),
    (("number of features", "active in the prompt"), lambda node: ()),
)
"""Ways to match, the closest first."""


@dataclass(frozen=True, eq=False)
class SizedControls:
    """Random sets of a circuit's size as runs of the model.

    Attributes:
        removed: each is taken away, and everything else is left.
        alone: each is left while every other feature is ablated; the same sets in the same order.
        matched_on: what each shares with the circuit.
    """

    removed: tuple[Row, ...]
    alone: tuple[Row, ...]
    matched_on: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SizedEffect:
    """One quantity of the circuit and of its random sets.

    Attributes:
        value: of the circuit.
        controls: of every random set, `[n_sets]`.
    """

    value: float
    controls: Float64Array

    @property
    def over_random(self) -> float:
        """Difference to the mean of the random sets."""
        return self.value - float(self.controls.mean())

    @property
    def p_value(self) -> float:
        """Rank p value, one-sided; a tie counts against the circuit."""
        return rank_p_value(self.value, self.controls).p_value


def sized_controls(runs: CircuitRuns, rng: np.random.Generator, n: int = N_SETS) -> SizedControls:
    """Draw random sets of the circuit's size.

    They come from the prompt's features, matched as closely as `MIN_SETS` distinct sets allow. Where the prompt does not
    have so many (few features fire, or nearly all are the circuit), live features that are silent in the prompt stand
    in: at the circuit's layers and positions, each with the push (activation times decoder norm) of the one it
    replaces, taken away from the model for `removed`, added to one without features for `alone`.

    Args:
        rng: source of the draws.
        n: sets wanted; fewer come back only where no more stand-ins exist.
    """
    for matched_on, key in _MATCHES:
        drawn = random_subsets(rng, runs.circuit, runs.features, n, key)
        if len(drawn) >= min(n, MIN_SETS):
            return SizedControls(tuple(map(runs.without, drawn)), tuple(map(runs.only, drawn)), matched_on)
    pushes = [FeatureShift(f.layer, f.position, f.feature, runs.clean.activation(f)) for f in runs.circuit]
    layers = sorted({node.layer for node in runs.circuit})
    live = {layer: runs.live(layer) for layer in layers}
    norms = {layer: runs.decoder_norms(layer) for layer in layers}
    stand_ins = matched_shifts(rng, pushes, live, {node.ref for node in runs.features}, n, norms)
    nothing = runs.only(())
    return SizedControls(
        removed=tuple(tuple(FeatureShift(s.layer, s.position, s.feature, -s.amount) for s in r) for r in stand_ins),
        alone=tuple((*nothing, *row) for row in stand_ins),
        matched_on=SHIFTS_MATCHED_ON,
    )


def random_subsets(
    rng: np.random.Generator, chosen: Sequence[FeatureNode], pool: Sequence[FeatureNode], n: int, key: _Key
) -> list[tuple[FeatureNode, ...]]:
    """Distinct random subsets of the pool that have as many features of every key as `chosen`, and never equal it.

    Args:
        pool: `chosen` among them; a subset may share members with it.
        n: subsets wanted; all that exist come back where they are fewer.
    """
    groups: dict[tuple[int, ...], list[FeatureNode]] = {}
    for node in sorted(pool):
        groups.setdefault(key(node), []).append(node)
    sizes = {name: sum(key(node) == name for node in chosen) for name in groups}
    parts = [(groups[name], size) for name, size in sizes.items() if size]
    tested, exist = tuple(sorted(chosen)), math.prod(math.comb(len(nodes), size) for nodes, size in parts)
    if exist <= 4 * n:
        combined = itertools.product(*(itertools.combinations(nodes, size) for nodes, size in parts))
        every = [found for part in combined if (found := tuple(sorted(itertools.chain(*part)))) != tested]
        return [every[i] for i in rng.permutation(len(every))[:n]]
    drawn: dict[tuple[FeatureNode, ...], None] = {}
    while len(drawn) < n:
        picked = (nodes[i] for nodes, size in parts for i in rng.permutation(len(nodes))[:size])
        found = tuple(sorted(picked))
        if found != tested:
            drawn[found] = None
    return list(drawn)


def sized_effects(runs: CircuitRuns, controls: SizedControls) -> tuple[SizedEffect, SizedEffect]:
    """Necessity and sufficiency of the circuit and of every random set.

    Raises:
        InterventionError: the edits drive the model out of the range of numbers.
    """
    n = 1 + len(controls.removed)
    rows = [(), runs.without(runs.circuit), *controls.removed, runs.only(runs.circuit), *controls.alone]
    p = runs.run(rows).probability
    necessity, sufficiency = p[0] - p[1 : 1 + n], p[1 + n :] / p[0]
    return (
        SizedEffect(float(necessity[0]), necessity[1:]),
        SizedEffect(float(sufficiency[0]), sufficiency[1:]),
    )


def score_sized(runs: CircuitRuns, rng: np.random.Generator) -> Mapping[str, Tally]:
    """Score necessity and sufficiency, plain and beside random sets.

    A report without a feature that fires has an empty circuit: nothing is to be scored. With fewer than `MIN_SETS`
    random sets the comparison is left out, not the plain values.

    Raises:
        InterventionError: the edits drive the model out of the range of numbers.
    """
    scores = {metric.name: NOTHING for metric in METRICS}
    if not runs.features:
        return scores
    scores["circuit.size"] = Tally(len(runs.circuit), len(runs.features))
    if not runs.circuit:
        return scores
    controls = sized_controls(runs, rng)
    for name, effect in zip(("necessity", "sufficiency"), sized_effects(runs, controls), strict=True):
        scores[f"circuit.{name}"] = Tally(effect.value)
        if len(effect.controls) >= MIN_SETS:
            scores[f"circuit.{name}_over_random"] = Tally(effect.over_random)
            scores[f"circuit.{name}_p"] = Tally(effect.p_value)
    return scores
