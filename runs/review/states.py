"""What a review comes to: the report as the reviewer sees it, computed from the report and the review's acts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from tracescribe.agents.findings import Role
from tracescribe.runs.review.acts import Act, Decision, ReviewStatus

Sign = Literal[1, -1]
EdgeOrigin = Literal["report", "graph", "reviewer"]


class _State(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SupernodeState(_State):
    """A supernode as the review has it.

    Attributes:
        label_before: in the report; None where the review made it.
        members: node ids, in the report's order, those that came later behind.
        decision: of the reviewer.
        rejected_by_report: the report itself counts it as a guess that failed.
        gone: merged into another, or emptied; kept so that links to it can be told.
        changed: its members are not the report's: influence, quality and claims are about those that it had.
    """

    supernode_id: str
    label: str
    label_before: str | None
    role: Role
    role_before: Role | None
    members: tuple[str, ...]
    members_before: tuple[str, ...]
    decision: Decision
    rejected_by_report: bool
    gone: bool

    @computed_field  # type: ignore[prop-decorator]
    @property
    def changed(self) -> bool:
        """Whether the members are others than the report's."""
        return set(self.members) != set(self.members_before)


class EdgeState(_State):
    """A link as the review has it.

    Attributes:
        weight: summed direct effect of the members that its ends have now; of a stale link the report's; None where the
            graph has none, or is not kept.
        weight_before: the report's; None where the report does not have the link.
        sign_before: of the report, or of the graph for the members as they are now; None where only the reviewer has it.
        origin: who says so: the report; the graph, for an end whose members the review changed; or the reviewer alone.
        stale: the report's, for members that an end has no longer, with no graph that would tell what holds now, or the
            end is gone. It is no part of gold.
    """

    source: str
    destination: str
    weight: float | None
    weight_before: float | None
    sign: Sign
    sign_before: Sign | None
    decision: Decision
    origin: EdgeOrigin
    stale: bool = False


class LabelState(_State):
    """A feature's label as the review has it. `text_before` is None where the report has no label for it."""

    layer: int
    feature: int
    text: str
    text_before: str | None
    decision: Decision


class ClaimState(_State):
    """What the reviewer says of a claim."""

    claim_id: str
    decision: Decision


class CommentState(_State):
    """A comment that stands."""

    version: int
    at: str
    actor: str
    target: str
    text: str


class DoneAct(_State):
    """An act as it was done.

    Attributes:
        version: of the review after it; 1 is the first.
        at: ISO 8601, UTC.
        why: in the reviewer's words; may be empty.
        undone: whether it was taken back.
        act_id: by which whoever sent it knows it; None where they gave it none.
    """

    version: int
    at: str
    actor: str
    act: Act
    why: str
    undone: bool
    act_id: str | None = None


class ReviewState(_State):
    """A review of a report.

    Attributes:
        review_id: None before the first act is saved.
        version: number of its acts; an act is saved only by one who has seen this many.
        reviewer: who began it.
        undecided: node ids.
        graph_kept: whether there is a graph that tells the links of supernodes with other members.
        history: every act, first to last.
    """

    review_id: str | None
    case_id: str
    report_sha256: str
    reviewer: str
    version: int
    status: ReviewStatus
    report_decision: Decision
    supernodes: tuple[SupernodeState, ...]
    edges: tuple[EdgeState, ...]
    labels: tuple[LabelState, ...]
    claims: tuple[ClaimState, ...]
    comments: tuple[CommentState, ...]
    undecided: tuple[str, ...]
    graph_kept: bool
    can_undo: bool
    can_redo: bool
    history: tuple[DoneAct, ...]
