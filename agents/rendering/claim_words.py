"""What each kind of claim asks, how it is tested and how its effect is read, for people who meet it the first time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tracescribe.agents.findings import Outcome
from tracescribe.agents.rendering import numbers

MAX_FACTOR = 1000.0
"""Beyond it a probability factor is written as 'more than': the digits say nothing further."""


def _factor(nats: float) -> str:
    if nats > math.log(MAX_FACTOR):
        return f"more than {numbers.count(int(MAX_FACTOR))}"
    return numbers.number(math.exp(nats))


def nats(value: float) -> str:
    """An amount of log-probability."""
    return f"{numbers.effect(value)} nats"


def nats_changed(value: float) -> str:
    """A change of log-probability, with its sign."""
    return f"{numbers.signed(value)} nats"


def nats_fall(value: float) -> str:
    """A fall of log-probability, and by what the probability is divided."""
    return f"{nats(value)} ({'÷' if value >= 0 else '×'} {_factor(abs(value))})"


def nats_move(value: float) -> str:
    """A change of log-probability in the stated direction, and the factor that it is."""
    return f"{nats_changed(value)} (factor {_factor(abs(value))})"


def gain(value: float) -> str:
    """A rise of probability, in percentage points."""
    return f"{numbers.signed(100.0 * value)} points"


def share(value: float) -> str:
    """A share as a percentage."""
    return numbers.percent(value)


def area(value: float) -> str:
    """An area under a ROC curve."""
    return f"AUC {numbers.number(value)}"


@dataclass(frozen=True)
class ClaimKind:
    """One kind of claim for people.

    Attributes:
        heading: the question it asks.
        method: how it is tested, and what the effect means.
        measure: turns an effect into words.
        amount: an effect in the same unit, as short as a plot's caption has to be.
    """

    heading: str
    method: str
    measure: Callable[[float], str]
    amount: Callable[[float], str]


CLAIM_KINDS: Mapping[str, ClaimKind] = {
    "swap": ClaimKind(
        "Does a step carry the meaning that its label says?",
        "Swap: the step's features are cleared and the matching features of another prompt are set in their place. If "
        "the step carries what its label says, the model now gives the other prompt's answer. The effect is the rise of "
        "that answer's probability, in percentage points.",
        gain,
        gain,
    ),
    "necessity": ClaimKind(
        "Does the answer depend on a step?",
        "Ablation: the step's features are set to zero. The effect is the fall of the answer's log-probability, in nats: "
        "0.693 nats halve the probability, 2.30 nats leave a tenth (÷ tells by how much it is divided).",
        nats_fall,
        nats,
    ),
    "steering": ClaimKind(
        "Does turning a step up or down move the answer as expected?",
        "Steering: the step's activations are multiplied. The effect is the change of the expected token's "
        "log-probability in the stated direction, in nats; 0.693 nats are a factor of two.",
        nats_move,
        nats_changed,
    ),
    "edge": ClaimKind(
        "Does one step feed another?",
        "Ablation of the first step: the effect is the share of the second step's activation that disappears (or, for "
        "an inhibiting connection, is gained).",
        share,
        share,
    ),
    "sufficiency": ClaimKind(
        "Is the drawn circuit enough by itself?",
        "Every feature of the graph outside the circuit is set to zero. The effect is the share of the answer's "
        "probability that the circuit alone keeps, less what the answer has without any feature.",
        share,
        share,
    ),
    "label": ClaimKind(
        "Do features fire where their labels say?",
        "Checked on texts that the labeller never saw, both ways: does the feature fire where the label's condition holds, "
        "and does the condition hold where the feature fires? The effect is the smaller of the two areas under the ROC "
        "curve (AUC): 0.5 is guessing, 1 is perfect.",
        area,
        area,
    ),
}
"""In the order in which a page shows them: the strongest kind of evidence first."""


def metric_words(metric: str) -> str:
    """A metric's name as people read it."""
    return "AUC" if metric in ("auc", "two_way_auc") else metric.replace("_", " ")


OUTCOME_WORDS: Mapping[Outcome, str] = {
    "supported": "the effect is as large as claimed, and larger than chance allows",
    "refuted": "the effect is less than half of what was claimed, or points the other way",
    "inconclusive": "there is an effect, but weaker than claimed or not told apart from the controls",
    "untested": "no experiment was run",
}
