"""The leaderboard's JSON, read into types: what the page needs of it, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.tracer.errors import OutputError


class _Read(BaseModel):
    """Fields that the page does not know are left alone: a leaderboard may say more than a page shows."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Value(_Read):
    """An average with its interval over cases."""

    value: float
    low: float
    high: float
    n_cases: int = 0


class ControlValue(Value):
    """A score against shuffled gold; `chance` is what chance gives, counted or by other shufflings.

    Attributes:
        at_chance: whether the control's interval holds it; None where nobody can tell.
    """

    chance: float | None = None
    at_chance: bool | None = None


class Gap(_Read):
    """A paired difference.

    Attributes:
        p_holm, p_fdr: corrected for all comparisons of the table.
        detectable: the smallest difference that these cases would show with 80 % power.
    """

    value: float
    low: float
    high: float
    p_value: float | None = None
    p_holm: float | None = None
    p_fdr: float | None = None
    detectable: float | None = None
    n_cases: int = 0


class MetricRow(_Read):
    """A metric as the leaderboard tells it."""

    name: str
    title: str
    meaning: str = ""
    higher_is_better: bool = True


class CostRow(_Read):
    """What an agent took: mean seconds a case, and sums of the rest."""

    seconds: float | None = None
    seconds_total: float | None = None
    llm_calls: float | None = None
    tokens: float | None = None
    usd: float | None = None


class AgentRow(_Read):
    """One agent of a suite."""

    agent: str
    cases_scored: int = 0
    cases_failed: int = 0
    cases_missing: int = 0
    failures: dict[str, int] = Field(default_factory=dict)
    scores: dict[str, Value | None] = Field(default_factory=dict)
    control: dict[str, ControlValue | None] | None = None
    cost: CostRow = CostRow()
    verdicts: dict[str, int] = Field(default_factory=dict)
    confusion: dict[str, dict[str, int]] = Field(default_factory=dict)

    @property
    def stability(self) -> dict[str, Value]:
        """Scores of repeated passes."""
        return {name: value for name, value in self.scores.items() if name.startswith("stability.") and value}


class Comparison(_Read):
    """Two agents on the cases that both answered, by metric."""

    first: str
    second: str
    differences: dict[str, Gap | None] = Field(default_factory=dict)


class SuiteBoard(_Read):
    """One suite's leaderboard."""

    suite: str
    circuits: int = 0
    main: tuple[str, ...] = ()
    ranked_by: str | None = None
    agents: tuple[AgentRow, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    tasks: dict[str, dict[str, dict[str, Value | None]]] = Field(default_factory=dict)
    without_sensitive: dict[str, dict[str, Value | None]] | None = None


class Board(_Read):
    """A leaderboard."""

    product: object = ""
    seeds: tuple[int, ...] = ()
    settings: dict[str, object] = Field(default_factory=dict)
    metrics: tuple[MetricRow, ...] = ()
    suites: tuple[SuiteBoard, ...] = ()

    @property
    def agents(self) -> tuple[str, ...]:
        """Every agent of every suite, in order of first appearance."""
        return tuple(dict.fromkeys(row.agent for suite in self.suites for row in suite.agents))

    def metric(self, name: str) -> MetricRow:
        """A metric by name; one that is not described stands for itself."""
        return next((metric for metric in self.metrics if metric.name == name), MetricRow(name=name, title=name))


def read_board(document: Mapping[str, object]) -> Board:
    """Read a leaderboard's JSON.

    Raises:
        OutputError: it is not one.
    """
    try:
        return Board.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise OutputError(
            f"this is no leaderboard that a page can show: {where}: {first['msg']}; make it again with `bench show`"
        ) from error
