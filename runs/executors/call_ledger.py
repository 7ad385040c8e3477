"""What stands in the store's call log of a case or a job: events, figures, and the file form that `agents.calls` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from tracescribe.agents.calls.call_events import CallEvent
from tracescribe.agents.calls.ledger import LedgerSummary, summary_of
from tracescribe.runs.store.errors import StoreDamagedError
from tracescribe.runs.store.tables import call_events, calls

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from tracescribe.runs.store.database import Store

_event: TypeAdapter[CallEvent] = TypeAdapter(CallEvent)


def case_ledger(store: Store, case_id: str) -> LedgerSummary:
    """The calls of one case in figures, those of all its attempts.

    Raises:
        StoreError: the store cannot be used.
    """
    return summary_of(case_events(store, case_id))


def job_ledger(store: Store, job_id: str) -> LedgerSummary:
    """The calls of a job in figures. A request that several cases of it use counts once.

    Raises:
        StoreError: the store cannot be used.
    """
    return summary_of(store.read(lambda connection: list(_events(connection, call_events.c.job_id == job_id))))


def case_events(store: Store, case_id: str) -> list[CallEvent]:
    """Every event of a case, in order.

    Raises:
        StoreError: the store cannot be used.
    """
    return store.read(lambda connection: list(_events(connection, call_events.c.case_id == case_id)))


def case_call_log(store: Store, case_id: str) -> bytes:
    """A case's calls as a file of JSON lines, as `FileCallLog` writes and reads it; empty where nothing was asked.

    `tracescribe interpret` with this file as `llm_calls.jsonl` asks none of the recorded requests again.

    Raises:
        StoreError: the store cannot be used.
    """
    lines = [
        json.dumps(event.model_dump(mode="json"), ensure_ascii=True, allow_nan=False) + "\n"
        for event in case_events(store, case_id)
    ]
    return "".join(lines).encode()


def provider_is_down(connection: Connection, job_id: str, case_id: str, *, cases: int, look_back: int = 1000) -> bool:
    """Whether the last so many cases of a job, this one among them, all ended at a provider that failed.

    Nothing but the order of the job's events decides that: no answer has come since the first of these failures.

    Args:
        case_id: the case that has just failed.
        look_back: events that are looked at.
    """
    query = sa.select(call_events.c.event, call_events.c.case_id).where(call_events.c.job_id == job_id)
    failed = {case_id}
    for event, of_case in connection.execute(query.order_by(call_events.c.event_id.desc()).limit(look_back)):
        if event == "answer":
            break
        if event == "failure":
            failed.add(of_case)
    return len(failed) >= cases


def _events(connection: Connection, which: ColumnElement[bool]) -> Iterator[CallEvent]:
    query = (
        sa.select(
            call_events.c.event_id, call_events.c.event, call_events.c.content, call_events.c.at, calls.c.completion
        )
        .select_from(call_events.outerjoin(calls, calls.c.request_sha256 == call_events.c.request_sha256))
        .where(which)
        .order_by(call_events.c.event_id)
    )
    for row in connection.execute(query):
        try:
            yield _event.validate_python(_content(row))
        except (ValidationError, ValueError, LookupError, TypeError) as error:
            raise StoreDamagedError(
                f"entry {row.event_id} of the call ledger cannot be read; look with: tracescribe store check"
            ) from error


def _content(row: Any) -> dict[str, Any]:
    """An event as it was, the answer's text taken from where it stands once for all."""
    content: dict[str, Any] = json.loads(row.content)
    if row.event == "answer" and "text" not in content["completion"]:
        content["completion"]["text"] = json.loads(row.completion)["text"]
    if row.event == "reuse":
        content["completion"] = json.loads(row.completion)
    return content
