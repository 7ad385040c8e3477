"""The printed control: own scores, scores against shuffled gold, and chance, side by side.

A row is sound where the shuffled score is at chance and the own score is above it. A metric whose shuffled score is
high tells little even where the own score is perfect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracescribe.evals.scorers.metric import Metric
from tracescribe.evals.scores import METRICS, Scores
from tracescribe.evals.statistics.averages import Average, Difference, average, compare

FEWEST_CASES = 12
"""With fewer cases no test at the level of a whole table could find anything, and no verdict is given."""
INVISIBLE = 0.005
"""A difference that no table shows: expected and found may differ by so much where both are nearly constant."""
ALPHA = 0.05


@dataclass(frozen=True)
class ControlRow:
    """One metric under the permutation control.

    Attributes:
        own: the agent's score.
        shuffled: the same answers against shuffled gold.
        chance: expected average of `shuffled`: by counting, or over other shufflings.
        at_chance: whether `shuffled` cannot be told from `chance` by sign flips over cases; None with too few cases. The
            level is .05 for the whole table, so that of twenty tables at chance one has a row that is called not so.
        above: own minus shuffled, paired by case.
    """

    metric: Metric
    own: Average | None
    shuffled: Average
    chance: float
    at_chance: bool | None
    above: Difference | None


def control_rows(
    own: Sequence[Scores], control: Sequence[Scores], metrics: Sequence[Metric] = METRICS
) -> tuple[ControlRow, ...]:
    """The control of one agent: a row for every metric that something was scored of.

    Args:
        own: its scores.
        control: its scores against shuffled gold, as `permutation.permuted_scores` gives them.
        metrics: what to show.
    """
    expected = [scores.model_copy(update={"values": scores.chance}) for scores in control if scores.chance]
    level = ALPHA / max(1, len(metrics))
    rows = []
    for metric in metrics:
        shuffled, chance = average(control, metric), average(expected, metric)
        apart = compare(control, expected, metric)
        if shuffled is None or chance is None or apart is None:
            continue
        near = apart.p_value >= level or abs(apart.value) <= INVISIBLE
        rows.append(
            ControlRow(
                metric=metric,
                own=average(own, metric),
                shuffled=shuffled,
                chance=chance.value,
                at_chance=near if shuffled.n_cases >= FEWEST_CASES else None,
                above=compare(own, control, metric),
            )
        )
    return tuple(rows)
