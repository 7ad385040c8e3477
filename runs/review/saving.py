"""Reviews in the store. An act is saved by one who has seen all acts before it, or not at all.

The act, the review's version, what lists say of the report and the entry of the audit log are one transaction: a process
that dies while it saves leaves all of it or nothing. Two acts can never have one version (it is a primary key), and one
reviewer has one review of a report (a unique index), whoever else continues it.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import ValidationError

from tracescribe.runs.review.acts import MAX_ACTS, MAX_LABEL, MAX_TEXT, Act, Close, Comment, act_adapter
from tracescribe.runs.review.errors import ActRefusedError, ReviewConflictError
from tracescribe.runs.review.folding import Course
from tracescribe.runs.review.loading import (
    ReviewSummary,
    course_of_review,
    find_review,
    keep_course,
    load_review,
    state_of,
)
from tracescribe.runs.review.states import DoneAct, ReviewState
from tracescribe.runs.review.stored import StoredReport, nodes_of_case, report_of_case
from tracescribe.runs.review.texts import is_seen, storable
from tracescribe.runs.store.errors import StoreDamagedError
from tracescribe.runs.store.statements import insert_if_absent
from tracescribe.runs.store.tables import cases, jobs, reports, review_acts, reviews
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.access.roles import Principal
    from tracescribe.runs.store.database import Store
    from tracescribe.tracer.redaction import Redactor

MAX_WHY = 2000
"""Characters of a reason."""
_TOLD: tuple[str, ...] = (
    "target",
    "supernode",
    "into",
    "to",
    "layer",
    "feature",
    "source",
    "destination",
    "sign",
    "role",
)
_TOLD += ("decision", "undecided", "status")
_TOLD_IDS = 20
"""Ids of nodes that an entry of the audit log names; the review has them all."""


def save_act(
    store: Store,
    principal: Principal,
    case_id: str,
    review_id: str | None,
    expected_version: int,
    act: Act,
    why: str = "",
    act_id: str | None = None,
) -> ReviewState:
    """Do one more act of a review.

    Args:
        principal: who acts.
        review_id: of the review; None for the principal's own, which its first act begins.
        expected_version: number of the acts that the principal has seen.
        act: what is done; its words are redacted as the report's job asks.
        why: in the principal's words; may be empty.
        act_id: by which the principal knows this act: where it is saved already, because an answer was lost on its way,
            it is not saved again. None where they do not ask twice.

    Returns:
        The review with the act.

    Raises:
        AccessDeniedError: the role does not allow reviewing; this is logged.
        ActRefusedError: the review as it stands does not allow the act; nothing was saved.
        ReviewConflictError: the review has other acts than the principal has seen; nothing was saved.
        UnknownIdError: the case has no report, or no such review.
        StoreError: the store cannot be used; nothing was saved, or (where the connection was lost) all of it.
    """
    from tracescribe.runs.access.reading import require_logged
    from tracescribe.runs.audit.log import clean_name, moment

    require_logged(store, principal, "review", case_id)
    reviewer = clean_name(principal.name)
    stored = report_of_case(store, case_id)
    summary = find_review(store, case_id, review_id, reviewer)
    course = course_of_review(store, stored, summary)
    if _is_saved(store, summary, act_id, reviewer):  # perhaps since the course was read
        return load_review(store, case_id, review_id, reviewer)
    if course.version != expected_version:
        raise _conflict(course, stored, summary, reviewer, expected_version)
    if course.version >= MAX_ACTS and not isinstance(act, Close):
        raise ActRefusedError(f"the review has {MAX_ACTS} acts, and no more are kept; close it")
    act, why = _storable(store, case_id, act, why)
    done = DoneAct(
        version=course.version + 1, at=moment(), actor=reviewer, act=act, why=why, undone=False, act_id=act_id
    )
    course.go_on(done, nodes_of_case(store, stored))
    target = summary or ReviewSummary(
        f"r{uuid.uuid4().hex[:20]}", case_id, stored.sha256, reviewer, 0, "open", time.time(), time.time()
    )
    details = _details(target, reviewer, done)
    row = {
        "review_id": target.review_id,
        "version": done.version,
        "at": done.at,
        "actor": reviewer,
        "act": act.model_dump_json(),
        "why": why,
        "act_id": act_id,
    }
    begins = summary is None

    def work(connection: Connection) -> bool:
        return _enter(connection, target, begins, row, course.status, details)

    if not store.write(work, durable=True):  # what a person did is not done again by a machine
        summary = find_review(store, case_id, review_id, reviewer)
        course = course_of_review(store, stored, summary)
        if _is_saved(store, summary, act_id, reviewer):  # the same was sent twice at once
            return load_review(store, case_id, review_id, reviewer)
        raise _conflict(course, stored, summary, reviewer, expected_version)
    keep_course(store, stored, target.review_id, course)
    return state_of(course, stored, target, reviewer)


# -- inside -----------------------------------------------------------------------------------------------------------


def _enter(
    connection: Connection,
    target: ReviewSummary,
    begins: bool,
    row: dict[str, Any],
    status: str,
    details: dict[str, Any],
) -> bool:
    """Store an act; False when another was stored in its place. Bears being run twice."""
    from tracescribe.runs.audit.log import append

    now = time.time()
    if begins:
        first = {
            "review_id": target.review_id,
            "case_id": target.case_id,
            "report_sha256": target.report_sha256,
            "reviewer": target.reviewer,
            "version": 0,
            "status": "open",
            "created_at": now,
            "changed_at": now,
        }
        # where the same reviewer began one just now, in another window, this inserts nothing
        insert_if_absent(connection, reviews, [first])
    locked = sa.select(reviews.c.version).where(reviews.c.review_id == target.review_id).with_for_update()
    version = connection.execute(locked).scalar()
    if version is None:
        return False
    if version >= row["version"]:
        return _is_stored(connection, row)  # the commit of this transaction may have been of unknown outcome
    if version != row["version"] - 1:
        return False
    connection.execute(sa.insert(review_acts), row)
    changing = sa.update(reviews).where(reviews.c.review_id == target.review_id)
    connection.execute(changing.values(version=row["version"], status=status, changed_at=now))
    connection.execute(sa.update(reports).where(reports.c.case_id == target.case_id).values(review_status=status))
    append(connection, act="human review", subject=target.case_id, details=details, actor=row["actor"])
    return True


def _is_stored(connection: Connection, row: dict[str, Any]) -> bool:
    query = sa.select(review_acts).where(
        review_acts.c.review_id == row["review_id"], review_acts.c.version == row["version"]
    )
    found = connection.execute(query).mappings().first()
    return found is not None and dict(found) == row


def _is_saved(store: Store, summary: ReviewSummary | None, act_id: str | None, actor: str) -> bool:
    """Whether the review has the act already; asked after its course was read, so that none can be missed."""
    if summary is None or act_id is None:
        return False
    query = sa.select(review_acts.c.actor).where(
        review_acts.c.review_id == summary.review_id, review_acts.c.act_id == act_id
    )
    found = store.read(lambda connection: connection.execute(query).scalar())
    if found is not None and found != actor:
        raise ActRefusedError("another person's act has this act_id; give each act an id of its own")
    return found is not None


def _conflict(
    course: Course, stored: StoredReport, summary: ReviewSummary | None, reviewer: str, expected: int
) -> ReviewConflictError:
    since = course.since(expected)
    others = ", ".join(dict.fromkeys(done.actor for done in since)) or "somebody"
    told = (
        f"{others} did {len(since)} {'act' if len(since) == 1 else 'acts'} since you looked"
        if since
        else f"you were at act {expected}, and the review has only {course.version}"
    )
    return ReviewConflictError(
        f"{told}; nothing of yours was saved: look at the review as it is now, and do it again if it still holds",
        state_of(course, stored, summary, reviewer),
        since,
    )


def _storable(store: Store, case_id: str, act: Act, why: str) -> tuple[Act, str]:
    """An act and its reason as they may be written: redacted, and of characters that both databases hold."""
    redactor = _redactor(store, case_id)

    def clean(text: str) -> str:
        return storable(redactor.text(text))

    most = MAX_TEXT if isinstance(act, Comment) else MAX_LABEL
    words = {
        name: clean(value)[:most].strip()  # what is redacted may have become longer
        for name in ("text", "label")
        if isinstance(value := getattr(act, name, None), str)
    }
    if any(text and not is_seen(text) for text in words.values()):
        raise ActRefusedError(f"{act.kind}: its words are of characters that nobody sees; use other words")
    try:  # as it will be read: an act that cannot be read back would cost the whole review
        cleaned = act_adapter.validate_json(act.model_copy(update=words).model_dump_json())
    except ValidationError as error:
        raise ActRefusedError(
            f"{act.kind}: nothing is left of its words once characters that cannot be stored and secrets are taken out; "
            "use other words"
        ) from error
    return cleaned, clean(why.strip())[:MAX_WHY]


def _redactor(store: Store, case_id: str) -> Redactor:
    """What the report's job asks for."""
    from tracescribe.runs.job_results.origin import redactor_of_job

    query = sa.select(jobs.c.specification).join(cases, cases.c.job_id == jobs.c.job_id)
    found = store.read(lambda connection: connection.execute(query.where(cases.c.case_id == case_id)).scalar())
    try:
        return redactor_of_job(json.loads(found) if found else {})
    except ValueError as error:
        raise StoreDamagedError(f"the job of case {case_id} has no specification that can be read ({error})") from error


def _details(review: ReviewSummary, actor: str, done: DoneAct) -> dict[str, Any]:
    """What the audit log tells: what was done to what and why, and a hash of the act, whose words the review keeps."""
    told: dict[str, Any] = {
        "review": review.review_id,
        "version": done.version,
        "kind": done.act.kind,
        "why": done.why,
        "act_sha256": sha256_json(done.act.model_dump(mode="json")),
    }
    told |= {name: value for name in _TOLD if (value := getattr(done.act, name, None)) is not None}
    told |= {
        name: list(value[:_TOLD_IDS]) + ([f"and {len(value) - _TOLD_IDS} more"] if len(value) > _TOLD_IDS else [])
        for name in ("nodes", "supernodes")
        if (value := getattr(done.act, name, None)) is not None
    }
    if review.reviewer != actor:
        told["review_of"] = review.reviewer
    return told
