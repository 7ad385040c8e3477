"""The list of reports, for programs and for the page: one shape, every figure also in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from tracescribe.agents.rendering import numbers
from tracescribe.runs.review.listing import ReportFacts
from tracescribe.runs.web.moments import moment_words

if TYPE_CHECKING:
    from tracescribe.runs.review.listing import ReportPage, ReportRow

OUTCOMES = ("supported", "refuted", "inconclusive", "untested")


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class ListedReport(ReportFacts):
    """A report in a list; `finished_at` is ISO 8601, UTC."""

    finished_at: str

    @property
    def outcomes(self) -> tuple[tuple[str, int], ...]:
        """How its claims came out."""
        return tuple((name, getattr(self, name)) for name in OUTCOMES)

    @property
    def probability_text(self) -> str:
        """As people read it; empty where nobody knows."""
        return "" if self.probability is None else numbers.percent(self.probability)

    @property
    def score_text(self) -> str:
        """As people read it; empty where there is none."""
        return "" if self.score is None else f"{self.score:.2f}"

    @property
    def when(self) -> str:
        """Day and minute, UTC."""
        return moment_words(self.finished_at)


class Facet(_Told):
    """A value that reports have, and how many."""

    value: str
    count: int


class Facets(_Told):
    """Values to filter by: of the reports that the other filters leave."""

    model: tuple[Facet, ...] = ()
    agent: tuple[Facet, ...] = ()
    verdict: tuple[Facet, ...] = ()
    status: tuple[Facet, ...] = ()
    job: tuple[Facet, ...] = ()


class ListedReports(_Told):
    """A page of the list."""

    reports: tuple[ListedReport, ...]
    total: int
    page: int
    per_page: int
    pages: int
    facets: Facets

    @property
    def first(self) -> int:
        """Number of the page's first report in the list, from 1."""
        return (self.page - 1) * self.per_page + 1

    @property
    def last(self) -> int:
        """Number of its last one."""
        return self.first + len(self.reports) - 1

    @property
    def near(self) -> tuple[int | None, ...]:
        """Page numbers to link to: first, last, those around this one; None for a gap."""
        wanted = sorted({1, self.pages, *range(max(1, self.page - 1), min(self.pages, self.page + 1) + 1)})
        told: list[int | None] = []
        for number in wanted:
            if told and number - (told[-1] or 0) > 1:
                told.append(None)
            told.append(number)
        return tuple(told)


def listed(row: ReportRow) -> ListedReport:
    """A row of the index as it is told."""
    finished = datetime.fromtimestamp(row.finished_at, UTC).isoformat(timespec="seconds")
    return ListedReport(**{name: getattr(row, name) for name in ReportFacts.model_fields}, finished_at=finished)


def listed_page(found: ReportPage) -> ListedReports:
    """A page of the index as it is told."""
    facets = {
        name: tuple(Facet(value=value, count=count) for value, count in found.facets.get(name, ()))
        for name in Facets.model_fields
    }
    return ListedReports(
        reports=tuple(listed(row) for row in found.reports),
        total=found.total,
        page=found.page,
        per_page=found.per_page,
        pages=max(1, -(-found.total // found.per_page)),
        facets=Facets(**facets),
    )
