"""Units for a question of two parts: one part picks among the answers of the other, and holds the rival down."""

from __future__ import annotations

from collections.abc import Mapping

from tracescribe.evals.compiled.network import Concept
from tracescribe.evals.compiled.programs.common import say


def candidates(
    layer: int,
    subjects: Mapping[str, str],
    choices: Mapping[str, tuple[str, str]],
    table: Mapping[tuple[str, str], str],
) -> list[Concept]:
    """A unit for each answer: its subject and its choice excite it, what blocks its choice holds it down.

    An answer whose subject is there but whose choice is blocked stays awake a little: a rival.

    Args:
        subjects: subject -> channel.
        choices: choice -> channel that asks for it, channel that blocks it.
        table: (choice, subject) -> answer.
    """
    return [
        Concept(
            name=f"candidate={answer}",
            variable=f"{choice} of the subject",
            value=answer,
            layer=layer,
            reads={subjects[subject]: 1.8, choices[choice][0]: 0.7, choices[choice][1]: -0.7},
            bias=-0.8,
            labels=(answer, f"{choice} {subject}", f"{choice} of {subject}", f"candidate {answer}"),
        )
        for (choice, subject), answer in table.items()
    ]


def rivals_say(layer: int, table: Mapping[tuple[str, str], str], channel: str) -> list[Concept]:
    """A unit for each answer that its candidate excites and the other candidates of its subject hold down.

    Args:
        channel: of a candidate, with `{}` for the answer.
    """
    found = []
    for (choice, subject), answer in table.items():
        rivals = [other for (c, s), other in table.items() if s == subject and c != choice]
        reads = {channel.format(answer): 1.2} | {channel.format(rival): -2.0 for rival in rivals}
        found.append(say(layer, answer, reads, bias=-0.5))
    return found
