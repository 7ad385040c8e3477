"""Edges of one oracle circuit: every pair of ends measured on the embedded model, and held against the causal model."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from tracescribe.evals.gold import GoldEdge
from tracescribe.evals.oracle.alternatives import alternatives
from tracescribe.evals.oracle.concepts import Concept
from tracescribe.evals.oracle.direct_effects import decide_edges
from tracescribe.evals.oracle.homes import World, activation
from tracescribe.evals.oracle.paths import LOGIT, Ends, path_effects
from tracescribe.evals.oracle.story import story_of
from tracescribe.tracer.embedded.training.causal_model import ANSWER
from tracescribe.tracer.embedded.training.corpus import Sample


def circuit_edges(
    world: World, target: Sample, concepts: Sequence[Concept], logit: str, rng: random.Random
) -> tuple[GoldEdge, ...]:
    """Edges between input words, supernodes and the answer's logit.

    Args:
        world: the model.
        target: the prompt.
        concepts: its variables.
        logit: node id of the answer.
        rng: draws the words that an input word is changed to.
    """
    words = {
        f"E_{world.ids_of[target.words[position]]}_{position}": (position, alternatives(rng, target, position))
        for position in range(1, target.answer)  # `<bos>` is the same in every prompt: nothing can be told from it
    }
    weights = {
        node: share / activation(world, concept.place.runs, 0, node)
        for concept in concepts
        for node, share in concept.carried[0].members.items()
    }
    members = {concept.supernode_id: concept.members for concept in concepts}
    ends = Ends(words, members, weights, tuple(name for name, nodes in members.items() if nodes))

    by_variable = {concept.site.variable: concept.supernode_id for concept in concepts}
    word_at = {position: name for name, (position, _) in words.items()}
    told, hidden = told_pairs(target, by_variable, word_at, LOGIT)
    found = decide_edges(path_effects(world, target, ends), story=told, by_pattern=hidden)
    return tuple(
        edge.model_copy(update={"destination": logit}) if edge.destination == LOGIT else edge for edge in found
    )


def told_pairs(
    target: Sample, names: Mapping[str, str], words: Mapping[int, str], logit: str
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Pairs of ends that the causal model connects, and those of them that it connects by attention patterns.

    Args:
        target: the prompt.
        names: supernodes by variable.
        words: input words by position.
        logit: name of the answer's logit.
    """
    story = story_of(target, tuple(names))
    told = {(words[position], names[variable]) for position, variable in story.words}
    told |= {(names[source], names[destination]) for source, destination in story.variables}
    told.add((names[ANSWER], logit))
    return told, {(names[source], names[destination]) for source, destination in story.by_pattern}
