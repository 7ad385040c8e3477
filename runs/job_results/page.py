"""The summary of a job, and the comparison of two, as one HTML file each: no script, nothing fetched, every text escaped.

The page allows itself one style sheet, named by its hash: whatever a prompt, a label or a message may smuggle in, the
browser runs nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from tracescribe.agents.rendering.templating import visible_environment
from tracescribe.agents.rendering.visible_text import visible_text
from tracescribe.runs.job_results import figures
from tracescribe.runs.job_results.markdown import cost_facts, listings, provenance_facts, status_line, told
from tracescribe.runs.job_results.summary import JobSummary, ScoreSummary
from tracescribe.runs.jobs.telling import NOTHING

if TYPE_CHECKING:
    from markupsafe import Markup

_LONGEST_SPECIFICATION = 20_000
"""Characters of a specification that the page shows; the JSON beside it has all of a job with a thousand prompts."""


def summary_page(summary: JobSummary) -> str:
    """The page as text; the same summary gives the same text."""
    text = json.dumps(summary.provenance.specification, indent=2, ensure_ascii=False, sort_keys=True)
    more = len(text) - _LONGEST_SPECIFICATION
    return render(
        "summary.html",
        summary=summary,
        status_line=status_line(summary),
        shares=[(s, 100 * n / max(summary.n_cases, 1)) for s, n in summary.cases.items() if n],
        score_rows=[_score_row(summary.score(name)) for name in summary.shown],
        further_rows=[_score_row(one) for one in summary.scores if one.name not in summary.shown],
        score_plots=_score_plots(summary),
        groups=[
            (
                title,
                (title.capitalize(), *(summary.score(name).title for name in summary.shown), "Cases"),
                [
                    (one.name, *(told(one.means.get(name)) for name in summary.shown), f"{one.n_cases:,}")
                    for one in groups
                ],
            )
            for title, groups in (("family", summary.families), ("tag", summary.tags))
            if len(groups) > 1
        ],
        verdicts=[(name, f"{n:,}") for name, n in summary.verdicts.items()],
        cost_facts=cost_facts(summary),
        cost_plots=_cost_plots(summary),
        listings=[
            (title, [(one.case_id, one.title, one.note or NOTHING, str(one.seed), value) for one, value in listed])
            for title, listed in listings(summary)
        ],
        provenance=provenance_facts(summary),
        specification=_lines(text if more <= 0 else text[:_LONGEST_SPECIFICATION] + f"\n… {more:,} more characters"),
    )


def render(template: str, **values: Any) -> str:
    """A template of this package with the one style sheet that its page allows."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        visible_environment("tracescribe.runs.job_results")
        .get_template(template)
        .render(**values, style=style, policy=policy)
    )


def _score_row(one: ScoreSummary) -> tuple[str, ...]:
    return (
        one.title + ("" if one.higher_is_better else " (lower is better)"),
        f"{one.mean.value:.3f}",
        NOTHING if one.mean.n == 1 else f"{one.mean.low:.3f} to {one.mean.high:.3f}",
        f"{one.mean.n:,}",
        f"{one.n_cases:,}",
        one.meaning or NOTHING,
    )


def _lines(text: str) -> Markup:
    """Lines that stay lines; `finalize` makes line ends of any other text visible."""
    from markupsafe import Markup

    return Markup("\n").join(visible_text(line) for line in text.split("\n"))


def _score_plots(summary: JobSummary) -> list[figures.Plot]:
    found = []
    for name in summary.shown:
        one = summary.score(name)
        found.append(figures.histogram_plot(one.title, "score", one.histogram, one.first, one.last, one.mean.value))
    return [one for one in found if one is not None]


def _cost_plots(summary: JobSummary) -> list[figures.Plot]:
    time = summary.time
    mean = None if time.per_case is None else time.per_case.mean
    end = summary.cost.over_time[-1][0] if summary.cost.over_time else 0.0
    unit, size = ("hours", 3600.0) if end > 7200 else ("minutes", 60.0) if end > 120 else ("seconds", 1.0)
    points = [(at / size, usd) for at, usd in summary.cost.over_time]
    found = [
        figures.histogram_plot("Seconds per case", "seconds", time.histogram, time.first, time.last, mean),
        figures.line_plot("Paid so far", unit, "US$", points),
    ]
    return [one for one in found if one is not None]


@cache
def _style() -> str:
    palette = resources.files("tracescribe.agents.rendering") / "templates" / "palette.css"
    return palette.read_text(encoding="utf-8") + _source("page.css")


@cache
def _source(name: str) -> str:
    return (resources.files("tracescribe.runs.job_results") / "templates" / name).read_text(encoding="utf-8")
