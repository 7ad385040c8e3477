"""Traps of one oracle circuit: the features that stand for a tempting value, as far as they fire in the prompt."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tracescribe.evals.gold import GoldTrap
from tracescribe.evals.oracle.concepts import Concept
from tracescribe.evals.oracle.homes import World, active_features
from tracescribe.evals.oracle.names import accepted_labels, label_of
from tracescribe.evals.oracle.temptations import Temptation
from tracescribe.tracer.embedded.training.causal_model import ANSWER, state_of
from tracescribe.tracer.embedded.training.corpus import Sample


def gold_traps(
    world: World, concepts: Sequence[Concept], temptations: Sequence[Temptation], decided: Collection[str]
) -> tuple[GoldTrap, ...]:
    """One trap a temptation; without members where the prompt lights no feature of the tempting value.

    Args:
        world: the model.
        concepts: variables of the prompt; among their donors are prompts in which the tempting value is the true one.
        temptations: values that the prompt suggests.
        decided: node ids that gold selects or leaves undecided: they are no part of a trap.
    """
    traps = []
    for temptation in temptations:
        concept = next(concept for concept in concepts if concept.site.variable == temptation.variable)
        names = accepted_labels(temptation.variable, temptation.value)
        if (
            temptation.variable == ANSWER
        ):  # a bare word may stand for the word of the prompt, which is no claim of an answer
            names = tuple(name for name in names if name != temptation.value)
        traps.append(
            GoldTrap(
                label=label_of(temptation.variable, temptation.value),
                accepted_labels=names,
                members=tuple(node for node in _firing(world, concept, temptation.value) if node not in decided),
                concept=f"{temptation.variable}={temptation.value}",
                reason=temptation.reason,
            )
        )
    return tuple(traps)


def _firing(world: World, concept: Concept, value: str) -> list[str]:
    """Features of the prompt, at any word, that carry the value at its home in a donor."""
    runs, carrying = concept.place.runs, set[tuple[int, int]]()
    for row, donor in enumerate(runs.samples):
        if row and _value(donor, concept.site.variable) == value:
            carrying |= {(node.layer, node.feature) for node in concept.carried[row].members}
    return [
        f"{node.layer}_{node.feature}_{node.position}"
        for node in active_features(world, runs, 0)
        if (node.layer, node.feature) in carrying
    ]


def _value(drawn: Sample, variable: str) -> str:
    state = state_of(drawn)
    return state.values.get(variable, state.answer)
