"""Builds the gold circuit of one oracle prompt: supernodes with members, edges, and effects that were tried."""

from __future__ import annotations

import random

import torch

from tracescribe.evals.gold import (
    SWAP_HOLDS,
    GoldCircuit,
    GoldSource,
    GoldSupernode,
    GoldTarget,
    KnownEffects,
    ModelStamp,
)
from tracescribe.evals.oracle.alternatives import alternatives, stray_positions
from tracescribe.evals.oracle.cases import OracleCase
from tracescribe.evals.oracle.concepts import Concept, carried, concepts_of
from tracescribe.evals.oracle.edges import circuit_edges
from tracescribe.evals.oracle.effects import cleared, nats_lost, replace_home, set_features, try_swaps
from tracescribe.evals.oracle.homes import PromptRuns, World, activation, active_features
from tracescribe.evals.oracle.names import accepted_labels, label_of, role_of
from tracescribe.evals.oracle.tempting import gold_traps
from tracescribe.tracer.embedded.training.causal_model import ANSWER
from tracescribe.tracer.embedded.training.corpus import Sample
from tracescribe.tracer.graph import FeatureNode

_OPEN_ENDED = (ANSWER, "repeated_name", "operation")
"""Variables that could take values which the causal model has no name for here: any word, any third name, any other thing
that can be asked of a word."""
_REST_TRIALS = 8
"""Donors per variable with which the features outside the gold are tried: enough to meet every kind of donor."""


class CircuitBuilder:
    """Builds gold circuits of one model and transcoder."""

    def __init__(self, world: World, stamp: ModelStamp, origin: str, licence: str) -> None:
        self._world = world
        self._stamp = stamp
        self._source = GoldSource(kind="oracle", origin=origin, licence=licence)

    def build(self, gold_id: str, case: OracleCase, rng: random.Random) -> GoldCircuit:
        """The gold circuit of one prompt; `rng` draws the donors."""
        target = case.sample
        concepts = concepts_of(self._world, target, rng)
        stray_gain = self._stray_gain(target, concepts, rng)
        told = stray_gain < SWAP_HOLDS
        effects = {concept.supernode_id: self._effects(concept, target, told) for concept in concepts}
        inert = {name for name, seen in effects.items() if not seen.necessary and not any(s.holds for s in seen.swaps)}
        supernodes = tuple(self._supernode(concept, concept.supernode_id in inert, target) for concept in concepts)
        selected = tuple(node for supernode in supernodes for node in supernode.members)
        answer = self._target(target, concepts)
        rest_swap_gain = max(stray_gain, self._rest_swap_gain(target, concepts, rng))
        unsure = {_node_id(n) for c in concepts for n in (*c.members, *c.carried[0].undecided)} - set(selected)
        return GoldCircuit(
            gold_id=gold_id,
            family=target.task,
            tags=case.tags,
            source=self._source,
            stamp=self._stamp,
            prompt=target.prompt,
            tokens=target.words[: target.answer],
            targets=(answer,),
            supernodes=supernodes,
            selected=selected,
            undecided=tuple(sorted(unsure)),
            edges=circuit_edges(self._world, target, concepts, answer.node_id, rng),
            effects=tuple(effects.values()),
            rest_drop=self._rest_drop(target, concepts),
            rest_swap_gain=rest_swap_gain,
            traps=gold_traps(self._world, concepts, case.temptations, {*selected, *unsure}),
            can_score=("selection", "grouping", "labels", "edges", "causal"),
            notes=tuple(filter(None, (_note(concept, concept.supernode_id in inert) for concept in concepts))),
        )

    def _supernode(self, concept: Concept, inert: bool, target: Sample) -> GoldSupernode:
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

    # -- effects --------------------------------------------------------------------------------------------------------

    def _effects(self, concept: Concept, target: Sample, told: bool) -> KnownEffects:
        """What was observed of one concept; `told`: the causal model tells all that the answer depends on here."""
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
            exhaustive=told and concept.site.variable not in _OPEN_ENDED,
        )

    # -- what gold leaves out -----------------------------------------------------------------------------------------

    def _rest(self, concepts: list[Concept], runs: PromptRuns, row: int) -> set[FeatureNode]:
        """Features of one prompt that play no part in any concept of it."""
        rest = set(active_features(self._world, runs, row))
        for one in carried(self._world, runs, row, [concept.place.home for concept in concepts]):
            rest -= {*one.members, *one.undecided}
        return rest

    def _rest_drop(self, target: Sample, concepts: list[Concept]) -> float:
        """Nats lost when the features that play no part in any concept are cleared: all at once, or any one alone."""
        runs = concepts[0].place.runs
        rest = sorted(self._rest(concepts, runs, 0))
        token = self._world.ids_of[target.answer_word]
        rows = [cleared(rest), *(cleared([node]) for node in rest)]
        after = set_features(self._world, target, rows).probabilities[:, token]
        return nats_lost(float(runs.answer_probabilities(0)[token]), float(after.min()))

    def _stray_gain(self, target: Sample, concepts: list[Concept], rng: random.Random) -> float:
        """Largest gain of another answer when a name or place that the causal model ignores is another one.

        By the causal model nothing may come of it. Where something does, the model listens to what tempts, and the causal
        model does not tell all that the answer depends on.
        """
        clean = concepts[0].place.runs.answer_probabilities(0)
        token = self._world.ids_of[target.answer_word]
        gains = [0.0]
        for position in stray_positions(target):
            words = alternatives(rng, target, position)
            prompts = [[*target.words[:position], word, *target.words[position + 1 :]] for word in words]
            ids = torch.tensor([[self._world.ids_of[word] for word in prompt[: target.answer]] for prompt in prompts])
            with torch.no_grad():
                after = self._world.model.run(ids).logits[:, target.answer - 1].double().softmax(-1)
            after[:, token] = 0.0
            gains.append(float((after - clean).max()))
        return round(max(gains), 4)

    def _rest_swap_gain(self, target: Sample, concepts: list[Concept], rng: random.Random) -> float:
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

    def _rest_of_donor(self, concepts: list[Concept], runs: PromptRuns, row: int) -> dict[FeatureNode, float]:
        """A donor's features that play no part in its concepts, at the target's words of the same roles."""
        target, drawn = runs.samples[0], runs.samples[row]
        place = {drawn.roles[role]: target.roles[role] for role in drawn.roles if role in target.roles}
        brought: dict[FeatureNode, float] = {}
        for node in self._rest(concepts, runs, row):
            if node.position in place:
                moved = FeatureNode(node.layer, place[node.position], node.feature)
                brought[moved] = activation(self._world, runs, row, node)
        return brought

    def _target(self, target: Sample, concepts: list[Concept]) -> GoldTarget:
        token = self._world.ids_of[target.answer_word]
        return GoldTarget(
            node_id=f"{self._world.model.n_layers + 1}_{token}_{target.answer - 1}",
            token=target.answer_word,
            probability=round(float(concepts[0].place.runs.answer_probabilities(0)[token]), 6),
        )


def _note(concept: Concept, inert: bool) -> str:
    """What a reader must know of a concept that cannot be asked for; empty for all others."""
    name = f"{concept.site.variable}={concept.site.value}"
    if inert:
        return f"{name}: changing it at its home was not seen to change the answer; its features are undecided"
    return "" if concept.members else f"{name}: no feature of the transcoder carries it"


def _node_id(node: FeatureNode) -> str:
    return f"{node.layer}_{node.feature}_{node.position}"
