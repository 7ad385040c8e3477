"""Everything a page shows, computed from the report once, so that HTML and Markdown cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tracescribe.agents.findings import Outcome
from tracescribe.agents.registration import Registration
from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.account_view import LIMITS, cost_rows, making_rows, unexplained_rows
from tracescribe.agents.rendering.circuit import OUTCOMES, Circuit, circuit_of
from tracescribe.agents.rendering.claim_view import ClaimGroup, claim_groups
from tracescribe.agents.rendering.drawing import names_of
from tracescribe.agents.rendering.evidence_view import EvidenceLookup, LabelView, label_views
from tracescribe.agents.rendering.glossary import GLOSSARY, Term
from tracescribe.agents.rendering.rows import Chip, Row
from tracescribe.agents.rendering.steps_view import StepView, step_views
from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.agents.rendering.whole_view import SwapView, WholeView, stop_words, swap_views, whole_view
from tracescribe.agents.report import CircuitReport, Sentence

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph

MAX_ANSWERS = 5
"""Answers listed with their probabilities in the head of the page."""


@dataclass(frozen=True)
class Answer:
    """An output token with its probability; `share` is the probability as a number of per cent for the bar."""

    text: str
    probability: str
    share: float


@dataclass(frozen=True)
class SentenceView:
    """A sentence of the story with the claims it rests on, and the sentences that only add to it."""

    text: str
    chips: tuple[Chip, ...]
    asides: tuple[SentenceView, ...] = ()


@dataclass(frozen=True)
class LinkView:
    """A link of the report, in words."""

    source: str
    destination: str
    weight: str
    chip: Chip | None


@dataclass(frozen=True)
class ReportView:
    """All that the pages show of a report."""

    prompt: str
    answers: tuple[Answer, ...]
    tested: bool
    cut_short: str | None
    sentences: tuple[SentenceView, ...]
    outcomes: tuple[tuple[Outcome, int], ...]
    circuit: Circuit
    steps: tuple[StepView, ...]
    links: tuple[LinkView, ...]
    groups: tuple[ClaimGroup, ...]
    labels: tuple[LabelView, ...]
    unexplained: tuple[Row, ...]
    notes: tuple[str, ...]
    limits: tuple[str, ...]
    failures: tuple[Row, ...]
    making: tuple[Row, ...]
    cost: tuple[Row, ...]
    whole: WholeView | None
    swaps: tuple[SwapView, ...]
    stopped: str | None
    registry: tuple[Registration, ...]
    glossary: tuple[Term, ...]
    n_controls: int


def _answers(report: CircuitReport) -> tuple[Answer, ...]:
    ranked = sorted(report.targets, key=lambda target: (-target.probability, target.node_id))
    return tuple(
        Answer(
            visible_token(target.token),
            numbers.percent(target.probability),
            round(100 * min(1.0, max(0.0, target.probability)), 1),
        )
        for target in ranked[:MAX_ANSWERS]
    )


def _link_views(report: CircuitReport, circuit: Circuit) -> tuple[LinkView, ...]:
    names = dict(names_of(circuit))
    for target in report.targets:
        names.setdefault(target.node_id, f"“{visible_token(target.token)}” (output)")
    chips = {
        (link.source, link.destination): Chip(link.claim, link.outcome)
        for link in circuit.links
        if link.claim and link.outcome
    }
    ranked = sorted(report.edges, key=lambda edge: (-abs(edge.weight), edge.source, edge.destination))
    return tuple(
        LinkView(
            names.get(edge.source, visible_text(edge.source)),
            names.get(edge.destination, visible_text(edge.destination)),
            numbers.signed(edge.weight),
            chips.get((edge.source, edge.destination)),
        )
        for edge in ranked
    )


def build_view(
    report: CircuitReport, graph: AttributionGraph | None = None, evidence: EvidenceLookup | None = None
) -> ReportView:
    """Compute all that the pages show.

    Args:
        report: a valid report.
        graph: the graph that it interprets, if at hand.
        evidence: where example contexts come from, if at hand.
    """
    groups = claim_groups(report)
    circuit = circuit_of(report, graph)
    outcome_of: dict[str, Outcome] = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    tally = report.verdict_counts()
    return ReportView(
        prompt=visible_text(report.prompt),
        answers=_answers(report),
        tested=report.tested,
        cut_short=visible_text(report.cut_short) if report.cut_short is not None else None,
        sentences=_sentence_views(report.summary, outcome_of),
        outcomes=tuple((outcome, tally[outcome]) for outcome in OUTCOMES),
        circuit=circuit,
        steps=step_views(report),
        links=_link_views(report, circuit),
        groups=groups,
        labels=label_views(report, evidence),
        unexplained=unexplained_rows(report),
        notes=tuple(visible_text(note) for note in report.unexplained.notes),
        limits=LIMITS,
        failures=tuple(Row(visible_text(f.step), visible_text(f.error)) for f in report.failures),
        making=making_rows(report),
        cost=cost_rows(report),
        whole=whole_view(report.circuit),
        swaps=swap_views(report),
        stopped=stop_words(report),
        registry=report.registry,
        glossary=GLOSSARY,
        n_controls=max((plan.controls.n for plan in report.plans), default=0),
    )


def _sentence_views(story: Sequence[Sentence], outcome_of: Mapping[str, Outcome]) -> tuple[SentenceView, ...]:
    """The story, asides under the sentence that they add to."""
    views: list[SentenceView] = []
    for told in story:
        view = SentenceView(visible_text(told.text), tuple(Chip(claim, outcome_of[claim]) for claim in told.claims))
        if told.aside and views:
            views[-1] = replace(views[-1], asides=(*views[-1].asides, view))
        else:
            views.append(view)
    return tuple(views)
