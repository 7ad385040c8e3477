"""A review's acts, folded into what they come to. Pure: the same report, graph and acts give the same state.

Acts that change the draft stand on one another. Undo takes the last of them away, redo puts it back until something else
is done. Ending and reopening a review are decisions about the whole of it, and neither is undone: each is taken back by
the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tracescribe.runs.review.acts import Close, Redo, Reopen, ReviewStatus, Undo
from tracescribe.runs.review.applying import apply
from tracescribe.runs.review.drafts import Draft, Effects, GraphNodes, draft_of
from tracescribe.runs.review.errors import ActRefusedError
from tracescribe.runs.review.states import DoneAct, ReviewState

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport


_DRAFTS_KEPT = 64
"""Of a course, for undoing at once: each has its own list of comments, so that all of a long review's take too much."""


class Course:
    """The course of one review so far; each act goes on from the last draft, so that a long review stays quick.

    Args:
        report: that is reviewed.
        effects: the graph's, for supernodes with other members; None where no graph is kept.
    """

    def __init__(self, report: CircuitReport, effects: Effects | None = None) -> None:
        self._first = draft_of(report, effects)
        self._drafts: list[Draft] = [self._first]  # after the last standing acts; earlier ones are made again
        self._standing: list[DoneAct] = []
        self._undone: list[DoneAct] = []
        self._done: list[DoneAct] = []
        self._status: ReviewStatus = "open"

    @property
    def version(self) -> int:
        """Number of acts."""
        return len(self._done)

    @property
    def status(self) -> ReviewStatus:
        """Whether the review is being worked on, or how it ended."""
        return self._status

    def go_on(self, done: DoneAct, nodes: GraphNodes | None = None) -> None:
        """Do one more act; on an error nothing has changed.

        Args:
            done: whose version is the next one.
            nodes: what the act may name of the graph; None for acts that were checked when they were saved.

        Raises:
            ActRefusedError: the review as it stands does not allow it.
        """
        if done.version != self.version + 1:
            raise ActRefusedError(f"act {done.version} cannot follow act {self.version}; acts have no gaps")
        act = done.act
        if isinstance(act, Close):
            self._check_open()
            self._status = act.status
        elif isinstance(act, Reopen):
            if self._status == "open":
                raise ActRefusedError("the review is open; there is nothing to reopen")
            self._status = "open"
        elif isinstance(act, Undo):
            self._check_open()
            if not self._standing:
                raise ActRefusedError("there is nothing to undo")
            self._undone.append(self._standing.pop())
            self._drafts.pop()
            if not self._drafts:
                self._fold_again()
        elif isinstance(act, Redo):
            self._check_open()
            if not self._undone:
                raise ActRefusedError("there is nothing to redo; what was undone is gone once something else is done")
            again = self._undone[-1]
            self._keep(apply(self._drafts[-1], again))
            self._standing.append(self._undone.pop())
        else:
            self._check_open()
            self._keep(apply(self._drafts[-1], done, nodes))
            self._standing.append(done)
            self._undone.clear()
        self._done.append(done)

    def copy(self) -> Course:
        """Another course that goes on from here; drafts are shared, for they never change."""
        other = object.__new__(Course)
        other._first = self._first
        other._drafts, other._standing = list(self._drafts), list(self._standing)
        other._undone, other._done, other._status = list(self._undone), list(self._done), self._status
        return other

    def since(self, version: int) -> tuple[DoneAct, ...]:
        """Acts after a version, as they stand now."""
        return self._history()[max(0, version) :]

    def state(self, *, case_id: str, report_sha256: str, reviewer: str, review_id: str | None) -> ReviewState:
        """What it comes to."""
        draft, is_open = self._drafts[-1], self._status == "open"
        return ReviewState(
            review_id=review_id,
            case_id=case_id,
            report_sha256=report_sha256,
            reviewer=reviewer,
            version=self.version,
            status=self._status,
            report_decision=draft.report_decision,
            supernodes=tuple(draft.supernodes.values()),
            edges=tuple(draft.edges.values()),
            labels=tuple(draft.labels.values()),
            claims=tuple(draft.claims.values()),
            comments=draft.comments,
            undecided=draft.undecided,
            graph_kept=draft.effects is not None,
            can_undo=is_open and bool(self._standing),
            can_redo=is_open and bool(self._undone),
            history=self._history(),
        )

    def _history(self) -> tuple[DoneAct, ...]:
        kept = {done.version for done in self._standing}
        plain = (Undo, Redo, Close, Reopen)
        return tuple(
            done if isinstance(done.act, plain) or done.version in kept else done.model_copy(update={"undone": True})
            for done in self._done
        )

    def _keep(self, draft: Draft) -> None:
        self._drafts.append(draft)
        if len(self._drafts) > _DRAFTS_KEPT:
            del self._drafts[0]

    def _fold_again(self) -> None:
        """Make the last drafts anew, where all that were kept have been undone."""
        draft = self._first
        self._drafts = [draft]
        for done in self._standing:
            draft = apply(draft, done)
            self._keep(draft)

    def _check_open(self) -> None:
        if self._status != "open":
            raise ActRefusedError(f"the review is {self._status}; reopen it to go on with it")


def course_of(report: CircuitReport, acts: Iterable[DoneAct], effects: Effects | None = None) -> Course:
    """The course of a review from its stored acts.

    Raises:
        ActRefusedError: an act that cannot follow the others: they are not this report's.
    """
    course = Course(report, effects)
    for done in acts:
        course.go_on(done)
    return course


def fold(
    report: CircuitReport,
    case_id: str,
    report_sha256: str,
    reviewer: str,
    review_id: str | None,
    acts: Sequence[DoneAct],
    effects: Effects | None = None,
) -> ReviewState:
    """What a review comes to.

    Args:
        report: that is reviewed; it is not changed.
        case_id, report_sha256, reviewer, review_id: of the review; the id is None before its first act.
        acts: all of them, first to last; their `undone` is of no account.
        effects: the graph's, for supernodes with other members; None where no graph is kept.

    Raises:
        ActRefusedError: an act that cannot follow the others: they are not this report's.
    """
    return course_of(report, acts, effects).state(
        case_id=case_id, report_sha256=report_sha256, reviewer=reviewer, review_id=review_id
    )
