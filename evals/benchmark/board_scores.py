"""The scores that a board averages: those of answered cases, and what failed cases count where they count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracescribe.evals.benchmark.results import CaseResult
from tracescribe.evals.scorers import cost
from tracescribe.evals.scorers.metric import Metric, Tally
from tracescribe.evals.scores import OVERALL, Scores

RANKED_BY = Metric(
    "overall.failed_as_0", "overall (failed = 0)", "as overall, with a failed case counted as 0; it sorts the board"
)
"""An agent that fails where it would do badly has a better mean of what it answered; it must not stand above others."""


def board_scores(results: Sequence[CaseResult], unscorable: Iterable[str]) -> list[Scores]:
    """Scores of one agent: every score of scored cases, their cost included; of failed cases `RANKED_BY` alone.

    Args:
        unscorable: ids of circuits whose gold gives no `overall`: a failure there has nothing to lose.
    """
    without = set(unscorable)
    found: list[Scores] = []
    for result in results:
        if result.scores is not None:
            counted = {RANKED_BY.name: result.scores.values[OVERALL.name].tally, **cost.score_cost(result.cost)}
            found.append(result.scores.with_values(counted))
        elif result.status == "failed" and result.gold_id not in without:
            lost = Scores(gold_id=result.gold_id, family=result.family, values={})
            found.append(lost.with_values({RANKED_BY.name: Tally(0.0)}))
    return found


def without_overall(results: Iterable[CaseResult]) -> frozenset[str]:
    """Ids of circuits whose gold was seen to give no `overall`."""
    return frozenset(r.gold_id for r in results if r.scores is not None and r.scores.value(OVERALL.name) is None)
