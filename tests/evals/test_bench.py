"""The benchmark: real agents on real cases, kills, failures, and the tables that come out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tracescribe.agents.agent import InterpretationAgent, Progress, no_progress
from tracescribe.agents.baselines import baseline_agent
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.report import CircuitReport
from tracescribe.agents.toolbox import Toolbox, load_toolbox
from tracescribe.evals.benchmark.leaderboard import make_leaderboard
from tracescribe.evals.benchmark.running import (
    BenchResult,
    BenchSettings,
    CaseResult,
    choose_circuits,
    folder_name,
    run_bench,
)
from tracescribe.evals.gold import GoldSet
from tracescribe.evals.scores import HEADLINES, METRICS
from tracescribe.tracer.errors import GoldFormatError, SettingError, WorkError

# without experiments a case takes a fraction of a second, and everything but the verdicts is as in a full run
QUICK = Budget(experiments=0)


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    return load_toolbox()


@dataclass(frozen=True)
class Broken:
    """An agent that fails on some prompts, as somebody else's might."""

    name: str
    error: Exception
    only: str

    def interpret(
        self, case: InterpretationCase, toolbox: Toolbox, budget: Budget, progress: Progress = no_progress
    ) -> CircuitReport:
        if self.only in (case.prompt or ""):
            raise self.error
        return baseline_agent("influence").interpret(case, toolbox, budget, progress)


@dataclass(frozen=True)
class Elsewhere:
    """An agent that answers every case with a report on another prompt."""

    name: str = "elsewhere"

    def interpret(
        self, case: InterpretationCase, toolbox: Toolbox, budget: Budget, progress: Progress = no_progress
    ) -> CircuitReport:
        other = InterpretationCase(case_id="other", prompt="2 + 3 =")
        return baseline_agent("influence").interpret(other, toolbox, budget, progress)


@pytest.fixture(scope="module")
def bench(toolbox: Toolbox, oracle_gold: GoldSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchResult, Path]:
    agents: list[InterpretationAgent] = [
        baseline_agent("influence"),
        baseline_agent("random"),
        Broken("broken", RuntimeError("lost the thread"), "sport"),
    ]
    out = tmp_path_factory.mktemp("bench")
    settings = BenchSettings(tasks=("states", "people"), limit=2, budget=QUICK)
    return run_bench(agents, oracle_gold.circuits, toolbox, out, settings), out


def test_every_case_has_a_result_and_a_report(bench: tuple[BenchResult, Path], oracle_gold: GoldSet) -> None:
    result, out = bench
    chosen = [c.gold_id for c in choose_circuits(oracle_gold.circuits, BenchSettings(("states", "people"), 2))]
    for agent, cases in result.results.items():
        assert [case.gold_id for case in cases] == chosen
        for case in cases:
            stored = CaseResult.model_validate_json((out / agent / f"{case.gold_id}.json").read_text())
            assert stored == case
            assert (out / agent / f"{case.gold_id}.report.json").is_file() is (case.status == "scored")


def test_a_failure_is_recorded_and_enters_no_average(bench: tuple[BenchResult, Path]) -> None:
    result, _ = bench
    assert [case.error for case in result.failures("broken")] == ["RuntimeError: lost the thread"] * 2
    assert all(case.scores is None for case in result.failures("broken"))
    board = make_leaderboard(result)
    row = next(row for row in board.rows if row.agent == "broken")
    assert (row.n_scored, row.n_failed) == (2, 2)
    found = row.averages["selection.f1"]
    assert found is not None and found.n_cases == 2
    # on the cases that it did answer it is the same agent: paired with it, there is no difference
    against = next(c for c in board.comparisons if c.second == "broken")
    difference = against.differences["selection.f1"]
    assert difference is not None and (difference.value, difference.n_cases) == (0.0, 2)


def test_influence_beats_chance(bench: tuple[BenchResult, Path]) -> None:
    result, _ = bench
    top, chance = (
        next(row for row in make_leaderboard(result).rows if row.agent == agent)
        for agent in ("influence", "random")
    )
    assert top.averages["selection.auc"] is not None and chance.averages["selection.auc"] is not None
    assert top.averages["selection.auc"].value > chance.averages["selection.auc"].value


def test_tables(bench: tuple[BenchResult, Path]) -> None:
    board = make_leaderboard(bench[0])
    document = json.loads(json.dumps(board.to_json()))
    assert [row["agent"] for row in document["agents"]] == ["influence", "random", "broken"]
    assert {metric["name"] for metric in document["metrics"]} == {metric.name for metric in METRICS}
    assert set(document["families"]["random"]) == {"states", "people"}
    lines = board.to_markdown().splitlines()
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    assert all(metric.title in lines[0] for metric in HEADLINES)
    assert len(board.comparison_markdown().splitlines()) == 2 + 2
    found = board.rows[0].averages["selection.f1"]
    assert found is not None and f"{found.value:.2f} ({found.low:.2f}–{found.high:.2f})" in lines[2]
    partial = replace(found, n_cases=1)
    row = replace(board.rows[0], averages=board.rows[0].averages | {"selection.f1": partial})
    assert ", n=1)" in replace(board, rows=(row,)).to_markdown(), "a score of few cases says so"
    assert board.to_rich().row_count == len(HEADLINES) + 3


def test_a_second_run_computes_nothing(bench: tuple[BenchResult, Path], toolbox: Toolbox, oracle_gold: GoldSet) -> None:
    first, out = bench
    agents = [baseline_agent("influence"), baseline_agent("random")]
    found: list[bool] = []
    settings = BenchSettings(tasks=("states", "people"), limit=2, budget=QUICK)
    again = run_bench(
        agents, oracle_gold.circuits, toolbox, out, settings, lambda done, total, result, reused: found.append(reused)
    )
    assert found == [True] * 8
    assert again.results["random"] == first.results["random"]


def test_a_failed_case_is_tried_again(bench: tuple[BenchResult, Path], toolbox: Toolbox, oracle_gold: GoldSet) -> None:
    _, out = bench
    repaired = Broken("broken", RuntimeError("lost the thread"), "nothing")
    settings = BenchSettings(tasks=("states", "people"), limit=2, budget=QUICK)
    found: list[bool] = []
    again = run_bench(
        [repaired],
        oracle_gold.circuits,
        toolbox,
        out,
        settings,
        lambda done, total, result, reused: found.append(reused),
    )
    assert found == [True, True, False, False]
    assert not again.failures("broken")


def test_a_result_of_another_specification_is_not_reused(
    bench: tuple[BenchResult, Path], toolbox: Toolbox, oracle_gold: GoldSet
) -> None:
    _, out = bench
    settings = BenchSettings(tasks=("states",), limit=1, budget=Budget(experiments=1))
    found: list[bool] = []
    agents = [baseline_agent("random")]
    run_bench(
        agents, oracle_gold.circuits, toolbox, out, settings, lambda done, total, result, reused: found.append(reused)
    )
    assert found == [False]


def test_a_report_on_another_prompt_is_a_failure(toolbox: Toolbox, oracle_gold: GoldSet, tmp_path: Path) -> None:
    settings = BenchSettings(tasks=("states",), limit=1, budget=QUICK)
    result = run_bench([Elsewhere()], oracle_gold.circuits, toolbox, tmp_path, settings)
    (case,) = result.failures("elsewhere")
    assert case.error is not None and "score a report against the gold of its own prompt" in case.error


def test_gold_that_does_not_fit_stops_the_run(toolbox: Toolbox, oracle_gold: GoldSet, tmp_path: Path) -> None:
    """A fault of the benchmark itself must never be booked as a failure of the agent."""
    agent = Broken("typed", WorkError("no"), "nothing")
    right = oracle_gold.circuits[0]
    wrong = right.model_copy(update={"selected": (*right.selected, "9_9_9")})
    with pytest.raises(GoldFormatError, match="9_9_9 is not in the graph"):
        run_bench([agent], [wrong], toolbox, tmp_path, BenchSettings(budget=QUICK))
    assert not list(tmp_path.rglob("*.json"))


def test_calls_that_make_no_sense(toolbox: Toolbox, oracle_gold: GoldSet, tmp_path: Path) -> None:
    twins = [baseline_agent("random"), baseline_agent("random")]
    with pytest.raises(SettingError, match="agents need different names"):
        run_bench(twins, oracle_gold.circuits, toolbox, tmp_path)
    with pytest.raises(SettingError, match="no gold circuit belongs to task 'chess'; tasks are states,"):
        run_bench(twins[:1], oracle_gold.circuits, toolbox, tmp_path, BenchSettings(tasks=("chess",)))
    with pytest.raises(SettingError, match="needs a toolbox with a model"):
        run_bench(twins[:1], oracle_gold.circuits, Toolbox(), tmp_path)
    with pytest.raises(SettingError, match="limit is 0"):
        BenchSettings(limit=0)
    foreign = oracle_gold.circuits[0].model_copy(
        update={"stamp": oracle_gold.circuits[0].stamp.model_copy(update={"transcoder_sha256": "0" * 64})}
    )
    with pytest.raises(GoldFormatError, match="belongs to other weights"):
        run_bench(twins[:1], [foreign], toolbox, tmp_path)


def test_agent_names_make_safe_folders() -> None:
    assert folder_name("llm (openai/gpt-x)") == "llm-openai-gpt-x"
    assert folder_name("../../etc/passwd") == "etc-passwd"
    assert folder_name("…") == "agent"


_RUN = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tracescribe.agents.baselines import baseline_agent
from tracescribe.agents.budget import Budget
from tracescribe.agents.toolbox import load_toolbox
from tracescribe.evals.benchmark.running import BenchSettings, run_bench
from tracescribe.evals.oracle.building import load_oracle_gold
settings = BenchSettings(tasks=("states",), limit=5, budget=Budget(experiments=0))
run_bench([baseline_agent("influence")], load_oracle_gold().circuits, load_toolbox(), Path(sys.argv[1]), settings,
          lambda done, total, result, reused: print(done, reused, flush=True))
"""


def test_a_run_that_is_killed_goes_on_where_it_stopped(toolbox: Toolbox, oracle_gold: GoldSet, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _RUN, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:  # killed while the third case runs
        if line.startswith("2 "):
            break
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("influence/*[0-9].json")}
    assert 2 <= len(finished) < 5
    for path in finished:
        CaseResult.model_validate_json(path.read_text())

    settings, found = BenchSettings(tasks=("states",), limit=5, budget=QUICK), list[bool]()
    result = run_bench(
        [baseline_agent("influence")],
        oracle_gold.circuits,
        toolbox,
        tmp_path,
        settings,
        lambda done, total, result, reused: found.append(reused),
    )
    assert found == [True] * len(finished) + [False] * (5 - len(finished))
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert [case.status for case in result.results["influence"]] == ["scored"] * 5
