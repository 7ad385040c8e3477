"""The index of reports: one row for each finished case that has a report, with what lists are searched and sorted by.

A row is written in the transaction that finishes the case. Cases that were finished before there was an index are caught up
with, a report at a time: who stops in between goes on there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tracescribe.runs.review.texts import storable
from tracescribe.runs.store.errors import ArtefactDamagedError, ArtefactMissingError
from tracescribe.runs.store.statements import insert_if_absent, insert_or_update
from tracescribe.runs.store.tables import artefact_uses, cases, reports, reviews
from tracescribe.tracer.errors import ReportError
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.store.database import Store

REPORT_FILE = "report.json"
HEADLINE_SCORES = (
    "grouping.supernode_f1",
    "grouping.b3_f1",
    "grouping.ari",
    "selection.f1",
    "selection.auc",
    "labels.any",
    "causal.precision",
    "circuit.cpr",
)
"""The score of a report in lists is the first of these that it has."""
UNREVIEWED = "unreviewed"
MAX_SEARCHED = 8_000
"""Characters of a report that are searched: its prompt, its answer and as many labels as fit."""
_PAGE = 100
_log = logging.getLogger(__name__)


@dataclass
class CaughtUp:
    """What `catch_up` did.

    Attributes:
        listed: reports that are in the index now.
        damaged: why others are not, by case.
    """

    listed: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


def listing_of(report: CircuitReport, report_sha256: str, scores: Mapping[str, float | None]) -> dict[str, Any]:
    """What the index tells of a report, by column.

    Args:
        report_sha256: of the artefact.
        scores: of the case, by metric name; empty without gold.
    """
    counts = report.verdict_counts()
    answer = report.targets[0] if report.targets else None
    prompt = storable(report.prompt)
    texts = [prompt, answer.token if answer else "", *(one.label for one in report.supernodes)]
    texts += [label.text for label in report.labels]
    return {
        "report_id": storable(report.report_id, 80),
        "report_sha256": report_sha256,
        "prompt": prompt,
        "prompt_sha256": sha256_json(prompt),
        "answer": None if answer is None else storable(answer.token, 400),
        "probability": None if answer is None else answer.probability,
        "model": storable(report.provenance.model or "not told", 400),
        "agent": storable(report.provenance.agent, 200),
        "tested": int(report.tested),
        "supported": counts["supported"],
        "refuted": counts["refuted"],
        "inconclusive": counts["inconclusive"],
        "untested": counts["untested"],
        "cut_short": None if report.cut_short is None else storable(report.cut_short, 80),
        **headline_of(scores),
        "search": storable("\n".join(dict.fromkeys(texts)).lower(), MAX_SEARCHED),
    }


def headline_of(scores: Mapping[str, float | None]) -> dict[str, Any]:
    """The score that lists show, by column."""
    headline = next((name for name in HEADLINE_SCORES if scores.get(name) is not None), None)
    return {"score": None if headline is None else scores[headline], "score_name": headline}


def enter(connection: Connection, job_id: str, case_id: str, listing: Mapping[str, Any], finished_at: float) -> None:
    """Write a report's row, within the transaction that finishes its case."""
    row = {**listing, "case_id": case_id, "job_id": job_id, "finished_at": finished_at, "review_status": UNREVIEWED}
    # a case that is tried again replaces what its last report said
    insert_or_update(connection, reports, [row], [name for name in row if name != "case_id"])


def catch_up(store: Store, on_progress: Callable[[int], None] | None = None) -> CaughtUp:
    """List the reports of finished cases that are not in the index yet; safe while jobs run, and while others do the same.

    Reports that cannot be read are told in the log and left out.

    Args:
        on_progress: told the number of cases looked at so far.

    Raises:
        StoreError: the store cannot be used.
    """
    done, seen, last = CaughtUp(), 0, ""
    while rows := store.read(lambda connection, last=last: _unlisted(connection, last)):  # type: ignore[misc]
        for case_id, job_id, finished_at, figures, sha256 in rows:
            last, seen = case_id, seen + 1
            try:
                listing = _listing_of_stored(store, sha256, figures)
            except (ReportError, ArtefactDamagedError, ArtefactMissingError) as error:
                done.damaged[case_id] = str(error)
                _log.warning("case %s is not listed: %s", case_id, error)
                continue
            done.listed += store.write(
                lambda connection, listing=listing, case_id=case_id, job_id=job_id, at=finished_at: _enter_late(  # type: ignore[misc]
                    connection, job_id, case_id, listing, at
                )
            )
            if on_progress is not None:
                on_progress(seen)
    return done


# -- inside -----------------------------------------------------------------------------------------------------------


def _unlisted(connection: Connection, after: str) -> list[Any]:
    query = (
        sa.select(cases.c.case_id, cases.c.job_id, cases.c.finished_at, cases.c.figures, artefact_uses.c.sha256)
        .join(artefact_uses, (artefact_uses.c.case_id == cases.c.case_id) & (artefact_uses.c.name == REPORT_FILE))
        .where(
            cases.c.status.in_(("done", "failed")),  # one that could not be scored has a report all the same
            cases.c.case_id > after,
            ~sa.exists().where(reports.c.case_id == cases.c.case_id).correlate(cases),
        )
        .order_by(cases.c.case_id)
        .limit(_PAGE)
    )
    return list(connection.execute(query).all())


def _listing_of_stored(store: Store, sha256: str, figures: str | None) -> dict[str, Any]:
    from tracescribe.runs.review.stored import parse_stored

    try:
        scores = (json.loads(figures) if figures else {}).get("scores") or {}
    except ValueError:
        scores = {}  # the report is there all the same
    return listing_of(parse_stored(store, sha256), sha256, scores)


def _enter_late(
    connection: Connection, job_id: str, case_id: str, listing: Mapping[str, Any], finished_at: float | None
) -> int:
    last = (
        sa.select(reviews.c.status)
        .where(reviews.c.case_id == case_id)
        .order_by(reviews.c.changed_at.desc(), reviews.c.review_id)
        .limit(1)
    )
    status = connection.execute(last).scalar() or UNREVIEWED
    row = {**listing, "case_id": case_id, "job_id": job_id, "finished_at": finished_at or 0.0, "review_status": status}
    return insert_if_absent(connection, reports, [row])
