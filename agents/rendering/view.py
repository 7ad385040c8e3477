"""Everything a page shows, computed from the report once, so that HTML and Markdown cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.findings import Outcome, Role, Supernode
from tracescribe.agents.registration import Registration
from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.account_view import LIMITS, cost_rows, making_rows, unexplained_rows
from tracescribe.agents.rendering.circuit import (
    OUTCOMES,
    Circuit,
    circuit_of,
    claims_about,
    step_layers,
    step_position,
)
from tracescribe.agents.rendering.claim_view import ClaimGroup, claim_groups
from tracescribe.agents.rendering.drawing import names_of
from tracescribe.agents.rendering.evidence_view import EvidenceLookup, LabelView, feature_anchor, label_views
from tracescribe.agents.rendering.glossary import GLOSSARY, Term
from tracescribe.agents.rendering.rows import Row
from tracescribe.agents.rendering.visible_text import ELLIPSIS, visible_text, visible_token
from tracescribe.agents.report import CircuitReport

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph

MAX_ANSWERS = 5
"""Answers listed with their probabilities in the head of the page."""
MAX_TOKEN_LENGTH = 32
"""Characters of a token where it only names a place."""

ROLE_WORDS: dict[Role, str] = {
    "input": "reads the prompt",
    "intermediate": "a step between prompt and answer",
    "relation": "what is asked about",
    "output": "says the answer",
    "suppressor": "works against the answer",
    "other": "role not told",
}


@dataclass(frozen=True)
class Answer:
    """An output token with its probability; `share` is the probability as a number of per cent for the bar."""

    text: str
    probability: str
    share: float


@dataclass(frozen=True)
class Chip:
    """A reference to a claim with its verdict."""

    claim_id: str
    outcome: Outcome


@dataclass(frozen=True)
class SentenceView:
    """A sentence of the story with the claims it rests on."""

    text: str
    chips: tuple[Chip, ...]


@dataclass(frozen=True)
class Member:
    """A feature of a step; `anchor` is empty where the report has no label for it."""

    name: str
    label: str
    anchor: str


@dataclass(frozen=True)
class StepView:
    """A step (supernode) as a row of the table."""

    node: str
    label: str
    role: Role
    role_words: str
    where: str
    layers: str
    influence: str
    share: float
    members: tuple[Member, ...]
    claims: tuple[Chip, ...]


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


def _short_token(token: str) -> str:
    text = visible_token(token)
    return text if len(text) <= MAX_TOKEN_LENGTH else text[:MAX_TOKEN_LENGTH] + ELLIPSIS


def _members(report: CircuitReport, supernode: Supernode) -> tuple[Member, ...]:
    labels = {(label.layer, label.feature): visible_text(label.text) for label in report.labels}
    members: list[Member] = []
    for member in supernode.members:
        known = (member.layer, member.feature) in labels
        token = report.tokens[member.position] if member.position < len(report.tokens) else ""
        where = f"“{_short_token(token)}”" if token else f"position {member.position}"
        name = f"layer {member.layer}, feature {member.feature}, at {where}"
        anchor = feature_anchor(member.layer, member.feature) if known else ""
        members.append(Member(name, labels.get((member.layer, member.feature), ""), anchor))
    return tuple(members)


def _step_views(report: CircuitReport) -> tuple[StepView, ...]:
    outcome_of: dict[str, Outcome] = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    views: list[StepView] = []
    for supernode in report.supernodes:
        low, high = step_layers(supernode)
        position = step_position(supernode)
        token = _short_token(report.tokens[position]) if position < len(report.tokens) else str(position)
        views.append(
            StepView(
                node=supernode.supernode_id,
                label=visible_text(supernode.label),
                role=supernode.role,
                role_words=ROLE_WORDS[supernode.role],
                where=token,
                layers=str(low) if low == high else f"{low}–{high}",
                influence=numbers.percent(supernode.influence),
                share=round(100 * min(1.0, supernode.influence), 1),
                members=_members(report, supernode),
                claims=tuple(
                    Chip(claim.claim_id, outcome_of[claim.claim_id])
                    for claim in claims_about(report, supernode.supernode_id)
                ),
            )
        )
    return tuple(views)


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
        sentences=tuple(
            SentenceView(visible_text(s.text), tuple(Chip(claim, outcome_of[claim]) for claim in s.claims))
            for s in report.summary
        ),
        outcomes=tuple((outcome, tally[outcome]) for outcome in OUTCOMES),
        circuit=circuit,
        steps=_step_views(report),
        links=_link_views(report, circuit),
        groups=groups,
        labels=label_views(report, evidence),
        unexplained=unexplained_rows(report),
        notes=tuple(visible_text(note) for note in report.unexplained.notes),
        limits=LIMITS,
        failures=tuple(Row(visible_text(f.step), visible_text(f.error)) for f in report.failures),
        making=making_rows(report),
        cost=cost_rows(report),
        registry=report.registry,
        glossary=GLOSSARY,
        n_controls=max((plan.controls.n for plan in report.plans), default=0),
    )
