"""Every page and state of the review app that is looked at: by axe-core, at several widths and colours, in pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _nothing(page: Any) -> None:
    pass


def _help(page: Any) -> None:
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()


def _inspected(page: Any) -> None:
    page.locator("#inspector").get_by_role("heading").first.wait_for()


@dataclass(frozen=True)
class Scene:
    """A page in a state.

    Attributes:
        name: of its picture.
        path: with `{case}` and `{job}` for the report and its job.
        prepare: what brings the state about, once the page is there.
        status: of the page.
        who: whose it is where people log in; None for a server without log-in.
    """

    name: str
    path: str
    prepare: Callable[[Any], None] = _nothing
    status: int = 200
    who: str | None = None

    def open(self, page: Any, *, case: str, job: str) -> None:
        """Go there.

        Raises:
            AssertionError: the page answered with another status.
        """
        page.goto("about:blank")  # so that a page that differs in its hash alone is loaded anew
        answer = page.goto(self.path.format(case=case, job=job), wait_until="networkidle")
        assert answer.status == self.status, (self.name, answer.status, page.locator("body").inner_text()[:600])
        if page.locator("#report").count():
            page.locator("#report[data-ready]").wait_for()
        self.prepare(page)


SCENES: tuple[Scene, ...] = (
    Scene("reports", "/reports"),
    Scene("reports-none", "/reports?q=nothing+is+called+like+this"),
    Scene("report", "/reports/{case}"),
    Scene("report-graph", "/reports/{case}?view=graph"),
    Scene("report-supernode", "/reports/{case}#supernode:s2", _inspected),
    Scene("report-feature", "/reports/{case}#feature:2/55", _inspected),
    Scene("report-node", "/reports/{case}?view=graph#node:2_55_8", _inspected),
    Scene("report-claim", "/reports/{case}#claim:c1", _inspected),
    Scene("report-help", "/reports/{case}", _help),
    Scene("report-gold", "/reports/{case}/gold"),
    Scene("compare", "/compare"),
    Scene("jobs", "/jobs"),
    Scene("job", "/jobs/{job}"),
    Scene("leaderboard", "/leaderboard"),
    Scene("audit", "/audit"),
    Scene("api-docs", "/api/docs"),
    Scene("not-found", "/no-such-page", status=404),
    Scene("no-such-report", "/reports/job_none.0", status=404),
)
"""Of a server without log-in."""

TEAM_SCENES: tuple[Scene, ...] = (
    Scene("log-in", "/log-in"),
    Scene("viewer-jobs", "/jobs", who="vera"),
    Scene("viewer-refused", "/reports", status=403, who="vera"),
    Scene("reviewer-report", "/reports/{case}", who="rosa"),
)
"""Of a server where people log in."""

DIALOGS: tuple[tuple[str, str, str], ...] = (
    ("History of", "History", ""),
    ("Reviewers", "Reviewers", ""),
    ("Save", "Save as", ""),
    ("Close this review", "Close review", ""),
    ("Move features", "", "m"),
    ("Merge into", "", "M"),
)
"""Dialogs of a report whose supernode s2 is selected: how each one's title begins, and the button of the review bar or
the key that opens it."""
