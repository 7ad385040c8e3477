"""The variables of one prompt with their homes, the prompts that give them other values, and the features that carry them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tracescribe.evals.oracle.cases import donors
from tracescribe.evals.oracle.effects import SwapTrial
from tracescribe.evals.oracle.homes import (
    NO_CARRIERS,
    Carriers,
    Home,
    PromptRuns,
    World,
    carriers,
    home_of,
    run_prompts,
)
from tracescribe.tracer.embedded.training.causal_model import ANSWER, Site, sites, state_of, with_value
from tracescribe.tracer.embedded.training.corpus import Sample
from tracescribe.tracer.graph import FeatureNode


@dataclass(frozen=True, eq=False)
class Place:
    """One variable of one prompt: its home, its prompts run (the prompt itself in row 0), and the swaps to try."""

    site: Site
    home: Home
    runs: PromptRuns
    trials: tuple[SwapTrial, ...]


@dataclass(frozen=True, eq=False)
class Concept:
    """A variable with the features that carry it, in the prompt itself (row 0) and in its donors."""

    place: Place
    supernode_id: str
    carried: dict[int, Carriers]

    @property
    def site(self) -> Site:
        """Its home in the prompt."""
        return self.place.site

    @property
    def members(self) -> tuple[FeatureNode, ...]:
        """Features that carry it in the prompt itself."""
        return tuple(self.carried[0].members)


def concepts_of(world: World, target: Sample, rng: random.Random) -> list[Concept]:
    """Every variable of a prompt, the answer last; `rng` draws the donors."""
    places: list[Place] = []
    answers: dict[str, Sample] = {}
    state = state_of(target)
    for site in sites(target, state):
        values = donors(rng, target, site.variable)
        trials = {v: (drawn, with_value(state, site.variable, v).answer) for v, drawn in values.items()}
        answers |= {drawn.answer_word: drawn for drawn in values.values()}
        if site.variable == ANSWER:  # every donor before asked for another answer too
            trials = {answer: (drawn, answer) for answer, drawn in answers.items()}
        places.append(_place(world, target, site, trials))
    homes = [place.home for place in places]
    return [
        Concept(
            place,
            f"g{number + 1}",
            {row: carried(world, place.runs, row, homes)[number] for row in range(len(place.runs.samples))},
        )
        for number, place in enumerate(places)
    ]


def carried(world: World, runs: PromptRuns, row: int, homes: Sequence[Home]) -> list[Carriers]:
    """Carriers of every home in one prompt; a feature belongs to the code of which it writes the largest share."""
    roles = runs.samples[row].roles
    found = [carriers(world, runs, row, home) if home.role in roles else NO_CARRIERS for home in homes]
    largest: dict[FeatureNode, float] = {}
    for one in found:
        for node, share in one.members.items():
            largest[node] = max(share, largest.get(node, 0.0))
    return [
        Carriers({node: share for node, share in one.members.items() if share == largest[node]}, one.undecided)
        for one in found
    ]


def _place(world: World, target: Sample, site: Site, trials: dict[str, tuple[Sample, str]]) -> Place:
    runs = run_prompts(world, [target, *(drawn for drawn, _ in trials.values())])
    # a value that asks for the answer that stands already cannot be told from no change at all
    wanted = tuple(
        SwapTrial(row, value, expected)
        for row, (value, (_, expected)) in enumerate(trials.items(), start=1)
        if expected != target.answer_word
    )
    return Place(site, home_of(site, runs), runs, wanted)
