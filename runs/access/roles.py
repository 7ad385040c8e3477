"""Roles and what each may do: a closed table; what is not in it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["viewer", "reviewer", "admin"]
Permission = Literal[
    "see jobs",
    "see scores",
    "open reports",
    "see evidence",
    "review",
    "export reports",
    "see audit log",
    "run jobs",
    "delete artefacts",
    "manage tokens",
]

PERMISSIONS: dict[Permission, str] = {
    "see jobs": "lists of jobs, how far they are, counts of cases and failures, what they cost",
    "see scores": "scores and comparisons over all cases, in numbers",
    "open reports": "a single report with its prompt, labels, claims and graph",
    "see evidence": "texts in which a feature fires",
    "review": "accept, correct or reject a report",
    "export reports": "take summaries, tables, single reports and graphs out of the store",
    "see audit log": "entries of the audit log, and whether it is whole",
    "run jobs": "submit, resume, retry and cancel jobs, and change what they may cost",
    "delete artefacts": "remove artefacts, and change how long they are kept",
    "manage tokens": "make, list, replace and revoke tokens",
}
"""What each permission allows, as `docs/access.md` has it."""

_VIEWER: frozenset[Permission] = frozenset({"see jobs", "see scores"})
_REVIEWER: frozenset[Permission] = _VIEWER | frozenset[Permission]({"open reports", "see evidence", "review"})
ALLOWED: dict[Role, frozenset[Permission]] = {
    "viewer": _VIEWER,
    "reviewer": _REVIEWER,
    "admin": frozenset(get_args(Permission)),
}
"""The whole table: nobody may do more."""


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        name: as the audit log names it: `local:<user>` or `token:<name>`.
        role: decides what is allowed.
        token_id: of the token that was shown; None for the person at this machine.
    """

    name: str
    role: Role
    token_id: str | None = None

    def may(self, permission: Permission) -> bool:
        """Whether this is allowed; a role or a permission that the table does not have allows nothing."""
        return permission in ALLOWED.get(self.role, frozenset())


def local_principal() -> Principal:
    """The person at this machine, who can read the store's files anyway: an admin under their own name."""
    from tracescribe.runs.audit.log import local_actor

    return Principal(local_actor(), "admin")
