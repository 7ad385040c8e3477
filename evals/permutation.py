"""The permutation control: what a score is worth when gold is shuffled, and so what chance is.

A shuffled gold circuit has the same shape and means nothing: its members are other feature nodes of the graph, its names
belong to other concepts, the ends of its edges and the owners of its effects are exchanged. An answer that is right for a
reason scores at chance against it; a score that stays high rewards something else than being right. `evals/controls.py`
makes a table of it.

Source: permutation tests as in Good 2005; "label permutation" as a control of benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.gold.parts import GoldEdge, GoldSupernode
from tracescribe.evals.prediction import Prediction
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally
from tracescribe.evals.scorers.selection import candidates_of
from tracescribe.evals.scores import METRICS, Scores, ScoreValue, score_prediction
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.graph import AttributionGraph

Item = TypeVar("Item")
DEFAULT_SHUFFLINGS = 5
"""Shufflings of one case: over a hundred cases their mean is known to about a hundredth."""


def shuffled_gold(
    gold: GoldCircuit, graph: AttributionGraph, rng: np.random.Generator, other_names: Sequence[Sequence[str]] = ()
) -> GoldCircuit:
    """A gold circuit of the same shape that is true of nothing.

    Feature nodes that gold decides about change places with each other, so that groups keep their sizes and overlaps.
    Nodes that are no features (embeddings and logits in published groups) change places among themselves.

    Args:
        gold: the circuit.
        graph: its graph.
        rng: draws the shuffling.
        other_names: accepted names of concepts of other circuits, each a list; names are drawn from them where given,
            since exchanging the names of three concepts leaves one of them in place on average.
    """
    place = _exchanged(candidates_of(gold, graph), rng)
    rest = sorted({node for s in gold.supernodes for node in s.members} - set(place))
    place |= _exchanged(rest, rng)
    names = _names(gold, other_names, rng)
    concept = _exchanged([s.supernode_id for s in gold.supernodes], rng)
    labelled = sorted(gold.node_labels)
    return gold.model_copy(
        update={
            "selected": tuple(place.get(node, node) for node in gold.selected),
            "supernodes": tuple(
                _renamed(s, tuple(place.get(node, node) for node in s.members), names[number])
                for number, s in enumerate(gold.supernodes)
            ),
            "edges": _exchanged_ends(gold.edges, rng),
            "effects": tuple(e.model_copy(update={"supernode": concept[e.supernode]}) for e in gold.effects),
            "node_labels": dict(zip(labelled, _drawn([gold.node_labels[n] for n in labelled], rng), strict=True)),
        }
    )


def permuted_scores(
    prediction: Prediction,
    gold: GoldCircuit,
    graph: AttributionGraph,
    *,
    seed: int,
    n: int = DEFAULT_SHUFFLINGS,
    other_names: Sequence[Sequence[str]] = (),
) -> Scores:
    """Mean scores of a prediction over several shufflings of its gold circuit; the same for the same seed.

    `chance` holds what is expected: by counting where that is possible (see `chance_of`), else the mean over as many
    other shufflings.

    Raises:
        SettingError: no shuffling was asked for.
    """
    own, others = np.random.SeedSequence(seed).spawn(2)
    found = each_permuted(prediction, gold, graph, rng=np.random.default_rng(own), n=n, other_names=other_names)
    again = each_permuted(prediction, gold, graph, rng=np.random.default_rng(others), n=n, other_names=other_names)
    counted = {name: ScoreValue.of(Tally(value)) for name, value in chance_of(prediction, gold, graph).items()}
    return found[0].model_copy(update={"values": _means(found), "chance": _means(again) | counted})


def _means(every: Sequence[Scores]) -> dict[str, ScoreValue]:
    return {metric.name: _mean(metric, [scores.values[metric.name].tally for scores in every]) for metric in METRICS}


def each_permuted(
    prediction: Prediction,
    gold: GoldCircuit,
    graph: AttributionGraph,
    *,
    rng: np.random.Generator,
    n: int = DEFAULT_SHUFFLINGS,
    other_names: Sequence[Sequence[str]] = (),
) -> tuple[Scores, ...]:
    """Scores of a prediction against each of several shufflings of its gold circuit.

    Raises:
        SettingError: no shuffling was asked for.
    """
    if n < 1:
        raise SettingError(f"number of shufflings must be at least 1, found {n}")
    return tuple(score_prediction(prediction, shuffled_gold(gold, graph, rng, other_names), graph) for _ in range(n))


def chance_of(prediction: Prediction, gold: GoldCircuit, graph: AttributionGraph) -> Mapping[str, float]:
    """Expected score against shuffled gold of the metrics for which it follows from counting alone.

    A node that matters is any of the candidates with equal odds. So a ranking has an area of 1/2 under its ROC curve,
    precision and R-precision are the share that matters, recall is the share that was selected, and the number that are
    both is hypergeometric. The adjusted Rand index is 0 by construction, where the gold circuit has
    two groups and they hold features alone.
    """
    found: dict[str, float] = {}
    candidates = candidates_of(gold, graph)
    n_matters = len(set(gold.selected) & set(candidates))
    n_picked = len(prediction.selected & set(candidates))
    if "selection" in gold.can_score and n_matters:
        share = n_matters / len(candidates)
        found["selection.precision"] = share if n_picked else 0.0
        found["selection.recall"] = n_picked / len(candidates)
        found["selection.f1"] = 2 * n_picked * share / (n_picked + n_matters)
        found["selection.rprec"] = share if prediction.importance else found["selection.precision"]
        if n_matters < len(candidates):
            found["selection.auc"] = 0.5
    groups = gold.scorable_supernodes
    features_alone = all(set(s.members) <= set(candidates) for s in groups)
    if features_alone and "grouping" in gold.can_score and len(groups) > 1 and any(len(s.members) > 1 for s in groups):
        found["grouping.ari"] = 0.0
    return found


def _exchanged(items: Sequence[Item], rng: np.random.Generator) -> dict[Item, Item]:
    return dict(zip(items, _drawn(items, rng), strict=True))


def _drawn(items: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    return [items[int(i)] for i in rng.permutation(len(items))]


def _names(gold: GoldCircuit, other_names: Sequence[Sequence[str]], rng: np.random.Generator) -> list[tuple[str, ...]]:
    own = [s.accepted_labels for s in gold.supernodes]
    taken = set(own)
    others = [tuple(names) for names in other_names if names and tuple(names) not in taken]
    if not others:
        return _drawn(own, rng)
    return [others[int(i)] for i in rng.integers(len(others), size=len(own))]


def _renamed(supernode: GoldSupernode, members: tuple[str, ...], names: tuple[str, ...]) -> GoldSupernode:
    return supernode.model_copy(update={"members": members, "label": names[0], "accepted_labels": names})


def _exchanged_ends(edges: Sequence[GoldEdge], rng: np.random.Generator) -> tuple[GoldEdge, ...]:
    """Each edge with another's destination and another's sign; sources stay, so that each keeps its number of edges."""
    ends, signs = _drawn([e.destination for e in edges], rng), _drawn([e.sign for e in edges], rng)
    changed = zip(edges, ends, signs, strict=True)
    return tuple(edge.model_copy(update={"destination": end, "sign": sign}) for edge, end, sign in changed)


def _mean(metric: Metric, tallies: Sequence[Tally]) -> ScoreValue:
    """Mean over the shufflings that have something to score; of pooled counts the mean counts."""
    scored = [tally for tally in tallies if tally.denominator]
    if not scored:
        return ScoreValue.of(NOTHING)
    if metric.average == "mean":
        return ScoreValue.of(Tally(sum(tally.value or 0.0 for tally in scored) / len(scored)))
    n = len(tallies)
    bins = tuple(
        (sum(b[0] for b in column) / n, sum(b[1] for b in column) / n, sum(b[2] for b in column) / n)
        for column in zip(*(tally.bins for tally in scored), strict=True)
    )
    numerator = sum(tally.numerator for tally in scored) / n
    return ScoreValue.of(Tally(numerator, sum(tally.denominator for tally in scored) / n, bins))
