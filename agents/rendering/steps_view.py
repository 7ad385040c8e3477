"""The steps (supernodes) as rows of a table: role, place, members, claims, and how well each hangs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracescribe.agents.findings import Outcome, Role, Supernode
from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.circuit import claims_about, step_layers, step_position
from tracescribe.agents.rendering.evidence_view import feature_anchor
from tracescribe.agents.rendering.rows import Chip
from tracescribe.agents.rendering.visible_text import ELLIPSIS, visible_text, visible_token
from tracescribe.agents.rendering.whole_view import quality_words
from tracescribe.agents.report import CircuitReport

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
class Member:
    """A feature of a step; `anchor` is empty where the report has no label for it."""

    name: str
    label: str
    anchor: str


@dataclass(frozen=True)
class StepView:
    """A step (supernode) as a row of the table; `quality` is how it hangs together, in lines of words."""

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
    rejected: bool
    quality: tuple[str, ...]


def _short_token(token: str) -> str:
    text = visible_token(token)
    return text if len(text) <= MAX_TOKEN_LENGTH else text[:MAX_TOKEN_LENGTH] + ELLIPSIS


def _members(report: CircuitReport, supernode: Supernode, labels: Mapping[tuple[int, int], str]) -> tuple[Member, ...]:
    members: list[Member] = []
    for member in supernode.members:
        known = (member.layer, member.feature) in labels
        token = report.tokens[member.position] if member.position < len(report.tokens) else ""
        where = f"“{_short_token(token)}”" if token else f"position {member.position}"
        name = f"layer {member.layer}, feature {member.feature}, at {where}"
        anchor = feature_anchor(member.layer, member.feature) if known else ""
        members.append(Member(name, labels.get((member.layer, member.feature), ""), anchor))
    return tuple(members)


def step_views(report: CircuitReport) -> tuple[StepView, ...]:
    outcome_of: dict[str, Outcome] = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    labels = {(label.layer, label.feature): visible_text(label.text) for label in report.labels}
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
                members=_members(report, supernode, labels),
                claims=tuple(
                    Chip(claim.claim_id, outcome_of[claim.claim_id])
                    for claim in claims_about(report, supernode.supernode_id)
                ),
                rejected=supernode.rejected,
                quality=quality_words(supernode.quality),
            )
        )
    return tuple(views)
