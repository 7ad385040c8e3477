"""The circuit as a whole: what it keeps by itself and what is lost without it, swaps over donors, and the end of the work."""

from __future__ import annotations

from dataclasses import dataclass

from tracescribe.agents.findings import CircuitEffect, SupernodeQuality
from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.rows import Row
from tracescribe.agents.rendering.strip_plot import StripPlot, strip_plot
from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.agents.report import CircuitReport
from tracescribe.agents.reporting.story import STOP_WORDS


@dataclass(frozen=True)
class EffectView:
    """One measure of the whole circuit beside random circuits."""

    question: str
    value: str
    meaning: str
    beside: str
    plot: StripPlot | None


@dataclass(frozen=True)
class SwapView:
    """The swaps of one step over all donor prompts."""

    anchor: str
    step: str
    held: str
    interval: str


@dataclass(frozen=True)
class WholeView:
    """The circuit as a whole; `is_everything` where no feature that fires is outside it."""

    size: str
    lead: str
    effects: tuple[EffectView, ...]
    rows: tuple[Row, ...]
    is_everything: bool


def _beside(p: float | None, random: tuple[float, ...]) -> str:
    """A measure of the random circuits, and how often they do as much."""
    if not random:
        return "no random circuit of this size exists"
    told = f"mean of {numbers.counted(len(random), 'random circuit')} of its size: {numbers.percent(sum(random) / len(random))}"
    return f"{told}; p {numbers.p_value(p)}" if p is not None else f"{told}; too few for a p value"


def whole_view(circuit: CircuitEffect | None) -> WholeView | None:
    """The circuit's sufficiency and necessity, ready to be shown; None where they were not measured."""
    if circuit is None:
        return None
    lead = f"the lead of “{visible_token(circuit.target)}” over “{visible_token(circuit.foil)}”"
    return WholeView(
        size=f"{numbers.counted(circuit.n_features, 'feature')} of {numbers.count(circuit.n_active)} that fire in the prompt",
        lead=lead,
        effects=(
            EffectView(
                "Is it enough?",
                numbers.percent(circuit.sufficiency),
                "sufficiency: what remains of the lead when every other feature is switched off",
                _beside(circuit.sufficiency_p, circuit.random_sufficiency),
                strip_plot(circuit.sufficiency, None, circuit.random_sufficiency, "random circuit", numbers.percent),
            ),
            EffectView(
                "Is it needed?",
                numbers.percent(circuit.necessity),
                "necessity: what is lost of the lead when the circuit is switched off",
                _beside(circuit.necessity_p, circuit.random_necessity),
                strip_plot(circuit.necessity, None, circuit.random_necessity, "random circuit", numbers.percent),
            ),
        ),
        rows=(
            *(
                (Row("Random circuits matched on", ", ".join(map(visible_text, circuit.matched_on))),)
                if circuit.matched_on
                else ()
            ),
            Row("Lead in the untouched model", f"{numbers.number(circuit.logit_difference)} logits"),
            Row("Lead with every feature switched off", f"{numbers.number(circuit.logit_difference_empty)} logits"),
        ),
        is_everything=circuit.n_features >= circuit.n_active,
    )


def swap_views(report: CircuitReport) -> tuple[SwapView, ...]:
    """How far the swaps of each step reach beyond one donor prompt."""
    labels = {supernode.supernode_id: supernode.label for supernode in report.supernodes}
    return tuple(
        SwapView(
            anchor=f"step-{summary.supernode}",
            step=visible_text(labels.get(summary.supernode, summary.supernode)),
            held=f"{summary.n_supported} of {summary.n_donors}",
            interval=f"{numbers.percent(summary.interval.low)} to {numbers.percent(summary.interval.high)}",
        )
        for summary in report.swaps
    )


def quality_words(quality: SupernodeQuality | None) -> tuple[str, ...]:
    """How a step hangs together and what it does as a unit, each beside random groups; empty where not measured."""
    if quality is None:
        return ()
    lines: list[str] = []
    if quality.agreement is not None:
        lines.append(
            f"members alike: {numbers.number(quality.agreement)}"
            + _random(quality.random_agreement, quality.agreement_p)
        )
    if quality.effect is not None:
        lines.append(
            f"switched off together: {numbers.effect(quality.effect)} nats"
            + _random(quality.random_effect, quality.effect_p)
        )
    return tuple(lines)


def _random(mean: float | None, p: float | None) -> str:
    if mean is None:
        return ""
    return f" (random groups {numbers.effect(mean)}" + (f", p {numbers.p_value(p)})" if p is not None else ")")


def stop_words(report: CircuitReport) -> str | None:
    """Why the agent stopped, in a line; None where the report does not say."""
    stopped = report.stopped
    if stopped is None:
        return None
    why = visible_text(stopped.detail) or STOP_WORDS[stopped.reason]
    return f"after {numbers.counted(stopped.rounds, 'round')} of revision ({stopped.reason}): {why}"
