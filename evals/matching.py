"""Which predicted supernode speaks of which gold supernode: one to one for names and edges, by majority for claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.prediction import Prediction

MAJORITY = 0.5
"""A predicted supernode is about the gold supernode that holds more than this share of its decided members."""


@dataclass(frozen=True)
class Match:
    """A gold supernode and the predicted one that overlaps it best; `f1` is the overlap of their members, 0 to 1."""

    gold_id: str
    predicted_id: str
    f1: float


@dataclass(frozen=True)
class Matching:
    """How a prediction's supernodes relate to gold.

    Attributes:
        matches: one-to-one pairs of standing supernodes with any overlap at all, chosen so that the sum of `f1` is
            largest.
        owners: predicted id -> the gold supernode that it is mostly made of; absent where there is none.
        strangers: predicted ids without any gold member, though gold decides about some of theirs.
        undecided: predicted ids of which gold cannot tell, all their members being undecided.
        impure: predicted ids with some undecided members: what is false of their owner may be true of them.
    """

    matches: tuple[Match, ...]
    owners: Mapping[str, str]
    strangers: frozenset[str]
    undecided: frozenset[str]
    impure: frozenset[str]


def match_supernodes(prediction: Prediction, gold: GoldCircuit) -> Matching:
    """Match predicted to gold supernodes.

    Undecided nodes are left out of both sides first.

    Source: Kuhn 1955, Naval Research Logistics 2, 83-97 (assignment), as used for entities in Luo 2005 (CEAF).
    """
    undecided = set(gold.undecided)
    decided = {s.supernode_id: set(s.members) - undecided for s in prediction.supernodes}
    targets = {s.supernode_id: set(s.members) for s in gold.scorable_supernodes}
    owners = {}
    for name, members in decided.items():
        shares = {g: len(members & of) / len(members) for g, of in targets.items() if members}
        best = max(shares, key=lambda g: shares[g], default=None)
        if best is not None and shares[best] > MAJORITY:
            owners[name] = best
    known = set().union(*targets.values()) if targets else set[str]()
    return Matching(
        matches=_one_to_one({s.supernode_id: decided[s.supernode_id] for s in prediction.standing}, targets),
        owners=owners,
        strangers=frozenset(name for name, members in decided.items() if members and not members & known),
        undecided=frozenset(name for name, members in decided.items() if not members),
        impure=frozenset(s.supernode_id for s in prediction.supernodes if undecided & set(s.members)),
    )


def _one_to_one(predicted: Mapping[str, set[str]], targets: Mapping[str, set[str]]) -> tuple[Match, ...]:
    from scipy.optimize import linear_sum_assignment

    # sorted by members, so that a tie falls the same way whatever order a report lists its supernodes in
    names, golds = sorted(predicted, key=lambda name: sorted(predicted[name])), list(targets)
    if not names or not golds:
        return ()
    f1 = np.array([[_overlap_f1(targets[g], predicted[p]) for p in names] for g in golds])
    rows, columns = linear_sum_assignment(f1, maximize=True)
    pairs = ((int(r), int(c)) for r, c in zip(rows, columns, strict=True))
    return tuple(Match(golds[r], names[c], float(f1[r, c])) for r, c in pairs if f1[r, c] > 0)


def _overlap_f1(first: set[str], second: set[str]) -> float:
    size = len(first) + len(second)
    return 2 * len(first & second) / size if size else 0.0
