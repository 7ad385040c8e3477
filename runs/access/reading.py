"""Opening single reports: allowed by role, and each told in the audit log before its content is handed out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tracescribe.runs.access.errors import AccessDeniedError
from tracescribe.runs.access.roles import PERMISSIONS, Permission, Principal, local_principal
from tracescribe.runs.audit.acts import Act
from tracescribe.runs.audit.log import Entry, append, append_many
from tracescribe.runs.store.tables import artefact_uses
from tracescribe.tracer.errors import UnknownIdError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

REPORT = "report.json"
_PERMISSION_OF_KIND: dict[str, Permission] = {"evidence": "see evidence", "summary": "see scores"}
"""Of artefacts other than reports, by kind; what is not here needs the right to open reports."""


def require(principal: Principal, permission: Permission, what: str = "") -> None:
    """Refuse what the role does not allow. It writes nothing; `refuse_and_log` does.

    Raises:
        AccessDeniedError: it is not allowed.
    """
    if not principal.may(permission):
        asked = f" ({what})" if what else ""
        allowed = PERMISSIONS.get(permission, "nothing")
        raise AccessDeniedError(
            f"{principal.name} has the role {principal.role}, which does not include '{permission}': {allowed}{asked}; "
            "ask an admin for a token with another role"
        )


def require_logged(
    store: Store,
    principal: Principal,
    permission: Permission,
    subject: str,
    act: Act = "access refused",
    *,
    untold: int = 0,
) -> None:
    """Refuse what the role does not allow, and log the refusal.

    Args:
        subject: id of what was asked for.
        untold: refusals of the same kind since the last entry that have none of their own.

    Raises:
        AccessDeniedError: it is not allowed.
        StoreError: the store cannot be written to.
    """
    try:
        require(principal, permission)
    except AccessDeniedError:
        details: dict[str, str | int] = {"permission": permission, "role": principal.role}
        if untold:
            details["more_since_the_last_entry"] = untold
        store.write(
            lambda connection: append(connection, act=act, subject=subject, details=details, actor=principal.name)
        )
        raise


def open_report(
    store: Store, principal: Principal | None, case_id: str, name: str = REPORT, *, again: bool = False
) -> bytes:
    """An artefact of one case, checked against its hash; that it was opened is in the audit log before this returns.

    Args:
        principal: who asks; None for the person at this machine.
        name: of the artefact, such as `report.json`, `report.html` or `graph.json`.
        again: the log tells already that they opened it, for the page that this is a part of; it is not told again.

    Raises:
        AccessDeniedError: the role does not allow it; this is logged too.
        UnknownIdError: the case has no such artefact.
        ArtefactDamagedError, ArtefactMissingError: it is not what was stored.
        StoreError: the store cannot be written to; then nothing is opened.
    """
    principal = principal or local_principal()
    sha256 = _allowed(store, principal, case_id, name)
    content = store.artefacts.read(sha256)
    if not again:
        _log_opened(store, principal, case_id, name, sha256)
    return content


def log_opening(
    store: Store, principal: Principal | None, case_id: str, name: str = REPORT, *, again: bool = False
) -> str:
    """`open_report` for those who have what they show in memory already, under its hash, or show what was made of it.

    Returns:
        SHA-256 of the artefact.

    Raises:
        AccessDeniedError, UnknownIdError, StoreError: as `open_report`.
    """
    principal = principal or local_principal()
    sha256 = _allowed(store, principal, case_id, name)
    if not again:
        _log_opened(store, principal, case_id, name, sha256)
    return sha256


def _allowed(store: Store, principal: Principal, case_id: str, name: str) -> str:
    found = store.read(lambda connection: _use(connection, case_id, name))
    permission = _PERMISSION_OF_KIND.get(found[1], "open reports") if found is not None else "open reports"
    # asked before it is told whether there is such a case
    require_logged(store, principal, permission, case_id, "report refused")
    if found is None:
        raise UnknownIdError(
            f"case {case_id[:80]!r} has no {name[:80]!r}; 'tracescribe jobs show CASE' tells what there is"
        )
    return found[0]


def _log_opened(store: Store, principal: Principal, case_id: str, name: str, sha256: str) -> None:
    details = {"name": name, "sha256": sha256}
    store.write(
        lambda connection: append(
            connection, act="report opened", subject=case_id, details=details, actor=principal.name
        )
    )


def log_review(store: Store, principal: Principal, case_id: str, review_id: str) -> None:
    """Log that the acts of a review are read, which tell much of its report even when that is no longer kept.

    Raises:
        AccessDeniedError: the role does not allow it; this is logged too.
        StoreError: the store cannot be written to; then nothing is shown.
    """
    require_logged(store, principal, "open reports", case_id, "report refused")
    details = {"name": "review", "review": review_id}
    store.write(
        lambda connection: append(
            connection, act="report opened", subject=case_id, details=details, actor=principal.name
        )
    )


def log_export(
    store: Store,
    principal: Principal | None,
    job_id: str,
    case_ids: Sequence[str],
    *,
    form: str,
    to: str = "",
) -> None:
    """Log that results of a job are taken out of the store; call it before the first is written.

    Each case has an entry of its own, so that `audit show --case` tells everybody who had its report.

    Args:
        case_ids: whose reports; empty for summaries and tables, which hold prompts and figures of single cases, and no
            report.
        form: such as `html`, `parquet` or `reports`.
        to: where to, for people.

    Raises:
        AccessDeniedError: the role does not allow it; this is logged too.
        StoreError: the store cannot be written to; then nothing may be exported.
    """
    principal = principal or local_principal()
    require_logged(store, principal, "export reports", job_id)
    entries = [Entry("export", job_id, {"form": form, "cases": len(case_ids), "to": to}, principal.name)]
    entries += [Entry("report opened", case, {"export": form, "job": job_id}, principal.name) for case in case_ids]
    store.write(lambda connection: append_many(connection, entries))


def _use(connection: Connection, case_id: str, name: str) -> tuple[str, str] | None:
    from tracescribe.runs.store.tables import artefacts

    query = (
        sa.select(artefact_uses.c.sha256, artefacts.c.kind)
        .join(artefacts, artefacts.c.sha256 == artefact_uses.c.sha256)
        .where(artefact_uses.c.case_id == case_id, artefact_uses.c.name == name)
    )
    row = connection.execute(query).first()
    return (str(row[0]), str(row[1])) if row is not None else None
