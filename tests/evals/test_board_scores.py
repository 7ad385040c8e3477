"""What sorts a board where cases fail, and tables on terminals of every width."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.evals.bench_fakes import small_suite
from tracescribe.evals.benchmark.board_scores import RANKED_BY, board_scores, without_overall
from tracescribe.evals.benchmark.leaderboard import Comparison, Leaderboard, make_leaderboard
from tracescribe.evals.benchmark.results import CaseCost, CaseFailure, CaseResult
from tracescribe.evals.benchmark.running import BenchResult
from tracescribe.evals.benchmark.store import manifest_of
from tracescribe.evals.benchmark.tables import markdown, sentences, told
from tracescribe.evals.benchmark.terminal_tables import rich_tables
from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.prediction import prediction_of_gold
from tracescribe.evals.scorers.metric import Tally
from tracescribe.evals.scores import Scores, score_prediction
from tracescribe.evals.statistics.averages import Average, Difference
from tracescribe.tracer.graph import AttributionGraph

WORDS = ("aa", "bbb", "cc", "ddd")
CHERRY = "exec:an-agent-with-a-long-name-that-picks-its-cases.py"


@pytest.fixture
def board(tmp_path: Path, small_gold: GoldCircuit, small_graph: AttributionGraph) -> Leaderboard:
    """`steady` scores .8 on all of four circuits; `cherry` 1 on the first, and fails on the others."""
    suite = small_suite(tmp_path, small_gold, small_graph, WORDS)
    scores = score_prediction(prediction_of_gold(small_gold), small_gold, small_graph)
    results = []
    for circuit in suite.circuits:
        own = scores.model_copy(update={"gold_id": circuit.gold_id, "family": circuit.family})
        results.append(_case(circuit, "steady", own.with_values({"overall": Tally(0.8)})))
        easy = circuit.gold_id == "aa-01"
        results.append(_case(circuit, CHERRY, own.with_values({"overall": Tally(1.0)}) if easy else None))
    return make_leaderboard(BenchResult(tmp_path, manifest_of((suite,), ("steady", CHERRY), (0,)), tuple(results), ()))


def _case(circuit: GoldCircuit, agent: str, scores: Scores | None) -> CaseResult:
    return CaseResult(
        agent=agent,
        suite="small",
        gold_id=circuit.gold_id,
        family=circuit.family,
        specification="x",
        status="failed" if scores is None else "scored",
        failure=CaseFailure(kind="crash", message="too hard") if scores is None else None,
        scores=scores,
        cost=CaseCost(seconds=1.0),
    )


def test_an_agent_that_fails_where_it_would_do_badly_does_not_win(board: Leaderboard) -> None:
    (suite,) = board.suites
    assert [row.agent for row in suite.rows] == ["steady", CHERRY]
    cherry = suite.row(CHERRY)
    answered, ranked = cherry.averages["overall"], cherry.averages[RANKED_BY.name]
    assert answered is not None and (answered.value, answered.n_cases) == (1.0, 1), "a failure enters no other average"
    assert ranked is not None and (ranked.value, ranked.n_cases) == (0.25, 4)
    assert suite.tasks["odd"][CHERRY][RANKED_BY.name].value == 0, "tasks are told the same way"  # type: ignore[union-attr]
    (compared,) = suite.comparisons
    difference = compared.differences[RANKED_BY.name]
    assert difference is not None and difference.value == pytest.approx(0.55) and difference.n_cases == 4
    assert [m.name for m in suite.main][:2] == ["overall", RANKED_BY.name]
    assert board.to_json()["suites"][0]["ranked_by"] == RANKED_BY.name
    assert "agents are sorted by overall (failed = 0)" in sentences(suite)[0]
    assert "| overall (failed = 0) |" in markdown(board)


def test_without_failures_overall_sorts_and_nothing_stands_beside_it(board: Leaderboard, tmp_path: Path) -> None:
    (suite,) = board.suites
    steady = make_leaderboard(BenchResult(tmp_path, board.manifest, (), ()))
    assert steady.suites[0].ranked_by is None
    assert suite.row("steady").averages["overall"] == suite.row("steady").averages[RANKED_BY.name]


def test_circuits_that_give_no_overall_take_nothing_from_those_who_fail_on_them(
    small_gold: GoldCircuit, small_graph: AttributionGraph
) -> None:
    bare = small_gold.model_copy(update={"can_score": ("node_labels",)})
    scored = _case(bare, "a", score_prediction(prediction_of_gold(bare), bare, small_graph))
    failed = _case(bare, "b", None)
    assert without_overall([scored, failed]) == {bare.gold_id}
    assert board_scores([failed], without_overall([scored])) == []
    assert board_scores([failed], ())[0].value(RANKED_BY.name) == 0


def test_a_difference_is_clear_only_by_its_corrected_p_value() -> None:
    metric, found = RANKED_BY, Difference(0.3, 0.1, 0.5, 0.01, 8, p_holm=0.2)
    assert Comparison("a", "b", {metric.name: found}).standing(metric) == "ahead (unclear)"
    assert Comparison("a", "b", {metric.name: replace(found, p_holm=0.04)}).standing(metric) == "ahead"


def test_one_circuit_has_no_interval() -> None:
    assert told(Average(0.5, 0.5, 0.5, 1, 1)) == "0.50 (n=1)"
    assert told(Average(0.5, 0.4, 0.6, 2, 2), 2) == "0.50 (0.40–0.60)"


def shown(board: Leaderboard, width: int | None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width or 80, markup=False, emoji=False, highlight=False)
    for table in rich_tables(board, width):
        console.print(table, crop=False)
    return out.getvalue()


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\d\.\d\d", text))


@pytest.mark.parametrize("width", [None, 200, 80, 60, 42])
def test_no_terminal_is_too_narrow_for_a_number(board: Leaderboard, width: int | None) -> None:
    wide, text = shown(board, None), shown(board, width)
    assert "…" not in text
    assert numbers(text) == numbers(wide)
    intervals = re.findall(r"\(\d\.\d\d–\d\.\d\d(?:, n=\d+)?\)", wide)
    assert intervals and sorted(re.findall(r"\(\d\.\d\d–\d\.\d\d(?:, n=\d+)?\)", text)) == sorted(intervals)
    if width is not None:
        assert max(map(len, text.splitlines())) <= width
