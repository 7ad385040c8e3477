"""A program's weights and prompts, as a seed draws them."""

from __future__ import annotations

import random

import numpy as np

from tracescribe.evals.compiled.features import distractors, split
from tracescribe.evals.compiled.network import BOS
from tracescribe.evals.compiled.planted import PlantedPrompt
from tracescribe.evals.compiled.programs.all import build_program
from tracescribe.evals.compiled.programs.common import DOUBT, PLAIN, Program
from tracescribe.evals.compiled.weights import Compiled, compile_weights
from tracescribe.tracer.errors import WorkError

_DRAWS, _IDLE = 100, 3
"""Draws for which each answer may come equally often, and rounds of them without a new prompt that end the search."""
_SAMPLES = 20
"""Prompts that tell how large the channels of a program get."""


def compile_program(name: str, seed: int) -> tuple[Program, Compiled]:
    """A program and its weights, as a seed draws them.

    Raises:
        UnknownIdError: no program has this name.
        WorkError: the program does not fit into the model.
    """
    program, rng = build_program(name, seed), random.Random(f"{seed} {name} features")
    planted = split(program.network, rng, program.cross_layer)
    drawn = random.Random(f"{seed} {name} sizes")
    prompts = [(BOS, *program.sentence(program.draw(drawn))) for _ in range(_SAMPLES)]
    features = [*planted, *distractors(program.network, rng, planted, prompts)]
    return program, compile_weights(program.network, features, np.random.default_rng(rng.getrandbits(64)))


def draw_prompts(program: Program, seed: int, count: int) -> tuple[PlantedPrompt, ...]:
    """Different prompts of a program; answers come as evenly as they can, and every second prompt begins in doubt.

    Raises:
        WorkError: the program has fewer.
    """
    rng, found = random.Random(f"{seed} {program.name} prompts"), dict[str, PlantedPrompt]()
    often: dict[str, int] = {}
    allowed, idle = 1, 0
    while len(found) < count and idle < _IDLE:
        before = len(found)
        for _ in range(_DRAWS):
            prompt = PlantedPrompt(program, program.draw(rng) | {"mood": (DOUBT, PLAIN)[len(found) % 2]})
            text = " ".join(prompt.words)
            if len(found) < count and text not in found and often.get(prompt.answer, 0) < allowed:
                found[text] = prompt
                often[prompt.answer] = often.get(prompt.answer, 0) + 1
        allowed, idle = allowed + 1, idle + 1 if len(found) == before else 0
    if len(found) < count:
        raise WorkError(f"program {program.name} has {len(found)} prompts, {count} were asked for; ask for fewer")
    return tuple(found.values())
