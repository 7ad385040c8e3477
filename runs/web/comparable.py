"""What there is to compare: prompts with more than one report, and the reports on one prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tracescribe.runs.store.tables import reports
from tracescribe.runs.web.report_list import ListedReport, listed

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

MOST = 100
"""Prompts, or reports on one, that are offered."""


@dataclass(frozen=True)
class SharedPrompt:
    """A prompt with more than one report."""

    prompt: str
    prompt_sha256: str
    count: int


def shared_prompts(store: Store) -> tuple[SharedPrompt, ...]:
    """Those with the newest reports first."""
    number = sa.func.count()
    query = (
        sa.select(sa.func.min(reports.c.prompt), reports.c.prompt_sha256, number)
        .group_by(reports.c.prompt_sha256)
        .having(number > 1)
        .order_by(sa.func.max(reports.c.finished_at).desc(), reports.c.prompt_sha256)
        .limit(MOST)
    )
    rows = store.read(lambda connection: connection.execute(query).all())
    return tuple(SharedPrompt(str(prompt), str(sha256), int(count)) for prompt, sha256, count in rows)


def reports_on(store: Store, prompt_sha256: str) -> tuple[ListedReport, ...]:
    """Reports on one prompt that are still kept, the newest first."""
    from tracescribe.runs.review.listing import ReportQuery, find_reports

    found = find_reports(store, ReportQuery(prompt_sha256=prompt_sha256, per_page=MOST))
    return tuple(listed(row) for row in found.reports if row.kept)


def prompt_of(store: Store, case_id: str) -> str | None:
    """SHA-256 of the prompt of a report; None where no such report is listed."""
    query = sa.select(reports.c.prompt_sha256).where(reports.c.case_id == case_id)
    found = store.read(lambda connection: connection.execute(query).scalar())
    return None if found is None else str(found)
