"""Functional interchangeability: can one member of a supernode do another's work? Needs no gold.

Features that are said to do the same must be swappable without change. For an ordered pair (i, j) of a supernode's
members that fire: i is ablated, and j is driven harder where it fires, by `a_i |d_i| / |d_j|`, so that as much is written
to the residual stream as before (a: activation, d: decoder vectors over all layers written to). How far that moves the
answer, and the activations of later supernodes, is held against ablating i alone: `1 - sum |swap| / sum |ablation|` over
all pairs. 1: the swap changes nothing; 0: it repairs nothing; below 0: it does more harm than the ablation.

The same is done with random features of the prompt outside the supernode in the place of j, from j's layer and position
where there are any. A supernode whose members do not do the same does not beat them.

Source: the idea in arXiv 2603.20101; swap, size and reference as stated here are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.evals.scorers.circuit_runs import CircuitRuns
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally
from tracescribe.tracer.edits import FeatureEdit, FeatureShift, Row
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.statistics import Float64Array

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport

MAX_PAIRS = 12
"""Most ordered pairs of a supernode: all pairs of four members; of larger ones so many are drawn."""
N_RANDOM = 4
"""Random features in the place of each pair's second member: averaged over pairs, so that few are enough."""
MIN_ANSWER = 0.01
"""Least summed change of the logit difference by ablation, in nats: below it nothing was done that could be repaired."""
MIN_LATER = 1e-3
"""The same for later supernodes, as a share of what they write in the untouched model."""

METRICS = (
    Metric(
        "interchange.answer",
        "interchange",
        "swapping a supernode's member for another leaves the answer as it was",
        "pooled",
        headline=True,
    ),
    Metric("interchange.random", "of random features", "so does swapping it for a random outside feature", "pooled"),
    Metric("interchange.over_random", "over random", "members repair all that random features leave", "pooled"),
    Metric("interchange.later", "interchange, later", "the swap leaves later supernodes as they were", "pooled"),
    Metric("interchange.later_over_random", "later, over random", "as over random, of later supernodes", "pooled"),
    Metric("interchange.cover", "swappable", "every member of the circuit shares its supernode with another", "pooled"),
)


@dataclass(frozen=True, eq=False)
class PairEffects:
    """How far edits of one ordered pair move something; all of them at least 0.

    Attributes:
        ablated: member i ablated.
        swapped: i ablated, j driven harder.
        random: i ablated, random features driven harder one at a time, mean; NaN where there is none.
    """

    ablated: float
    swapped: float
    random: float


@dataclass(frozen=True, eq=False)
class SwappedPair:
    """One ordered pair of members.

    Attributes:
        out, into: ablated, and driven harder.
        answer: on the logit difference, in nats.
        later: on the later supernodes' members, as a share of what they write; None where there is none.
    """

    out: FeatureNode
    into: FeatureNode
    answer: PairEffects
    later: PairEffects | None


def swapped_pairs(
    runs: CircuitRuns, groups: Sequence[Sequence[FeatureNode]], rng: np.random.Generator
) -> list[SwappedPair]:
    """Run the swaps of all groups in one batch.

    Args:
        groups: members of each supernode; silent ones and groups of fewer than two are left out.

    Raises:
        InterventionError: the edits drive the model out of the range of numbers.
    """
    firing = set(runs.features)
    standing = [[node for node in group if node in firing] for group in groups]
    read = tuple(dict.fromkeys(node for group in standing for node in group))
    rows: list[Row] = [()]
    plans: list[tuple[FeatureNode, FeatureNode, list[FeatureNode], int]] = []
    for group in standing:
        pairs = list(permutations(group, 2))
        for number in sorted(rng.permutation(len(pairs))[:MAX_PAIRS].tolist()):
            out, into = pairs[number]
            outsiders = _outsiders(runs, group, into, rng)
            plans.append((out, into, outsiders, len(rows)))
            rows += [runs.without([out]), *(swap_row(runs, out, other) for other in (into, *outsiders))]
    if not plans:
        return []
    answers = runs.run(rows, read)
    moved = np.abs(answers.difference - answers.difference[0])
    written = np.array([runs.norm(node) for node in read])
    strength = np.abs(answers.activations[0]) * written
    shifts = np.abs(answers.activations - answers.activations[0]) * written
    home = {node: number for number, group in enumerate(standing) for node in group}
    found: list[SwappedPair] = []
    for out, into, outsiders, start in plans:
        span = slice(start, start + 2 + len(outsiders))
        first = max(node.layer for node in (out, into, *outsiders))
        later = [home[node] != home[out] and node.layer > first for node in read]
        total = float(strength[later].sum())
        far = shifts[span][:, later].sum(axis=1) / total if total > 0 else None
        found.append(SwappedPair(out, into, _effects(moved[span]), None if far is None else _effects(far)))
    return found


def swap_row(runs: CircuitRuns, out: FeatureNode, into: FeatureNode) -> Row:
    """Ablate one feature, and drive another harder where it fires by as much as the first one wrote."""
    amount = runs.strength(out) / max(runs.norm(into), float(np.finfo(np.float32).tiny))
    return (
        FeatureEdit(out.layer, out.position, out.feature, 0.0),
        FeatureShift(into.layer, into.position, into.feature, amount),
    )


def score_interchange(report: CircuitReport, runs: CircuitRuns, rng: np.random.Generator) -> Mapping[str, Tally]:
    """Score the standing supernodes that have at least two members that fire.

    Where the ablations move too little, there is nothing to repair and no score.

    Raises:
        InterventionError: the edits drive the model out of the range of numbers.
    """
    groups = [[m.node for m in supernode.members] for supernode in report.supernodes if not supernode.rejected]
    pairs = swapped_pairs(runs, groups, rng)
    firing = set(runs.features)
    shared = {node for group in groups if len(firing & set(group)) > 1 for node in group if node in firing}
    answer = _scores([pair.answer for pair in pairs], MIN_ANSWER)
    later = _scores([pair.later for pair in pairs if pair.later is not None], MIN_LATER)
    return {
        "interchange.answer": answer[0],
        "interchange.random": answer[1],
        "interchange.over_random": answer[2],
        "interchange.later": later[0],
        "interchange.later_over_random": later[2],
        "interchange.cover": Tally(len(shared), len(runs.circuit)),
    }


def _outsiders(
    runs: CircuitRuns, group: Sequence[FeatureNode], into: FeatureNode, rng: np.random.Generator
) -> list[FeatureNode]:
    """Random features of the prompt outside the group: from the same layer and position, the same layer, or anywhere."""
    outside = [node for node in runs.features if node not in group and runs.norm(node) > 0]
    near = (
        [node for node in outside if (node.layer, node.position) == (into.layer, into.position)],
        [node for node in outside if node.layer == into.layer],
        outside,
    )
    pool = next((nodes for nodes in near if len(nodes) >= N_RANDOM), outside)
    return [pool[i] for i in rng.permutation(len(pool))[:N_RANDOM]]


def _effects(moved: Float64Array) -> PairEffects:
    """From one pair's rows: ablation, swap, random swaps."""
    random = float(moved[2:].mean()) if len(moved) > 2 else float("nan")
    return PairEffects(float(moved[0]), float(moved[1]), random)


def _scores(pairs: Sequence[PairEffects], least: float) -> tuple[Tally, Tally, Tally]:
    """Of members, of random features, and the first minus the second; the last two over pairs that have random ones."""
    own = _repaired([pair.ablated for pair in pairs], [pair.swapped for pair in pairs], least)
    both = [pair for pair in pairs if not np.isnan(pair.random)]
    ablated = [pair.ablated for pair in both]
    random = _repaired(ablated, [pair.random for pair in both], least)
    if not random.denominator:
        return own, NOTHING, NOTHING
    gain = sum(pair.random - pair.swapped for pair in both)
    return own, random, Tally(gain, random.denominator)


def _repaired(ablated: Sequence[float], left: Sequence[float], least: float) -> Tally:
    total = sum(ablated)
    return Tally(total - sum(left), total) if total > 0 and total >= least else NOTHING
