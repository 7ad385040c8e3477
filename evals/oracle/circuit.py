"""Builds the gold circuit of one oracle prompt: supernodes with members, edges, and effects that were tried."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tracescribe.evals.gold import (
    GoldCircuit,
    GoldEdge,
    GoldSource,
    GoldSupernode,
    GoldTarget,
    KnownEffects,
    ModelStamp,
)
from tracescribe.evals.oracle.cases import OracleCase, donors
from tracescribe.evals.oracle.effects import SwapTrial, cleared, nats_lost, replace_home, set_features, try_swaps
from tracescribe.evals.oracle.homes import (
    NO_CARRIERS,
    Carriers,
    Home,
    PromptRuns,
    World,
    activation,
    active_features,
    carriers,
    home_of,
    run_prompts,
)
from tracescribe.evals.oracle.names import accepted_labels, label_of, role_of
from tracescribe.tracer.embedded.training.causal_model import ANSWER, Site, sites, state_of, with_value
from tracescribe.tracer.embedded.training.corpus import Sample
from tracescribe.tracer.graph import FeatureNode

_OPEN_ENDED = (ANSWER, "repeated_name")
"""Variables that could take values which no prompt of the corpus asks for here: any word, any third name."""
_REST_TRIALS = 8
"""Donors per variable with which the features outside the gold are tried: enough to meet every kind of donor."""


@dataclass(frozen=True, eq=False)
class _Place:
    """One variable of one prompt: its home, its prompts run, and the swaps to try."""

    site: Site
    home: Home
    runs: PromptRuns
    trials: tuple[SwapTrial, ...]


@dataclass(frozen=True, eq=False)
class _Concept:
    """A variable with the features that carry it, in the prompt itself (row 0) and in its donors."""

    place: _Place
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


class CircuitBuilder:
    """Builds gold circuits of one model and transcoder."""

    def __init__(self, world: World, stamp: ModelStamp, origin: str, licence: str) -> None:
        self._world = world
        self._stamp = stamp
        self._source = GoldSource(kind="oracle", origin=origin, licence=licence)

    def build(self, gold_id: str, case: OracleCase, rng: random.Random) -> GoldCircuit:
        """The gold circuit of one prompt; `rng` draws the donors."""
        target = case.sample
        concepts = self._concepts(target, rng)
        effects = {concept.supernode_id: self._effects(concept, target) for concept in concepts}
        inert = {name for name, seen in effects.items() if not seen.necessary and not any(s.holds for s in seen.swaps)}
        supernodes = tuple(self._supernode(concept, concept.supernode_id in inert, target) for concept in concepts)
        selected = tuple(node for supernode in supernodes for node in supernode.members)
        unsure = {_node_id(n) for c in concepts for n in (*c.members, *c.carried[0].undecided)} - set(selected)
        return GoldCircuit(
            gold_id=gold_id,
            family=target.task,
            tags=case.tags,
            source=self._source,
            stamp=self._stamp,
            prompt=target.prompt,
            tokens=target.words[: target.answer],
            targets=(self._target(target, concepts),),
            supernodes=supernodes,
            selected=selected,
            undecided=tuple(sorted(unsure)),
            edges=self._edges(target, concepts),
            effects=tuple(effects.values()),
            rest_drop=self._rest_drop(target, concepts),
            rest_swap_gain=self._rest_swap_gain(target, concepts, rng),
            can_score=("selection", "grouping", "labels", "edges", "causal"),
            notes=tuple(filter(None, (_note(concept, concept.supernode_id in inert) for concept in concepts))),
        )

    # -- concepts -----------------------------------------------------------------------------------------------------

    def _concepts(self, target: Sample, rng: random.Random) -> list[_Concept]:
        places: list[_Place] = []
        answers: dict[str, Sample] = {}
        state = state_of(target)
        for site in sites(target, state):
            values = donors(rng, target, site.variable)
            trials = {v: (drawn, with_value(state, site.variable, v).answer) for v, drawn in values.items()}
            answers |= {drawn.answer_word: drawn for drawn in values.values()}
            if site.variable == ANSWER:  # every donor before asked for another answer too
                trials = {answer: (drawn, answer) for answer, drawn in answers.items()}
            places.append(self._place(target, site, trials))
        homes = [place.home for place in places]
        return [
            _Concept(
                place,
                f"g{number + 1}",
                {row: self._carried(place.runs, row, homes)[number] for row in range(len(place.runs.samples))},
            )
            for number, place in enumerate(places)
        ]

    def _place(self, target: Sample, site: Site, trials: dict[str, tuple[Sample, str]]) -> _Place:
        runs = run_prompts(self._world, [target, *(drawn for drawn, _ in trials.values())])
        # a value that asks for the answer that stands already cannot be told from no change at all
        wanted = tuple(
            SwapTrial(row, value, expected)
            for row, (value, (_, expected)) in enumerate(trials.items(), start=1)
            if expected != target.answer_word
        )
        return _Place(site, home_of(site, runs), runs, wanted)

    def _carried(self, runs: PromptRuns, row: int, homes: Sequence[Home]) -> list[Carriers]:
        """Carriers of every home in one prompt; a feature belongs to the code of which it writes the largest share."""
        roles = runs.samples[row].roles
        found = [carriers(self._world, runs, row, home) if home.role in roles else NO_CARRIERS for home in homes]
        largest: dict[FeatureNode, float] = {}
        for one in found:
            for node, share in one.members.items():
                largest[node] = max(share, largest.get(node, 0.0))
        return [
            Carriers({node: share for node, share in one.members.items() if share == largest[node]}, one.undecided)
            for one in found
        ]

    def _supernode(self, concept: _Concept, inert: bool, target: Sample) -> GoldSupernode:
        variable, value = concept.site.variable, concept.site.value
        word = target.words[target.roles[concept.site.role]]
        return GoldSupernode(
            supernode_id=concept.supernode_id,
            label=label_of(variable, value),
            accepted_labels=accepted_labels(variable, value),
            role=role_of(variable, value, word),
            members=() if inert else tuple(_node_id(node) for node in concept.members),
            concept=f"{variable}={value}",
        )

    # -- edges and effects --------------------------------------------------------------------------------------------

    def _edges(self, target: Sample, concepts: list[_Concept]) -> tuple[GoldEdge, ...]:
        by_variable = {concept.site.variable: concept.supernode_id for concept in concepts}
        answer = by_variable[ANSWER]
        edges: list[GoldEdge] = []
        for concept in concepts:
            name, variable = concept.supernode_id, concept.site.variable
            if variable == ANSWER:
                continue
            position = target.roles[concept.site.role]
            if concept.site.layer == 0:  # looked up from the word itself; later ones are told from other words
                word_id = self._world.ids_of[target.words[position]]
                edges.append(GoldEdge(source=f"E_{word_id}_{position}", destination=name))
            destination = by_variable["sum"] if variable in ("a", "b") else answer
            # the repeated name acts on where attention looks, which frozen attention patterns cannot show
            edges.append(GoldEdge(source=name, destination=destination, visible=variable != "repeated_name"))
        edges.append(GoldEdge(source=answer, destination=self._target(target, concepts).node_id))
        return tuple(edges)

    def _effects(self, concept: _Concept, target: Sample) -> KnownEffects:
        place, token = concept.place, self._world.ids_of[target.answer_word]
        before = float(place.runs.answer_probabilities(0)[token])
        without = replace_home(self._world, target, place.home, place.home.mean[None])[0, token]
        ablated = None
        if concept.members:
            edited = set_features(self._world, target, [cleared(concept.members)])
            ablated = nats_lost(before, float(edited.probabilities[0, token]))
        return KnownEffects(
            supernode=concept.supernode_id,
            target_token=target.answer_word,
            site_drop=nats_lost(before, float(without)),
            features_drop=ablated,
            swaps=try_swaps(self._world, place.runs, place.home, concept.carried, place.trials),
            exhaustive=concept.site.variable not in _OPEN_ENDED,
        )

    # -- what gold leaves out -----------------------------------------------------------------------------------------

    def _rest(self, concepts: list[_Concept], runs: PromptRuns, row: int) -> set[FeatureNode]:
        """Features of one prompt that play no part in any concept of it."""
        rest = set(active_features(self._world, runs, row))
        for one in self._carried(runs, row, [concept.place.home for concept in concepts]):
            rest -= {*one.members, *one.undecided}
        return rest

    def _rest_drop(self, target: Sample, concepts: list[_Concept]) -> float:
        """Nats lost when every feature that plays no part in any concept is cleared at once."""
        runs = concepts[0].place.runs
        rest = self._rest(concepts, runs, 0)
        token = self._world.ids_of[target.answer_word]
        after = set_features(self._world, target, [cleared(rest)]).probabilities[0, token]
        return nats_lost(float(runs.answer_probabilities(0)[token]), float(after))

    def _rest_swap_gain(self, target: Sample, concepts: list[_Concept], rng: random.Random) -> float:
        """Largest gain of a donor's answer when all such features are replaced by the donor's, word by word."""
        gains = [0.0]
        for concept in concepts:
            place = concept.place
            trials = rng.sample(place.trials, min(_REST_TRIALS, len(place.trials)))
            if not trials or concept.site.variable == ANSWER:  # the answer's donors are those of the others
                continue
            own = cleared(self._rest(concepts, place.runs, 0))
            rows = [own | self._rest_of_donor(concepts, place.runs, trial.row) for trial in trials]
            after = set_features(self._world, target, rows).probabilities
            clean = place.runs.answer_probabilities(0)
            for number, trial in enumerate(trials):
                token = self._world.ids_of[place.runs.samples[trial.row].answer_word]
                gains.append(float(after[number, token] - clean[token]))
        return round(max(gains), 4)

    def _rest_of_donor(self, concepts: list[_Concept], runs: PromptRuns, row: int) -> dict[FeatureNode, float]:
        """A donor's features that play no part in its concepts, at the target's words of the same roles."""
        target, drawn = runs.samples[0], runs.samples[row]
        place = {drawn.roles[role]: target.roles[role] for role in drawn.roles if role in target.roles}
        brought: dict[FeatureNode, float] = {}
        for node in self._rest(concepts, runs, row):
            if node.position in place:
                moved = FeatureNode(node.layer, place[node.position], node.feature)
                brought[moved] = activation(self._world, runs, row, node)
        return brought

    def _target(self, target: Sample, concepts: list[_Concept]) -> GoldTarget:
        token = self._world.ids_of[target.answer_word]
        return GoldTarget(
            node_id=f"{self._world.model.n_layers + 1}_{token}_{target.answer - 1}",
            token=target.answer_word,
            probability=round(float(concepts[0].place.runs.answer_probabilities(0)[token]), 6),
        )


def _note(concept: _Concept, inert: bool) -> str:
    """What a reader must know of a concept that cannot be asked for; empty for all others."""
    name = f"{concept.site.variable}={concept.site.value}"
    if inert:
        return f"{name}: changing it at its home was not seen to change the answer; its features are undecided"
    return "" if concept.members else f"{name}: no feature of the transcoder carries it"


def _node_id(node: FeatureNode) -> str:
    return f"{node.layer}_{node.feature}_{node.position}"
