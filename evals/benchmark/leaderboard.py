"""The leaderboard: averages of every agent with intervals, paired comparisons, tasks, controls, as plain values.

Suites are never pooled: a board has one table for each. A failed case is counted and enters no average but the one that
sorts a table; two agents are compared on the cases that both answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracescribe.evals import stability_scores
from tracescribe.evals.benchmark.board_scores import RANKED_BY, board_scores, without_overall
from tracescribe.evals.benchmark.results import CaseResult
from tracescribe.evals.benchmark.running import BenchResult
from tracescribe.evals.benchmark.store import Manifest, ManifestSuite
from tracescribe.evals.benchmark.suites import SENSITIVE
from tracescribe.evals.controls import ControlRow, control_rows
from tracescribe.evals.scorers import by_intervention, cost
from tracescribe.evals.scorers.metric import Metric
from tracescribe.evals.scores import METRICS, Scores
from tracescribe.evals.statistics.averages import Average, Difference, average, compare_all

BOARD_SCHEMA = "tracescribe-leaderboard/2"
OVERALL = "overall"
"""The mean of other scores, all of which are shown; `RANKED_BY`, the same with failed cases as 0, sorts a table."""
ALL_METRICS: tuple[Metric, ...] = (
    METRICS[0],
    RANKED_BY,
    *METRICS[1:],
    *by_intervention.METRICS,
    *cost.METRICS,
    *stability_scores.METRICS,
)
"""Every metric of a board: against gold, by running the model, of cost, of repeated seeds."""
MAIN_BESIDE = ("selection.rprec", "grouping.ari", "causal.precision", "causal.recall", "circuit.edge_cpr_over_random")
"""What short tables show beside `overall` and its parts; all other scores are in the JSON."""
ALPHA = 0.05
"""Largest corrected p value of a difference that is called clear."""
MANY = 1 / 3
"""Share of an agent's cases that a score beside must have been given for, to be shown."""
Averages = Mapping[str, Average | None]


@dataclass(frozen=True)
class Costs:
    """What an agent's scored cases took.

    Attributes:
        seconds: mean of a case; None without one.
        usd: None where no price was known in any case.
    """

    seconds: float | None
    seconds_total: float
    llm_calls: int
    tokens: int
    usd: float | None


@dataclass(frozen=True)
class AgentRow:
    """One agent in a suite's table.

    Attributes:
        averages: by metric name.
        control: the same answers against shuffled gold: what chance gives; empty for all but the agent named first.
        missing: cases that were asked for and were not run.
        failures: failed cases by kind.
        verdicts: number of claims by outcome.
        confusion: outcome -> truth -> number of claims.
    """

    agent: str
    averages: Averages
    control: tuple[ControlRow, ...]
    n_scored: int
    n_failed: int
    missing: int
    failures: Mapping[str, int]
    cost: Costs
    verdicts: Mapping[str, int]
    confusion: Mapping[str, Mapping[str, int]]

    def overall(self) -> float:
        """What the table is sorted by; below every score where there is none."""
        found = self.averages.get(RANKED_BY.name)
        return float("-inf") if found is None else found.value


@dataclass(frozen=True)
class Comparison:
    """One agent against another on the cases that both answered.

    Attributes:
        differences: by name, of the metrics that the table shows; p values are corrected for all that it shows.
    """

    first: str
    second: str
    differences: Mapping[str, Difference | None]

    def standing(self, metric: Metric) -> str:
        """Where the first agent stands on average, in words; clear only below .05, corrected for all of the table."""
        difference = self.differences.get(metric.name)
        if difference is None:
            return "not comparable"
        if difference.value == 0:
            return "level"
        word = "ahead" if (difference.value > 0) == metric.higher_is_better else "BEHIND"
        p = difference.p_value if difference.p_holm is None else difference.p_holm
        return word if p < ALPHA and not difference.low <= 0 <= difference.high else f"{word} (unclear)"


@dataclass(frozen=True)
class SuiteBoard:
    """One suite's table.

    Attributes:
        n_circuits: of the suite as it was run.
        main: the metrics that short tables show: `overall`, `RANKED_BY` where cases failed, the parts of `overall`, and
            `MAIN_BESIDE`, as far as any agent has them.
        rows: best first, by `RANKED_BY`.
        comparisons: the agent that was named first against every other.
        tasks: family -> agent -> metric -> average.
        without_sensitive: agent -> metric -> average without circuits whose prompts are about harm; None where the
            suite has none.
    """

    suite: str
    n_circuits: int
    main: tuple[Metric, ...]
    rows: tuple[AgentRow, ...]
    comparisons: tuple[Comparison, ...]
    tasks: Mapping[str, Mapping[str, Averages]]
    without_sensitive: Mapping[str, Averages] | None

    @property
    def ranked_by(self) -> Metric | None:
        """The metric of short tables by which the rows are sorted; None where nothing could be scored."""
        return next((m for m in self.main if m.name == RANKED_BY.name), self.main[0] if self.main else None)

    def row(self, agent: str) -> AgentRow:
        """The row of an agent that was run."""
        return next(row for row in self.rows if row.agent == agent)


@dataclass(frozen=True)
class Leaderboard:
    """All suites of a run."""

    manifest: Manifest
    suites: tuple[SuiteBoard, ...]

    def to_json(self) -> dict[str, Any]:
        """The tables as plain JSON values."""
        return {
            "schema_id": BOARD_SCHEMA,
            "product": self.manifest.product,
            "seeds": list(self.manifest.seeds),
            "settings": self.manifest.settings,
            "metrics": [_metric_json(metric) for metric in ALL_METRICS],
            "suites": [_suite_json(board) for board in self.suites],
        }


def make_leaderboard(bench: BenchResult) -> Leaderboard:
    """Average and compare the agents of a benchmark, suite by suite."""
    return Leaderboard(bench.manifest, tuple(_suite(bench, suite) for suite in bench.manifest.suites))


def _suite(bench: BenchResult, suite: ManifestSuite) -> SuiteBoard:
    manifest = bench.manifest
    results = {agent: [r for r in bench.of(agent) if r.suite == suite.name] for agent in manifest.agents}
    unscorable = without_overall(result for found in results.values() for result in found)
    scores = {agent: board_scores(found, unscorable) for agent, found in results.items()}
    asked = len(suite.circuits) * len(manifest.seeds)
    stable = bench.stability(suite.name)
    rows = [_row(agent, found, scores[agent], asked, stable.get(agent, ())) for agent, found in results.items()]
    main = _main([result for found in results.values() for result in found], rows)
    first, *others = manifest.agents
    compared = compare_all(scores, main, [(first, other) for other in others])
    harmful = {circuit.gold_id for circuit in suite.circuits if SENSITIVE in circuit.tags}
    return SuiteBoard(
        suite=suite.name,
        n_circuits=len(suite.circuits),
        main=main,
        rows=tuple(sorted(rows, key=lambda row: -row.overall())),
        comparisons=tuple(Comparison(a, b, found) for (a, b), found in compared.items()),
        tasks={
            task: {agent: _averages([s for s in found if s.family == task], main) for agent, found in scores.items()}
            for task in dict.fromkeys(circuit.family for circuit in suite.circuits)
        },
        without_sensitive={
            agent: _averages([s for s in found if s.gold_id not in harmful], main) for agent, found in scores.items()
        }
        if harmful
        else None,
    )


def _main(results: Sequence[CaseResult], rows: Sequence[AgentRow]) -> tuple[Metric, ...]:
    """`overall`, its parts, and what stands beside them where it says something of many cases."""
    parts = {part for result in results if result.scores is not None for part in result.scores.overall_parts}
    shown = {OVERALL, *parts}
    if any(row.n_failed for row in rows) and any(row.averages.get(OVERALL) for row in rows):
        shown.add(RANKED_BY.name)
    for row in rows:
        for name in MAIN_BESIDE:
            found = row.averages.get(name)
            if found is not None and found.n_runs >= MANY * row.n_scored:
                shown.add(name)
    return tuple(m for m in ALL_METRICS if m.name in shown and any(row.averages.get(m.name) for row in rows))


def _averages(scores: Sequence[Scores], metrics: Sequence[Metric]) -> dict[str, Average | None]:
    return {metric.name: average(scores, metric) for metric in metrics}


def _row(
    agent: str, results: Sequence[CaseResult], scores: Sequence[Scores], asked: int, stable: Sequence[Scores]
) -> AgentRow:
    scored = [result for result in results if result.status == "scored"]
    failed = [result for result in results if result.status == "failed"]
    verdicts: Counter[str] = Counter()
    confusion: dict[str, Counter[str]] = {}
    for result in scored:
        verdicts.update(result.verdicts)
        for outcome, truths in result.confusion.items():
            confusion.setdefault(outcome, Counter()).update(truths)
    held = [(r.scores, r.control) for r in scored if r.scores is not None and r.control is not None]
    steady = {metric.name: average(stable, metric) for metric in stability_scores.METRICS}
    return AgentRow(
        agent=agent,
        averages=_averages(scores, ALL_METRICS) | steady,
        control=control_rows([own for own, _ in held], [control for _, control in held]) if held else (),
        n_scored=len(scored),
        n_failed=len(failed),
        missing=asked - len(results),
        failures=dict(Counter(result.failure.kind for result in failed if result.failure is not None)),
        cost=_costs(results, scored),
        verdicts=dict(verdicts),
        confusion={outcome: dict(truths) for outcome, truths in confusion.items()},
    )


def _costs(results: Sequence[CaseResult], scored: Sequence[CaseResult]) -> Costs:
    priced = [result.cost.usd for result in results if result.cost.usd is not None]
    return Costs(
        seconds=sum(result.cost.seconds for result in scored) / len(scored) if scored else None,
        seconds_total=round(sum(result.cost.seconds for result in results), 3),
        llm_calls=sum(result.cost.llm_calls for result in results),
        tokens=sum(result.cost.tokens for result in results),
        usd=sum(priced) if priced else None,
    )


def _metric_json(metric: Metric) -> dict[str, object]:
    return {
        "name": metric.name,
        "title": metric.title,
        "meaning": metric.meaning,
        "average": metric.average,
        "headline": metric.headline,
        "higher_is_better": metric.higher_is_better,
    }


def _values(found: Mapping[str, Any]) -> dict[str, object]:
    return {name: None if value is None else dict(vars(value)) for name, value in found.items()}


def _suite_json(board: SuiteBoard) -> dict[str, Any]:
    return {
        "suite": board.suite,
        "circuits": board.n_circuits,
        "main": [metric.name for metric in board.main],
        "ranked_by": None if board.ranked_by is None else board.ranked_by.name,
        "agents": [_row_json(row) for row in board.rows],
        "comparisons": [
            {"first": one.first, "second": one.second, "differences": _values(one.differences)}
            for one in board.comparisons
        ],
        "tasks": {
            family: {agent: _values(found) for agent, found in agents.items()} for family, agents in board.tasks.items()
        },
        "without_sensitive": None
        if board.without_sensitive is None
        else {agent: _values(found) for agent, found in board.without_sensitive.items()},
    }


def _row_json(row: AgentRow) -> dict[str, Any]:
    return {
        "agent": row.agent,
        "cases_scored": row.n_scored,
        "cases_failed": row.n_failed,
        "cases_missing": row.missing,
        "failures": dict(row.failures),
        "scores": _values(row.averages),
        "control": {one.metric.name: _control_json(one) for one in row.control},
        "cost": vars(row.cost),
        "verdicts": dict(row.verdicts),
        "confusion": {outcome: dict(truths) for outcome, truths in row.confusion.items()},
    }


def _control_json(row: ControlRow) -> dict[str, Any]:
    return {**vars(row.shuffled), "chance": row.chance, "at_chance": row.at_chance}
