"""What can go wrong with reviews.

InputError
├── ActRefusedError         an act that the report, or the review as it stands, does not allow
├── ReviewConflictError     somebody else changed the review since it was looked at; nothing was saved
├── ReviewUnfinishedError   the review was not accepted, so that no gold can be made of it
└── BroughtInError          files that cannot be brought in as a report
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.runs.review.states import DoneAct, ReviewState


class ActRefusedError(InputError):
    """An act that the report, or the review as it stands, does not allow."""


class ReviewConflictError(InputError):
    """Somebody else changed the review since it was looked at; nothing was saved.

    Attributes:
        state: the review as it is now.
        since: the acts that the caller has not seen, first to last.
    """

    def __init__(self, message: str, state: ReviewState, since: Sequence[DoneAct]) -> None:
        super().__init__(message)
        self.state = state
        self.since = tuple(since)


class ReviewUnfinishedError(InputError):
    """The review was not accepted, so that no gold can be made of it."""


class BroughtInError(InputError):
    """Files that cannot be brought in as a report."""
