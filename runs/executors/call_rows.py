"""Rows of the call log in the store, each act within a transaction that bears being run twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from tracescribe.agents.calls.call_events import CallAnswer, CallFailure, CallIntent, CallReuse
from tracescribe.agents.providers.completion import Completion
from tracescribe.runs.executors.leases import is_held
from tracescribe.runs.store.errors import LeaseLostError, StoreDamagedError
from tracescribe.runs.store.statements import insert_if_absent
from tracescribe.runs.store.tables import call_events, calls, cases, jobs
from tracescribe.tracer.errors import HaltError
from tracescribe.tracer.provenance import canonical_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.executors.contract import CaseLease

CallStatus = Literal["in_flight", "answered", "failed"]


class JobLimitError(HaltError):
    """The job's money is used up."""


@dataclass(frozen=True)
class CallRow:
    """How a request stands.

    Attributes:
        worker_id, job_id, case_id: who sent it last.
        sendings: so far.
        is_leased: whether that case is still held by that worker.
        completion: the answer, if there is one.
    """

    status: CallStatus
    worker_id: str | None
    job_id: str | None
    case_id: str | None
    is_leased: bool
    sendings: int
    completion: Completion | None


@dataclass(frozen=True)
class Busy:
    """The request is in flight at another worker."""


def find_call(connection: Connection, key: str, *, lock: bool = False) -> CallRow | None:
    """A request's row, or None.

    Args:
        lock: hold it until the transaction ends.

    Raises:
        StoreDamagedError: an answer that cannot be read.
    """
    query = sa.select(
        calls.c.status, calls.c.worker_id, calls.c.job_id, calls.c.case_id, calls.c.sendings, calls.c.completion
    ).where(calls.c.request_sha256 == key)
    found = connection.execute(query.with_for_update() if lock else query).first()
    if found is None:
        return None
    holder = sa.select(cases.c.worker_id).where(cases.c.case_id == found.case_id, cases.c.status == "running")
    leased = found.status == "in_flight" and connection.execute(holder).scalar() == found.worker_id
    completion = None if found.completion is None else _completion(found.completion, key)
    return CallRow(found.status, found.worker_id, found.job_id, found.case_id, leased, found.sendings, completion)


def take_call(
    connection: Connection, key: str, owner: CaseLease, event: CallIntent, gone: frozenset[str], at: float
) -> CallRow | Busy | None:
    """Claim a request for sending, unless it is answered or in flight.

    Args:
        gone: workers that are known to have ended.
        at: when, which also tells this act from every other of the same worker.

    Returns:
        None when it is claimed; the row of an answered one; `Busy`.

    Raises:
        LeaseLostError: the lease does not stand.
        JobLimitError: the job's money is used up.
    """
    if _is_there(connection, key, "intent", owner, at):
        return None
    fresh = {
        "request_sha256": key,
        "provider": event.provider,
        "base_url": event.base_url,
        "model": event.model,
        "template": event.template,
        "status": "in_flight",
        "worker_id": owner.worker_id,
        "job_id": owner.job_id,
        "case_id": owner.case_id,
        "sendings": 0,
        "resent": 0,
        "changed_at": at,
    }
    insert_if_absent(connection, calls, [fresh])
    row = find_call(connection, key, lock=True)
    assert row is not None, "the row was there or was inserted"
    if row.status == "answered":
        return row
    ours = row.worker_id == owner.worker_id
    if row.status == "in_flight" and not ours and row.is_leased and row.worker_id not in gone:
        return Busy()
    _check_lease(connection, owner)
    _check_limit(connection, owner)
    # a further attempt of the same process knows what became of the one before
    resent = row.sendings > 0 and row.status == "in_flight" and (event.attempt == 1 or not ours)
    connection.execute(
        sa.update(calls)
        .where(calls.c.request_sha256 == key)
        .values(
            status="in_flight",
            worker_id=owner.worker_id,
            job_id=owner.job_id,
            case_id=owner.case_id,
            sendings=calls.c.sendings + 1,
            resent=calls.c.resent + int(resent),
            changed_at=at,
        )
    )
    told = event.model_copy(update={"resent": resent})
    _enter(connection, key, "intent", owner, told.model_dump(mode="json"), at)
    return None


def note_answer(connection: Connection, key: str, owner: CaseLease, event: CallAnswer, at: float) -> None:
    """Record an answer, and charge its case. Where another answer came first, that one stays, and this is on record too."""
    if _is_there(connection, key, "answer", owner, at):
        return
    content = event.model_dump(mode="json")
    first = connection.execute(
        sa.update(calls)
        .where(calls.c.request_sha256 == key, calls.c.status != "answered")
        .values(
            status="answered",
            completion=canonical_json(content["completion"]),
            usd=event.usd,
            worker_id=owner.worker_id,
            job_id=owner.job_id,
            case_id=owner.case_id,
            changed_at=at,
        )
    ).rowcount
    if first:
        del content["completion"]["text"]  # it stands in the row
    usage, usd = event.completion.usage, event.usd or 0.0
    connection.execute(
        sa.update(cases)
        .where(cases.c.case_id == owner.case_id)
        .values(
            paid_usd=cases.c.paid_usd + usd,
            # what this lease may yet spend: paid and reserved together never grow, so the job's limit is exact
            reserved_usd=sa.case((cases.c.reserved_usd > usd, cases.c.reserved_usd - usd), else_=0.0),
            paid_tokens=cases.c.paid_tokens + usage.input_tokens + usage.output_tokens,
            paid_calls=cases.c.paid_calls + 1,
        )
    )
    _enter(connection, key, "answer", owner, content, at)


def note_failure(connection: Connection, key: str, owner: CaseLease, event: CallFailure, at: float) -> None:
    """Record that a request brought no answer."""
    if _is_there(connection, key, "failure", owner, at):
        return
    connection.execute(
        sa.update(calls)
        .where(
            calls.c.request_sha256 == key,
            calls.c.status == "in_flight",
            calls.c.worker_id == owner.worker_id,
        )
        .values(status="failed", changed_at=at)
    )
    _enter(connection, key, "failure", owner, event.model_dump(mode="json"), at)


def note_reuse(connection: Connection, key: str, owner: CaseLease, event: CallReuse, at: float) -> None:
    """Record once for a case that it uses an answer that another case has paid for."""
    noted = sa.select(call_events.c.event_id).where(
        call_events.c.request_sha256 == key,
        call_events.c.event == "reuse",
        call_events.c.case_id == owner.case_id,
    )
    if connection.execute(noted.limit(1)).first() is None:
        _enter(connection, key, "reuse", owner, event.model_dump(mode="json", exclude={"completion"}), at)


# -- inside -----------------------------------------------------------------------------------------------------------


def _is_there(connection: Connection, key: str, event: str, owner: CaseLease, at: float) -> bool:
    """Whether this very act was committed before, and only the word of it was lost."""
    query = sa.select(call_events.c.event_id).where(
        call_events.c.request_sha256 == key,
        call_events.c.event == event,
        call_events.c.worker_id == owner.worker_id,
        call_events.c.at == at,
    )
    return connection.execute(query.limit(1)).first() is not None


def _enter(connection: Connection, key: str, event: str, owner: CaseLease, content: dict[str, Any], at: float) -> None:
    connection.execute(
        call_events.insert().values(
            request_sha256=key,
            event=event,
            job_id=owner.job_id,
            case_id=owner.case_id,
            worker_id=owner.worker_id,
            content=canonical_json(content),
            at=at,
        )
    )


def _check_lease(connection: Connection, owner: CaseLease) -> None:
    if not is_held(connection, owner):
        raise LeaseLostError(
            f"case {owner.case_id} does not belong to this worker any more (attempt {owner.attempt}); nothing is sent"
        )


def _check_limit(connection: Connection, owner: CaseLease) -> None:
    limit = connection.execute(sa.select(jobs.c.usd_limit).where(jobs.c.job_id == owner.job_id)).scalar()
    if limit is None:
        return
    paid = connection.execute(sa.select(sa.func.sum(cases.c.paid_usd)).where(cases.c.job_id == owner.job_id)).scalar()
    if (paid or 0.0) >= limit:
        raise JobLimitError(
            f"the job's {limit:g} USD are used up ({paid:g} USD paid); raise the limit with: "
            f"tracescribe jobs resume {owner.job_id} --max-usd USD"
        )


def _completion(text: str, key: str) -> Completion:
    try:
        return Completion.model_validate_json(text)
    except ValueError as error:
        raise StoreDamagedError(
            f"the recorded answer to request {key[:12]} cannot be read; look with: tracescribe store check"
        ) from error
