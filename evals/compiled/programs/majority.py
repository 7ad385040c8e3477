"""Majority: five votes for two parties; each party's votes speak against the other."""

from __future__ import annotations

import random
from collections import Counter

from tracescribe.evals.compiled.network import Concept, PlantedNetwork
from tracescribe.evals.compiled.programs.common import (
    DOUBT,
    PLAIN,
    Program,
    Slots,
    doubt,
    doubt_head,
    fetch,
    lookup,
    say,
    vocabulary,
)

_PARTIES = ("ash", "elm", "fir", "yew", "box")
_VOTES = ("one", "two", "three", "four", "five")


def build(rng: random.Random) -> Program:
    """Which parties there are is drawn."""
    parties = tuple(rng.sample(_PARTIES, 4))
    concepts: list[Concept] = [doubt()]
    for party in parties:
        names = (party, f"vote {party}", f"{party} vote")
        concepts.append(lookup("vote", party, (party,), labels=names, spread=True))
        shares = {f"share={other}": 5.0 if other == party else -5.0 for other in parties}
        leading = (f"more {party}", f"{party} leads", f"{party} majority", party)
        concepts.append(Concept(f"lead={party}", "lead", party, 1, shares, -0.1, leading))
        concepts.append(say(2, party, {f"lead={party}": 1.0}, bias=-0.1))
    heads = (
        fetch(1, "winner", parties, {f"vote={party}": f"share={party}" for party in parties}),
        doubt_head(2),
    )

    def sentence(slots: Slots) -> tuple[str, ...]:
        return (slots["mood"], "votes", *(slots[vote] for vote in _VOTES), "make", "winner")

    return Program(
        name="majority",
        title="names the party with more of five votes",
        network=PlantedNetwork(vocabulary(parties, ("votes", "make", "winner")), 14, parties, tuple(concepts), heads),
        domains={vote: parties for vote in _VOTES} | {"mood": (DOUBT, PLAIN)},
        sentence=sentence,
        answer=lambda slots: Counter(slots[vote] for vote in _VOTES).most_common(1)[0][0],
        valid=lambda slots: len({slots[vote] for vote in _VOTES}) == 2,
    )
