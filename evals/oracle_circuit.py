"""Builds the gold circuit of one oracle prompt: supernodes with members, edges, and effects that were tried."""

from __future__ import annotations

import random
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
from tracescribe.evals.oracle_cases import OracleCase, donors
from tracescribe.evals.oracle_effects import SwapTrial, cleared, nats_lost, replace_home, set_features, try_swaps
from tracescribe.evals.oracle_homes import (
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
from tracescribe.evals.oracle_names import accepted_labels, label_of, role_of
from tracescribe.tracer.embedded.training.causal_model import ANSWER, Site, sites, state_of, with_value
from tracescribe.tracer.embedded.training.corpus import Sample
from tracescribe.tracer.graph import FeatureNode

_OPEN_ENDED = (ANSWER, "repeated_name")
"""Variables that could take values which no prompt of the corpus asks for here: any word, any third name."""
_REST_TRIALS = 8
"""Donors per variable with which the features outside the gold are tried: enough to meet every kind of donor."""


@dataclass(frozen=True, eq=False)
class _Concept:
    """One variable of one prompt: its home, all its prompts run, and what carries it in each of them."""

    site: Site
    home: Home
    runs: PromptRuns
    carried: dict[int, Carriers]
    trials: tuple[SwapTrial, ...]

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
        names = {id(concept): f"g{number}" for number, concept in enumerate(concepts, start=1)}
        owner = _owners(concepts)
        supernodes = tuple(self._supernode(concept, names[id(concept)], owner, target) for concept in concepts)
        selected = tuple(node for supernode in supernodes for node in supernode.members)
        undecided = {_node_id(node) for concept in concepts for node in concept.carried[0].undecided}
        return GoldCircuit(
            gold_id=gold_id,
            family=target.task,
            tags=case.tags,
            source=self._source,
            stamp=self._stamp,
            prompt=target.prompt,
            tokens=target.words[: target.answer],
            targets=(self._target(target, concepts[0].runs),),
            supernodes=supernodes,
            selected=selected,
            undecided=tuple(sorted(undecided - set(selected))),
            edges=self._edges(target, concepts, names),
            effects=tuple(self._effects(concept, names[id(concept)], target) for concept in concepts),
            rest_drop=self._rest_drop(target, concepts),
            rest_swap_gain=self._rest_swap_gain(target, concepts, rng),
            can_score=("selection", "grouping", "labels", "edges", "causal"),
            notes=tuple(
                f"{c.site.variable}={c.site.value}: no feature of the transcoder carries it"
                for c in concepts
                if not c.members
            ),
        )

    # -- concepts -----------------------------------------------------------------------------------------------------

    def _concepts(self, target: Sample, rng: random.Random) -> list[_Concept]:
        state = state_of(target)
        found: list[_Concept] = []
        answers: dict[str, Sample] = {}
        for site in sites(target, state):
            values = donors(rng, target, site.variable)
            trials = {v: (drawn, with_value(state, site.variable, v).answer) for v, drawn in values.items()}
            if site.variable == ANSWER:
                trials = {answer: (drawn, answer) for answer, drawn in answers.items()}
            else:
                answers |= {drawn.answer_word: drawn for drawn in values.values()}
            found.append(self._concept(target, site, trials))
        return found

    def _concept(self, target: Sample, site: Site, trials: dict[str, tuple[Sample, str]]) -> _Concept:
        runs = run_prompts(self._world, [target, *(drawn for drawn, _ in trials.values())])
        home = home_of(site, runs)
        carried = {row: carriers(self._world, runs, row, home) for row in range(len(runs.samples))}
        # a value that asks for the answer that stands already cannot be told from no change at all
        wanted = tuple(
            SwapTrial(row, value, expected)
            for row, (value, (_, expected)) in enumerate(trials.items(), start=1)
            if expected != target.answer_word
        )
        return _Concept(site, home, runs, carried, wanted)

    def _supernode(
        self, concept: _Concept, supernode_id: str, owner: dict[FeatureNode, int], target: Sample
    ) -> GoldSupernode:
        variable, value = concept.site.variable, concept.site.value
        word = target.words[target.roles[concept.site.role]]
        return GoldSupernode(
            supernode_id=supernode_id,
            label=label_of(variable, value),
            accepted_labels=accepted_labels(variable, value),
            role=role_of(variable, value, word),
            members=tuple(_node_id(node) for node in concept.members if owner[node] == id(concept)),
            concept=f"{variable}={value}",
        )

    # -- edges and effects --------------------------------------------------------------------------------------------

    def _edges(self, target: Sample, concepts: list[_Concept], names: dict[int, str]) -> tuple[GoldEdge, ...]:
        by_variable = {concept.site.variable: names[id(concept)] for concept in concepts}
        answer = by_variable[ANSWER]
        edges: list[GoldEdge] = []
        for concept in concepts:
            name, variable = names[id(concept)], concept.site.variable
            if variable == ANSWER:
                continue
            position = target.roles[concept.site.role]
            if concept.site.layer == 0:  # looked up from the word itself; later ones are told from other words
                word_id = self._world.ids_of[target.words[position]]
                edges.append(GoldEdge(source=f"E_{word_id}_{position}", destination=name))
            destination = by_variable["sum"] if variable in ("a", "b") else answer
            # the repeated name acts on where attention looks, which frozen attention patterns cannot show
            edges.append(GoldEdge(source=name, destination=destination, visible=variable != "repeated_name"))
        edges.append(GoldEdge(source=answer, destination=self._target(target, concepts[0].runs).node_id))
        return tuple(edges)

    def _effects(self, concept: _Concept, name: str, target: Sample) -> KnownEffects:
        token = self._world.ids_of[target.answer_word]
        before = float(concept.runs.answer_probabilities(0)[token])
        without = replace_home(self._world, target, concept.home, concept.home.mean[None])[0, token]
        ablated = None
        if concept.members:
            edited = set_features(self._world, target, [cleared(concept.members)])
            ablated = nats_lost(before, float(edited.probabilities[0, token]))
        return KnownEffects(
            supernode=name,
            target_token=target.answer_word,
            site_drop=nats_lost(before, float(without)),
            features_drop=ablated,
            swaps=try_swaps(self._world, concept.runs, concept.home, concept.carried, concept.trials),
            exhaustive=concept.site.variable not in _OPEN_ENDED,
        )

    def _rest(self, concepts: list[_Concept], runs: PromptRuns, row: int) -> set[FeatureNode]:
        """Features of one prompt that play no part in any concept of it."""
        rest = set(active_features(self._world, runs, row))
        for concept in concepts:
            if concept.home.role in runs.samples[row].roles:
                found = carriers(self._world, runs, row, concept.home)
                rest -= {*found.members, *found.undecided}
        return rest

    def _rest_drop(self, target: Sample, concepts: list[_Concept]) -> float:
        """Nats lost when every feature that plays no part in any concept is cleared at once."""
        runs = concepts[0].runs
        rest = self._rest(concepts, runs, 0)
        token = self._world.ids_of[target.answer_word]
        after = set_features(self._world, target, [cleared(rest)]).probabilities[0, token]
        return nats_lost(float(runs.answer_probabilities(0)[token]), float(after))

    def _rest_swap_gain(self, target: Sample, concepts: list[_Concept], rng: random.Random) -> float:
        """Largest gain of a donor's answer when all such features are replaced by the donor's, word by word."""
        gains = [0.0]
        for concept in concepts:
            trials = rng.sample(concept.trials, min(_REST_TRIALS, len(concept.trials)))
            if not trials or concept.site.variable == ANSWER:  # the answer's donors are those of the others
                continue
            own = cleared(self._rest(concepts, concept.runs, 0))
            rows = [own | self._rest_of_donor(concepts, concept.runs, trial.row) for trial in trials]
            after = set_features(self._world, target, rows).probabilities
            clean = concept.runs.answer_probabilities(0)
            for number, trial in enumerate(trials):
                token = self._world.ids_of[concept.runs.samples[trial.row].answer_word]
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

    def _target(self, target: Sample, runs: PromptRuns) -> GoldTarget:
        token = self._world.ids_of[target.answer_word]
        return GoldTarget(
            node_id=f"{self._world.model.n_layers + 1}_{token}_{target.answer - 1}",
            token=target.answer_word,
            probability=round(float(runs.answer_probabilities(0)[token]), 6),
        )


def _owners(concepts: list[_Concept]) -> dict[FeatureNode, int]:
    """The concept that each member belongs to: the one of whose code it writes the largest share."""
    best: dict[FeatureNode, tuple[float, int]] = {}
    for concept in concepts:
        for node, share in concept.carried[0].members.items():
            if node not in best or share > best[node][0]:
                best[node] = (share, id(concept))
    return {node: owner for node, (_, owner) in best.items()}


def _node_id(node: FeatureNode) -> str:
    return f"{node.layer}_{node.feature}_{node.position}"
