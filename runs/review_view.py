"""How reports and their reviews are shown on the command line."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracescribe.runs.review.administering import Exported, ReviewedReport
    from tracescribe.runs.review.listing import ReportPage
    from tracescribe.runs.review.states import ReviewState

_PROMPT_WIDTH = 20
_REVIEW_WIDTH = 18


def show_reports(reports: Sequence[ReviewedReport], as_json: bool, page: ReportPage | None = None) -> None:
    """Print one line for each report.

    Args:
        page: of a list; None for reports that were just brought in.
    """
    if as_json:
        told: dict[str, Any] = {"reports": [_fields(one) for one in reports]}
        if page is not None:
            told |= {"total": page.total, "page": page.page, "pages": page.pages}
        terminal.print_json(told)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("report", no_wrap=True)
    table.add_column("prompt", overflow="fold", min_width=_PROMPT_WIDTH)
    for heading in ("claims", "score"):
        table.add_column(heading, no_wrap=True)
    table.add_column("review", overflow="fold", min_width=_REVIEW_WIDTH)
    for one in reports:
        row = one.report
        claims = f"{row.supported}✓ {row.refuted}✗ {row.inconclusive}? {row.untested}–"
        score = "–" if row.score is None else f"{row.score:.2f}"
        reviewers = ", ".join(dict.fromkeys(review.reviewer for review in one.reviews))
        review = row.review_status + (f" ({reviewers})" if reviewers else "")
        prompt = f"{row.prompt} → {row.answer}" if row.answer else row.prompt
        failed = "" if row.failure is None else f" (failed: {row.failure})"
        cells = (row.case_id, prompt + failed + ("" if row.kept else " (deleted)"), claims, score, review)
        table.add_row(*(terminal.styled(terminal.one_line(cell)) for cell in cells))
    console = terminal.stdout()
    if not reports:
        console.print("no reports; bring one in with 'tracescribe review add FOLDER'", soft_wrap=True)
        return
    console.print(table)
    if page is not None and page.pages > 1:
        console.print(f"page {page.page} of {page.pages}, {page.total} reports in all", soft_wrap=True)


def show_reviews(report: ReviewedReport, states: Sequence[ReviewState], as_json: bool) -> None:
    """Print what reviewers did, act by act, in words."""
    from tracescribe.runs.review.act_words import words_of

    if as_json:
        terminal.print_json({**_fields(report), "states": [state.model_dump(mode="json") for state in states]})
        return
    show_reports([report], as_json=False)
    console = terminal.stdout()
    for state in states:
        title = f"{state.reviewer}: {state.status}, {state.version} {'act' if state.version == 1 else 'acts'}"
        console.print()
        console.print(terminal.styled(terminal.one_line(title), "bold"), soft_wrap=True)
        for done in state.history:
            why = f" (why: {done.why})" if done.why else ""
            undone = " [undone]" if done.undone else ""
            line = f"{done.version:>4}  {done.at[:16].replace('T', ' ')}  {done.actor} {words_of(done.act, state)}{why}{undone}"
            console.print(terminal.styled(terminal.one_line(line)), soft_wrap=True)


def show_export(done: Exported, as_json: bool) -> None:
    """Print where a file was written, and whose review it shows."""
    if as_json:
        review = None if done.review is None else asdict(done.review)
        told = {"path": str(done.path), "bytes": done.size, "case_id": done.case_id, "review": review}
        terminal.print_json(told)
        return
    whose = "" if done.review is None else f", as {done.review.reviewer} has it ({done.review.status})"
    line = f"{done.path}: {done.size:,} bytes of {done.case_id}{whose}"
    terminal.stdout().print(terminal.styled(terminal.one_line(line)), soft_wrap=True)


def _fields(one: ReviewedReport) -> dict[str, Any]:
    return {**one.report.model_dump(), "reviews": [asdict(review) for review in one.reviews]}
