"""Lists of reports: searched, filtered, sorted and counted by the database, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from tracescribe.runs.review.indexing import REPORT_FILE
from tracescribe.runs.store.tables import artefact_uses, cases, jobs, reports

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from tracescribe.runs.store.database import Store

Verdict = Literal["supported", "refuted", "inconclusive", "untested"]
ReviewedStatus = Literal["unreviewed", "open", "accepted", "rejected"]
Sort = Literal["newest", "score", "prompt", "refuted", "probability"]
VERDICTS: tuple[Verdict, ...] = ("supported", "refuted", "inconclusive", "untested")
MAX_PER_PAGE = 100
MAX_WORDS = 12
"""Words of a search that count; more than anybody types."""
_MOST_VALUES = 50
"""Values of a facet that are told, the most frequent first."""
_SORTS: dict[Sort, tuple[str, bool]] = {
    "newest": ("finished_at", True),
    "score": ("score", True),
    "prompt": ("prompt", False),
    "refuted": ("refuted", True),
    "probability": ("probability", True),
}
"""The column of each order, and whether its largest value comes first."""


@dataclass(frozen=True)
class ReportQuery:
    """Which reports, and in which order.

    Attributes:
        q: words that prompt, answer or labels hold, all of them, in whatever case.
        verdict: reports with at least one claim of this outcome.
        score_min, score_max: of the headline score; a report without one is in no range.
        status: of the last review.
        prompt_sha256: reports on one prompt.
        reverse: the other way round; reports without a value stay last.
        page: from 1.
    """

    q: str = ""
    model: str | None = None
    agent: str | None = None
    verdict: Verdict | None = None
    score_min: float | None = None
    score_max: float | None = None
    status: ReviewedStatus | None = None
    job: str | None = None
    prompt_sha256: str | None = None
    sort: Sort = "newest"
    reverse: bool = False
    page: int = 1
    per_page: int = 25


class ReportFacts(BaseModel):
    """What every list tells of a report; see the table `reports`.

    Attributes:
        case_id: its id in the store.
        job_name: of the job that made it.
        probability: that the model gives the answer.
        tested: whether claims were tested with the model's weights.
        score: the headline score `score_name` against gold; None where there is none.
        failure: why its case counts as failed although it has a report (it could not be scored); None for others.
        review_status: of the last review act.
        kept: whether the report itself is still there; retention deletes it, and leaves the row.
    """

    model_config = ConfigDict(frozen=True)

    case_id: str
    job_id: str
    job_name: str
    prompt: str
    prompt_sha256: str
    answer: str | None
    probability: float | None
    model: str
    agent: str
    tested: bool
    supported: int
    refuted: int
    inconclusive: int
    untested: int
    cut_short: str | None
    score: float | None
    score_name: str | None
    failure: str | None
    review_status: str
    kept: bool


class ReportRow(ReportFacts):
    """A report as the store lists it.

    Attributes:
        finished_at: seconds since 1970.
    """

    report_id: str
    report_sha256: str
    finished_at: float


@dataclass(frozen=True)
class ReportPage:
    """One page of a list.

    Attributes:
        total: reports on all pages.
        page: the one that is shown; the last where a later one was asked for.
        facets: for `model`, `agent`, `status`, `verdict` and `job`: the values that could be chosen beside the other
            filters, with the number of reports each would give, most frequent first.
    """

    reports: tuple[ReportRow, ...]
    total: int
    page: int
    per_page: int
    facets: Mapping[str, tuple[tuple[str, int], ...]]

    @property
    def pages(self) -> int:
        """Number of pages; at least 1."""
        return max(1, -(-self.total // self.per_page))


def find_reports(store: Store, query: ReportQuery) -> ReportPage:
    """The reports that a query names, one page of them.

    Raises:
        StoreError: the store cannot be read.
    """
    return store.read(lambda connection: _page(connection, query))


def report_row(store: Store, case_id: str) -> ReportRow | None:
    """One report as lists have it; None where it is not listed.

    Raises:
        StoreError: the store cannot be read.
    """
    found = store.read(lambda connection: _rows(connection, [case_id]))
    return found[0] if found else None


# -- inside -----------------------------------------------------------------------------------------------------------


def _page(connection: Connection, query: ReportQuery) -> ReportPage:
    per_page = min(max(1, query.per_page), MAX_PER_PAGE)
    total, facets = _counts(connection, query)
    page = min(max(1, query.page), max(1, -(-total // per_page)))
    chosen = sa.and_(sa.true(), *_searched(connection, query), *_chosen(reports.c, query).values())
    ids = sa.select(reports.c.case_id).where(chosen).order_by(*_order(query))
    found = list(connection.scalars(ids.limit(per_page).offset((page - 1) * per_page)))
    return ReportPage(tuple(_rows(connection, found)), total, page, per_page, facets)


def _searched(connection: Connection, query: ReportQuery) -> list[ColumnElement[bool]]:
    """What holds of the reports among which values are chosen."""
    # a plain search for characters: it knows no wildcards that would have to be escaped
    place = sa.func.strpos if connection.dialect.name == "postgresql" else sa.func.instr
    words = query.q.replace("\0", " ").lower().split()[:MAX_WORDS]
    terms: list[ColumnElement[bool]] = [place(reports.c.search, word) > 0 for word in dict.fromkeys(words)]
    if query.prompt_sha256 is not None:
        terms.append(reports.c.prompt_sha256 == query.prompt_sha256.replace("\0", "\ufffd"))
    return terms


def _chosen(row: Any, query: ReportQuery) -> dict[str, ColumnElement[bool]]:
    """What was chosen of each facet, by its name, as terms of some columns."""
    terms: dict[str, ColumnElement[bool]] = {}
    for name, column, value in (
        ("model", row.model, query.model),
        ("agent", row.agent, query.agent),
        ("status", row.review_status, query.status),
        ("job", row.job_id, query.job),
    ):
        if value is not None:
            terms[name] = column == value.replace("\0", "\ufffd")
    if query.verdict is not None:
        terms["verdict"] = row[query.verdict] > 0
    if query.score_min is not None:
        terms["score_min"] = row.score >= query.score_min
    if query.score_max is not None:
        terms["score_max"] = row.score <= query.score_max
    return terms


def _order(query: ReportQuery) -> list[ColumnElement[Any]]:
    name, largest_first = _SORTS[query.sort]
    column = reports.c[name]
    order: list[ColumnElement[Any]] = [column.is_(None)] if column.nullable else []
    order.append(column.desc() if largest_first != query.reverse else column.asc())
    if name != "finished_at":
        order.append(reports.c.finished_at.desc())
    return [*order, reports.c.case_id]


def _rows(connection: Connection, case_ids: list[str]) -> list[ReportRow]:
    """Rows in the order of their ids."""
    if not case_ids:
        return []
    told = [reports.c[name] for name in ReportRow.model_fields if name in reports.c]
    there = (artefact_uses.c.case_id == reports.c.case_id) & (artefact_uses.c.name == REPORT_FILE)
    failure = sa.case((cases.c.status == "failed", sa.func.coalesce(cases.c.failure_message, "")))
    query = (
        sa.select(
            *told, jobs.c.name.label("job_name"), failure.label("failure"), sa.exists().where(there).label("kept")
        )
        .join(jobs, jobs.c.job_id == reports.c.job_id)
        .join(cases, cases.c.case_id == reports.c.case_id)
        .where(reports.c.case_id.in_(case_ids))
    )
    found = {row["case_id"]: ReportRow(**row) for row in connection.execute(query).mappings()}
    return [found[case_id] for case_id in case_ids if case_id in found]


def _counts(connection: Connection, query: ReportQuery) -> tuple[int, dict[str, tuple[tuple[str, int], ...]]]:
    """The number of reports, and the facets; the long texts are searched once for all of them."""
    told = ("model", "agent", "review_status", "job_id", "score", *VERDICTS)
    searched = sa.select(*(reports.c[name] for name in told)).where(sa.true(), *_searched(connection, query))
    found_rows = searched.cte("searched")
    row = found_rows.c
    terms = _chosen(row, query)
    total = _counting(found_rows, "total", sa.literal(""), sa.and_(sa.true(), *terms.values()))
    counts = [total]
    for name, column in (
        ("model", row.model),
        ("agent", row.agent),
        ("status", row.review_status),
        ("job", row.job_id),
    ):
        counts.append(_counting(found_rows, name, column, _others(terms, name)).group_by(column))
    for verdict in VERDICTS:
        counts.append(
            _counting(found_rows, "verdict", sa.literal(verdict), sa.and_(row[verdict] > 0, _others(terms, "verdict")))
        )
    found: dict[str, list[tuple[str, int]]] = {}
    counted: Any
    for counted in connection.execute(sa.union_all(*counts)):
        found.setdefault(str(counted[0]), []).append((str(counted[1]), int(counted[2])))
    total_number = found.pop("total")[0][1]
    facets = {"verdict": tuple(sorted(found.pop("verdict"), key=lambda one: VERDICTS.index(one[0])))}
    for name in ("model", "agent", "status", "job"):
        ordered = sorted(found.get(name, ()), key=lambda one: (-one[1], one[0]))
        facets[name] = tuple(ordered[:_MOST_VALUES])
    return total_number, facets


def _counting(source: sa.CTE, name: str, value: ColumnElement[Any], term: ColumnElement[bool]) -> Any:
    """Rows of a facet's name, a value, and how many reports have it."""
    told = (sa.literal(name).label("name"), value.label("value"), sa.func.count().label("number"))
    return sa.select(*told).select_from(source).where(term)


def _others(terms: Mapping[str, ColumnElement[bool]], name: str) -> ColumnElement[bool]:
    """All filters but one: what choosing another value of it would be held against."""
    return sa.and_(sa.true(), *(term for other, term in terms.items() if other != name))
