"""What tempts in a prompt: values that it suggests and that the causal model does not compute."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tracescribe.tracer.embedded.training.corpus import Sample


@dataclass(frozen=True)
class Temptation:
    """A value that the prompt suggests.

    Attributes:
        variable: variable of the causal model that an agent would give the value to.
        value: the tempting value.
        reason: why it tempts, and why it is wrong.
    """

    variable: str
    value: str
    reason: str


@dataclass(frozen=True)
class TrapPrompt:
    """A distractor prompt.

    Attributes:
        sample: the prompt.
        temptations: none where a short cut tempts that stands for no other value.
        unread: the training text cannot hold such a sentence, whichever words are drawn.
    """

    sample: Sample
    temptations: tuple[Temptation, ...] = ()
    unread: bool = False


DrawTrap = Callable[[random.Random], TrapPrompt]


def filled(template: str, **words: str) -> str:
    """A pattern with some slots filled, so that the corpus' own drawing can fill the others."""
    for slot, word in words.items():
        template = template.replace(f"{{{slot}}}", word)
    return template
