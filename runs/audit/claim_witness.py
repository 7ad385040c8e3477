"""Brings a case's claims into the audit log when they are registered, before they are tested."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tracescribe.agents.registration import FIRST_PREVIOUS
from tracescribe.runs.audit.acts import Act
from tracescribe.runs.audit.log import Entry, append_many, lock_end
from tracescribe.runs.store.tables import audit_entries

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.agents.registration import Event
    from tracescribe.agents.registry_log import LogLine
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.store.database import Store

_ACTS: dict[Event, Act] = {
    "defined": "supernode defined",
    "registered": "claim registered",
    "planned": "experiment planned",
    "measured": "experiment run",
    "reported": "report sealed",
}
_VERDICT: Act = "verdict"


class ClaimWitness:
    """A `RegistryListener` for one case of a job.

    A line of the registry is known by its subject and the hash of what it fixes. A run that goes on after a kill, or that
    begins anew and comes to the same claims, finds its lines in the log and adds only what is missing: each stands there
    once for its case, and in any case before what it announces is done.
    """

    def __init__(self, store: Store, job_id: str, case_id: str, worker_id: str) -> None:
        self._store = store
        self._job_id = job_id
        self._case_id = case_id
        self._actor = f"worker:{worker_id}"

    def __call__(self, lines: Sequence[LogLine]) -> None:
        """Log the lines that the log does not have yet, in one transaction.

        Raises:
            StoreError: the store cannot be written to; what the lines announce must not be done.
        """
        self._add([(_ACTS[line.entry.event], self._line_details(line)) for line in lines])

    def verdicts(self, report: CircuitReport) -> None:
        """Log the verdicts of a sealed report; those that are there already are left.

        Raises:
            StoreError: the store cannot be written to.
        """
        # what they were made from: a report that is made anew from the same measurements has the same verdicts
        made_from = [entry.chain for entry in report.registry if entry.event != "reported"]
        wanted: list[tuple[Act, dict[str, Any]]] = []
        for verdict in report.verdicts:
            details = {
                "job": self._job_id,
                "id": verdict.claim_id,
                "outcome": verdict.outcome,
                "effect": verdict.effect,
                "p_value": verdict.p_value,
                "q_value": verdict.q_value,
                "report": report.report_id,
                "sha256": made_from[-1] if made_from else FIRST_PREVIOUS,
            }
            wanted.append((_VERDICT, details))
        self._add(wanted)

    def _add(self, wanted: Sequence[tuple[Act, dict[str, Any]]]) -> None:
        if not wanted:
            return

        def work(connection: Connection) -> None:
            lock_end(connection)  # before looking, so that two workers with one case cannot both find a line missing
            known = self._known(connection, {act for act, _ in wanted})
            entries = [
                Entry(act, self._case_id, details, self._actor)
                for act, details in wanted
                if (act, details["id"], details["sha256"]) not in known
            ]
            append_many(connection, entries)

        self._store.write(work)

    def _known(self, connection: Connection, acts: set[Act]) -> set[tuple[str, Any, Any]]:
        """Acts, ids and hashes that the log has for this case."""
        query = sa.select(audit_entries.c.act, audit_entries.c.details).where(
            audit_entries.c.subject == self._case_id, audit_entries.c.act.in_(sorted(acts))
        )
        known: set[tuple[str, Any, Any]] = set()
        for act, details in connection.execute(query):
            try:
                found = json.loads(details)
                known.add((str(act), found["id"], found["sha256"]))
            except (ValueError, TypeError, KeyError):
                continue  # a damaged entry vouches for nothing; `audit verify` tells of it
        return known

    def _line_details(self, line: LogLine) -> dict[str, Any]:
        entry = line.entry
        details: dict[str, Any] = {
            "job": self._job_id,
            "id": entry.subject,
            "sha256": entry.sha256,
            "registry": entry.sequence,
            "chain": entry.chain,
        }
        if line.claim is not None:
            details |= {"kind": line.claim.kind, "statement": line.claim.statement}
        return details
