"""What `tracescribe review` does with a store: brings reports in, lists them with their reviews, writes exports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.review.listing import ReportPage, ReportQuery, ReportRow, find_reports, report_row
from tracescribe.runs.review.loading import ReviewSummary, list_reviews, list_reviews_of
from tracescribe.tracer.errors import SettingError, UnknownIdError

if TYPE_CHECKING:
    from tracescribe.runs.review.exporting import Form
    from tracescribe.runs.review.states import ReviewState
    from tracescribe.runs.store.database import Store

LAST = "last"
_SHORTEST_BEGINNING = 3


@dataclass(frozen=True)
class ReviewedReport:
    """A report with its reviews, the one that was begun first first."""

    report: ReportRow
    reviews: tuple[ReviewSummary, ...]


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        review: whose review it shows; None for what is no review's.
    """

    path: Path
    size: int
    case_id: str
    review: ReviewSummary | None


def add_in(place: str | None, folders: Sequence[Path]) -> list[ReviewedReport]:
    """Bring report folders in; the store is made where there is none.

    Raises:
        BroughtInError: a folder that cannot be brought in; those before it are in the store.
        StoreError, StoreAddressError: the store cannot be used.
    """
    from tracescribe.runs.review.bringing_in import bring_in_folder

    with _opened(place, create=True) as store:
        return [_reviewed(store, bring_in_folder(store, folder)) for folder in folders]


def list_in(place: str | None, query: ReportQuery) -> tuple[ReportPage, list[ReviewedReport]]:
    """One page of the reports of a store, those of earlier jobs among them.

    Raises:
        StoreError, StoreAddressError: the store cannot be used.
    """
    from tracescribe.runs.review.indexing import catch_up

    with _opened(place) as store:
        catch_up(store)
        page = find_reports(store, query)
        found = list_reviews_of(store, [row.case_id for row in page.reports])
        return page, [ReviewedReport(row, found[row.case_id]) for row in page.reports]


def show_in(place: str | None, case: str, reviewer: str | None = None) -> tuple[ReviewedReport, list[ReviewState]]:
    """A report, and what its reviews come to; or the one by a reviewer.

    Raises:
        UnknownIdError: no such report or review.
        StoreError, StoreAddressError: the store cannot be used.
    """
    from tracescribe.runs.access.reading import open_report
    from tracescribe.runs.review.loading import load_review

    with _opened(place) as store:
        row = _find(store, case)
        found = list_reviews(store, row.case_id)
        chosen = found if reviewer is None else (_choose(found, reviewer, "html"),)
        open_report(store, None, row.case_id)  # who looks at a review looks at its report
        return ReviewedReport(row, found), [load_review(store, row.case_id, one.review_id, "") for one in chosen]


def export_in(
    place: str | None, case: str, form: Form, out: Path, *, reviewer: str | None = None, licence: str | None = None
) -> Exported:
    """Write what a report and a review of it give; that it left the store is in the audit log first.

    Args:
        case: id of the report's case, a beginning that no other has, or `last`.
        reviewer: whose review; None where there is one alone, or one alone that was accepted.
        licence: of gold.

    Raises:
        UnknownIdError: no such report or review.
        SettingError: several reviews, and nobody said which.
        ReviewUnfinishedError: gold of a review that was not accepted.
        OutputError: the file cannot be written.
        StoreError, StoreAddressError: the store cannot be used.
    """
    from tracescribe.runs.access.reading import log_export
    from tracescribe.runs.review.exporting import LICENCE_NOT_TOLD, exported
    from tracescribe.tracer.provenance import write_bytes_atomic

    with _opened(place) as store:
        row = _find(store, case)
        review = None if form in ("report", "graph") else _choose(list_reviews(store, row.case_id), reviewer, form)
        whose = (None, "") if review is None else (review.review_id, review.reviewer)
        content = exported(store, row.case_id, form, *whose, licence=licence or LICENCE_NOT_TOLD)
        log_export(store, None, row.job_id, [row.case_id], form=form, to=str(out))
        write_bytes_atomic(out, content)
        return Exported(out, len(content), row.case_id, review)


# -- inside -----------------------------------------------------------------------------------------------------------


def _choose(reviews: Sequence[ReviewSummary], reviewer: str | None, form: Form) -> ReviewSummary:
    if reviewer is not None:
        found = next((one for one in reviews if reviewer in (one.reviewer, one.review_id, _bare(one))), None)
        if found is None:
            raise UnknownIdError(f"there is no review by {reviewer[:80]!r}; there is one by {_names(reviews)}")
        return found
    accepted = [one for one in reviews if one.status == "accepted"]
    if len(reviews) == 1 or (form == "gold" and len(accepted) == 1):
        return (accepted or reviews)[0]
    if not reviews:
        raise UnknownIdError("nobody has reviewed this report yet; open it with 'tracescribe serve'")
    raise SettingError(f"{len(reviews)} people reviewed this report; name one with --reviewer: {_names(reviews)}")


def _bare(review: ReviewSummary) -> str:
    """A reviewer's name as people know it, without where they came in by."""
    return review.reviewer.partition(":")[2]


def _names(reviews: Sequence[ReviewSummary]) -> str:
    return ", ".join(f"{one.reviewer} ({one.status})" for one in reviews) or "nobody"


def _find(store: Store, name: str) -> ReportRow:
    if name == LAST:
        newest = find_reports(store, ReportQuery(per_page=1)).reports
        if not newest:
            raise UnknownIdError("the store lists no report yet; bring one in with 'tracescribe review add FOLDER'")
        return newest[0]
    exact = report_row(store, name)
    if exact is not None:
        return exact
    found = _beginning(store, name) if len(name) >= _SHORTEST_BEGINNING else []
    row = report_row(store, found[0]) if len(found) == 1 else None
    if row is not None:
        return row
    told = (
        f"several reports begin with {name[:80]!r}: {', '.join(found)}"
        if found
        else f"there is no report {name[:80]!r}"
    )
    raise UnknownIdError(f"{told}; 'tracescribe review list' shows what there is")


def _beginning(store: Store, name: str) -> list[str]:
    import sqlalchemy as sa

    from tracescribe.runs.store.tables import reports

    query = sa.select(reports.c.case_id).where(reports.c.case_id.startswith(name, autoescape=True))
    return [str(found) for found in store.read(lambda connection: connection.scalars(query.limit(4)).all())]


def _reviewed(store: Store, case_id: str) -> ReviewedReport:
    row = report_row(store, case_id)
    if row is None:  # a case of an earlier job, that was not listed until now
        from tracescribe.runs.review.indexing import catch_up

        catch_up(store)
        row = report_row(store, case_id)
    if row is None:
        raise UnknownIdError(f"case {case_id} is not listed; see the warnings above")
    return ReviewedReport(row, list_reviews(store, case_id))


@contextmanager
def _opened(place: str | None, *, create: bool = False) -> Iterator[Store]:
    from tracescribe.runs.store.database import open_store, parse_address

    opened = open_store(parse_address(place), create=create)
    try:
        yield opened
    finally:
        opened.close()
