"""Rows of artefacts: staged before the file exists, kept when its case is finished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from tracescribe.runs.store.errors import ArtefactMissingError
from tracescribe.runs.store.statements import insert_or_update
from tracescribe.runs.store.tables import artefact_uses, artefacts, staged_artefacts

if TYPE_CHECKING:
    from sqlalchemy import Connection


def stage(
    connection: Connection,
    rows: Mapping[str, tuple[str, int]],
    worker_id: str,
    case_id: str,
    attempt: int,
    now: float,
) -> None:
    """Say that files may come.

    Args:
        rows: kind and size by SHA-256.
        now: kept as the moment at which the artefact was last made: retention counts from there.
    """
    # in one order everywhere, so that two workers never wait for each other; the update locks a row that is there,
    # and waits for a sweep that is deleting it
    ordered = sorted(rows.items())
    insert_or_update(
        connection,
        artefacts,
        [{"sha256": sha256, "kind": kind, "size": size, "created_at": now} for sha256, (kind, size) in ordered],
        ("created_at",),
    )
    insert_or_update(
        connection,
        staged_artefacts,
        [{"sha256": sha256, "worker_id": worker_id, "case_id": case_id, "attempt": attempt} for sha256, _ in ordered],
        ("worker_id",),
    )


def keep(connection: Connection, case_id: str, attempt: int, names: dict[str, str]) -> None:
    """See `Artefacts.keep`."""
    staged = set(
        connection.scalars(
            select(staged_artefacts.c.sha256).where(
                staged_artefacts.c.case_id == case_id, staged_artefacts.c.attempt == attempt
            )
        )
    )
    used = {
        (row.name, row.sha256)
        for row in connection.execute(
            select(artefact_uses.c.name, artefact_uses.c.sha256).where(artefact_uses.c.case_id == case_id)
        )
    }
    missing = sorted(name for name, sha256 in names.items() if sha256 not in staged and (name, sha256) not in used)
    if missing:
        raise ArtefactMissingError(
            f"case {case_id} cannot keep {', '.join(missing)}: not staged in attempt {attempt}, or swept since; "
            "put it again"
        )
    insert_or_update(
        connection,
        artefact_uses,
        [{"case_id": case_id, "name": name, "sha256": sha256} for name, sha256 in sorted(names.items())],
        ("sha256",),
    )
    if names:
        connection.execute(
            delete(staged_artefacts).where(
                staged_artefacts.c.case_id == case_id,
                staged_artefacts.c.attempt == attempt,
                staged_artefacts.c.sha256.in_(sorted(set(names.values()))),
            )
        )
