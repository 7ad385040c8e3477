"""Stability as scores: the passes of one agent over one case with several seeds, from what a benchmark has stored.

`evals.stability` says what counts as the same claim and as a flip; here its counts become tallies, so that tables average
them, with intervals over cases, like every other score.

Source: Circuit Oracle's five passes over one graph, see `evals.stability`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally
from tracescribe.evals.scores import Scores, ScoreValue
from tracescribe.tracer.errors import OutputError

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.evals.benchmark.results import CaseResult

METRICS = (
    Metric("stability.jaccard", "same features", "every pass selects the same features", headline=True),
    Metric(
        "stability.flips",
        "verdicts that flip",
        "no claim that every pass makes has the same verdict in all",
        "pooled",
        headline=True,
        higher_is_better=False,
    ),
    Metric(
        "stability.subject_flips",
        "subjects that flip",
        "so, claims of one subject with other donors taken together",
        "pooled",
        higher_is_better=False,
    ),
    Metric(
        "stability.partial", "not in every pass", "no claim is made in every pass", "pooled", higher_is_better=False
    ),
    Metric("stability.lost", "passes lost", "every pass failed", "pooled", higher_is_better=False),
)


def score_passes(reports: Sequence[CircuitReport], n_lost: int = 0) -> Mapping[str, Tally]:
    """Scores of the reports of one agent on one case, one a seed.

    Args:
        n_lost: passes that failed. They enter no other score: nothing is known of what they would have said.

    Returns:
        With fewer than two reports, `stability.lost` alone is scored.
    """
    from tracescribe.evals.stability import compare_reports

    scores = {metric.name: NOTHING for metric in METRICS}
    scores["stability.lost"] = Tally(n_lost, n_lost + len(reports))
    if len(reports) < 2:
        return scores
    found, n_pairs = compare_reports(reports), comb(len(reports), 2)
    scores["stability.jaccard"] = Tally(found.jaccard * n_pairs, n_pairs)
    scores["stability.flips"] = Tally(len(found.flips), found.n_common)
    scores["stability.subject_flips"] = Tally(len(found.subject_flips), found.n_subjects)
    scores["stability.partial"] = Tally(len(found.partial), len(found.partial) + found.n_common)
    return scores


def stability_of(results: Sequence[CaseResult], folder: Path) -> dict[str, tuple[Scores, ...]]:
    """Stability of every agent in a benchmark's folder, one `Scores` for each case that it was given more than once.

    Average them with `evals.statistics.averages`; only the metrics of this module are in them.

    Args:
        results: of any agents, cases and seeds.
        folder: what the results' `report` is relative to.

    Returns:
        By agent; one without repeated cases is absent.

    Raises:
        OutputError: a report that a result names cannot be read.
        ReportError: it is no report.
    """
    passes: dict[tuple[str, str, str], list[CaseResult]] = {}
    for result in results:
        passes.setdefault((result.agent, result.suite, result.gold_id), []).append(result)
    found: dict[str, list[Scores]] = {}
    for (agent, _, gold_id), ones in passes.items():
        if len({one.seed for one in ones}) < 2:
            continue
        reports = [_report(folder, one.report) for one in ones if one.status == "scored" and one.report is not None]
        tallies = score_passes(reports, sum(one.status == "failed" for one in ones))
        values = {name: ScoreValue.of(tally) for name, tally in tallies.items()}
        found.setdefault(agent, []).append(Scores(gold_id=gold_id, family=ones[0].family, values=values))
    return {agent: tuple(scores) for agent, scores in found.items()}


def _report(folder: Path, name: str) -> CircuitReport:
    from tracescribe.agents.report import parse_report

    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise OutputError(f"the report {name!r} lies outside the benchmark's folder {folder}; it is not read")
    try:
        return parse_report(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"the report {path} cannot be read ({error}); run the benchmark again") from error
