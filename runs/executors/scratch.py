"""Folders of cases that are being worked on, on this machine alone: what a case that was cut off goes on from.

SCRATCH/<case id>/run          the run itself (`agents.durable`)
SCRATCH/<case id>/run-<name>   the same, where a process that will not die still holds the first
"""

from __future__ import annotations

import re
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy import Connection, Select

    from tracescribe.runs.store.database import Store

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_CHUNK = 500
"""Ids in one question to the database."""


def case_scratch(store: Store, case_id: str) -> Path:
    """The folder of a case; it need not be there."""
    # ids are ours and plain; one that is not (a store from elsewhere) still enters no path
    return store.scratch / (case_id if _PLAIN.fullmatch(case_id) else sha256_json(case_id))


def remove_scratch(store: Store, case_id: str) -> None:
    """Remove a case's folder, once its results are in the store or nobody wants them any more."""
    shutil.rmtree(case_scratch(store, case_id), ignore_errors=True)


def sweep_scratch(store: Store) -> int:
    """Remove the folders of cases that are finished, cancelled or unknown; returns how many.

    Raises:
        StoreError: the store cannot be read.
    """
    try:
        # what begins with a dot is no case's: temporary files of workers
        folders = (path for path in store.scratch.iterdir() if path.is_dir() and not path.name.startswith("."))
        there = sorted(path.name for path in folders if not path.is_symlink())
    except FileNotFoundError:
        return 0
    open_cases = {case_scratch(store, case_id).name for case_id in _open(store, there)}
    left = [name for name in there if name not in open_cases]
    for name in left:
        shutil.rmtree(store.scratch / name, ignore_errors=True)
    return len(left)


def _open(store: Store, names: Iterable[str]) -> set[str]:
    """Of these ids those of cases that wait or run."""
    import sqlalchemy as sa

    from tracescribe.runs.store.tables import cases

    wanted = list(names)
    found: set[str] = set()
    for start in range(0, len(wanted), _CHUNK):
        query = sa.select(cases.c.case_id).where(
            cases.c.case_id.in_(wanted[start : start + _CHUNK]), cases.c.status.in_(("waiting", "running"))
        )
        found |= store.read(partial(_ids, query=query))
    return found


def _ids(connection: Connection, query: Select[Any]) -> set[str]:
    return {str(case_id) for (case_id,) in connection.execute(query)}
