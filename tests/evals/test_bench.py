"""The benchmark: agents in worker processes, kills, failures, resuming, and the board that comes out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.evals.bench_fakes import canned, small_suite
from tracescribe.agents.budget import Budget
from tracescribe.agents.durable.errors import RunLockedError
from tracescribe.evals.benchmark.case_scoring import scored_case
from tracescribe.evals.benchmark.leaderboard import ALL_METRICS, make_leaderboard
from tracescribe.evals.benchmark.predictions import predictions_of, write_predictions
from tracescribe.evals.benchmark.results import CaseResult
from tracescribe.evals.benchmark.running import BenchResult, RunSettings, read_bench, run_bench
from tracescribe.evals.benchmark.store import BenchStore, folder_name
from tracescribe.evals.benchmark.suites import Choice, Suite, SuitePart, choose
from tracescribe.evals.benchmark.tables import markdown, sentences
from tracescribe.evals.benchmark.terminal_tables import rich_tables
from tracescribe.evals.gold import GoldCircuit
from tracescribe.tracer.errors import GoldFormatError, InputError, OutputError, SettingError
from tracescribe.tracer.graph import AttributionGraph

ROOT = Path(__file__).resolve().parents[2]
ODD = ("crash", "kill", "hang", "bug", "cheat", "elsewhere")
WORDS = ("plain", "fine", *ODD)


@dataclass(frozen=True)
class Rig:
    """A suite whose circuits say how agents misbehave on them."""

    folder: Path
    suite: Suite

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    def some(self, *words: str) -> Suite:
        """The suite with some of its circuits."""
        (part,) = self.suite.parts
        chosen = tuple(c for c in part.circuits if c.gold_id.removesuffix("-01") in words)
        return Suite("small", (SuitePart(chosen, part.folder),))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the tests' own modules."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def rig(tmp_path: Path, small_gold: GoldCircuit, small_graph: AttributionGraph) -> Rig:
    return Rig(tmp_path / "gold", small_suite(tmp_path / "gold", small_gold, small_graph, WORDS))


def settings(**given: Any) -> RunSettings:
    return RunSettings(**{"jobs": 1, "shufflings": 0, "case_seconds": 300.0, "interventions": False, **given})


def results_in(folder: Path) -> dict[str, Path]:
    return {p.relative_to(folder).as_posix(): p for p in folder.glob("cases/*/*/*/*-01.json")}


def test_agents_that_misbehave_lose_their_cases_and_nothing_else(rig: Rig, tmp_path: Path) -> None:
    store = BenchStore(tmp_path / "out")
    agents = [canned("good", rig.reports, good=True), canned("odd", rig.reports)]
    told: list[tuple[int, int, bool]] = []
    bench = run_bench(
        agents,
        [rig.suite],
        store,
        settings(jobs=2, case_seconds=6.0),
        lambda done, total, result, reused: told.append((done, total, reused)),
    )
    assert told == [(number, 16, False) for number in range(1, 17)]
    assert [r.status for r in bench.of("good")] == ["scored"] * 8
    failures = {r.gold_id.removesuffix("-01"): r.failure for r in bench.failures("odd")}
    assert {word: failure.kind for word, failure in failures.items() if failure is not None} == {
        "crash": "crash",
        "kill": "crash",
        "hang": "timeout",
        "bug": "agent error",
        "cheat": "dishonest cost",
        "elsewhere": "scoring",
    }
    assert failures["bug"] is not None and "RuntimeError: lost the thread" in failures["bug"].message
    assert all(r.scores is None for r in bench.failures())
    for result in bench.results:
        assert store.read_result("small", result.agent, 0, result.gold_id) == result
    (row, other) = (make_leaderboard(bench).suites[0].row(agent) for agent in ("odd", "good"))
    assert (row.n_scored, row.n_failed, row.missing) == (2, 6, 0)
    assert row.failures == {"crash": 2, "timeout": 1, "agent error": 1, "dishonest cost": 1, "scoring": 1}
    average = row.averages["selection.f1"]
    assert average is not None and average.n_cases == 2, "a failed case enters no average"
    assert other.n_failed == 0
    (compared,) = make_leaderboard(bench).suites[0].comparisons
    difference = compared.differences["overall"]
    assert difference is not None and (difference.value, difference.n_cases) == (0.0, 2)

    # the next run tries what failed again, and nothing else
    reused: list[bool] = []
    repaired = [canned("good", rig.reports, good=True), canned("odd", rig.reports)]
    (rig.reports / "never").touch()
    again = run_bench(
        repaired, [rig.some("plain", "bug")], store, settings(), lambda d, t, result, kept: reused.append(kept)
    )
    assert sorted(reused) == [False, True, True, True]
    assert again.failures()[0].gold_id == "bug-01"


def without_seconds(path: Path) -> Any:
    document = json.loads(path.read_text(encoding="utf-8"))
    document["cost"].pop("seconds")
    document["cost"].pop("seconds_by_step", None)
    return document


def test_results_do_not_depend_on_the_number_of_workers(rig: Rig, tmp_path: Path) -> None:
    agents = [canned("a", rig.reports, good=True), canned("b", rig.reports, good=True)]
    found = []
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        run_bench(agents, [rig.some("plain", "fine", "bug")], BenchStore(folder), settings(jobs=jobs, shufflings=3))
        files = [*results_in(folder).values(), *folder.glob("cases/*/*/*/*.report.json")]
        found.append({p.relative_to(folder).as_posix(): without_seconds(p) for p in files})
    assert len(found[0]) == 2 * 2 * 3
    assert found[0] == found[1]


_RUN = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.evals.bench_fakes import canned
from tracescribe.evals.benchmark.running import RunSettings, run_bench
from tracescribe.evals.benchmark.store import BenchStore
from tracescribe.evals.benchmark.suites import Suite, SuitePart
from tracescribe.evals.gold import read_gold
if __name__ == "__main__":
    suite = Suite("small", (SuitePart(read_gold(Path({gold!r})).circuits, Path({folder!r})),))
    run_bench([canned("slow", Path({reports!r}), good=True, slow=True)], [suite], BenchStore(Path({out!r})),
              RunSettings(shufflings=0, case_seconds=300.0, interventions=False),
              progress=lambda done, total, result, reused: print(done, flush=True))
"""


def test_a_run_that_is_killed_goes_on_where_it_stopped(rig: Rig, tmp_path: Path) -> None:
    gold, out = tmp_path / "gold.json", tmp_path / "out"
    circuits = [circuit.model_dump(mode="json") for circuit in rig.suite.circuits]
    gold.write_text(json.dumps({"schema_id": "tracescribe-gold-set/2", "name": "small", "circuits": circuits}))
    names = {"root": str(ROOT), "gold": str(gold), "folder": str(rig.folder), "reports": str(rig.reports)}
    (tmp_path / "run.py").write_text(_RUN.format(out=str(out), **names))
    process = subprocess.Popen([sys.executable, str(tmp_path / "run.py")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:  # killed while the third case runs
        if line.startswith("2"):
            break
    # meanwhile nobody else may work in the folder
    slow = [canned("slow", rig.reports, good=True, slow=True)]
    with pytest.raises(RunLockedError, match=rf"another process \({process.pid}\) works in"):
        run_bench(slow, [rig.suite], BenchStore(out), settings())
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    finished = {path: path.stat().st_mtime_ns for path in results_in(out).values()}
    assert 2 <= len(finished) < len(WORDS)
    for path in finished:
        assert CaseResult.model_validate_json(path.read_text()).status == "scored"
    unfinished = read_bench(BenchStore(out))
    assert (len(unfinished.results), unfinished.missing) == (len(finished), len(WORDS) - len(finished))
    reused: list[bool] = []
    bench = run_bench(slow, [rig.suite], BenchStore(out), settings(), lambda d, t, r, kept: reused.append(kept))
    assert (sum(reused), len(reused)) == (len(finished), len(WORDS))
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not bench.missing and not bench.failures()


def test_what_decides_a_result_decides_whether_it_is_used_again(rig: Rig, tmp_path: Path) -> None:
    store, seen = BenchStore(tmp_path / "out"), tmp_path / "seen"

    def run(number: int = 0, *, notes: list[str] | None = None, **given: Any) -> tuple[int, BenchResult]:
        seen.write_text("")
        agents = [canned("a", rig.reports, good=True, seen=str(seen), settings=number)]
        told = notes if notes is not None else []
        bench = run_bench(agents, [rig.some("plain", "fine")], store, settings(**given), note=told.append)
        return len(seen.read_text().split()), bench

    assert run()[0] == 2
    assert run()[0] == 0
    assert run(jobs=2, case_seconds=200.0)[0] == 0, "how fast and how long is no part of a result"
    assert run(1)[0] == 2, "other settings of the agent"
    assert run(1, budget=Budget(experiments=1))[0] == 2, "another budget"
    held = run(1, budget=Budget(experiments=1), shufflings=2)
    assert held[0] == 0, "other scores of the same reports"
    assert all(result.control is not None for result in held[1].results)
    assert run(1, budget=Budget(experiments=1), shufflings=2, reuse=False)[0] == 2, "--fresh"

    # edited by hand, or damaged: told, and run again
    notes: list[str] = []
    same = {"budget": Budget(experiments=1), "shufflings": 2}
    paths = sorted(results_in(store.folder).values())
    paths[0].write_text(paths[0].read_text()[:-40])
    document = json.loads(paths[1].read_text())
    paths[1].write_text(json.dumps(document | {"gold_id": "other-01"}))
    assert run(1, notes=notes, **same)[0] == 2
    assert [note.rpartition("; ")[2] for note in notes] == ["the case is run again"] * 2
    assert "is damaged" in notes[1] or "is damaged" in notes[0]
    paths[0].write_text(json.dumps(document | {"status": "splendid"}))
    assert "status" in read_bench(store).damaged[0]


def test_gold_that_does_not_fit_stops_the_run(rig: Rig, tmp_path: Path) -> None:
    """A fault of the benchmark itself must never be booked as a failure of the agent."""
    (part,) = rig.some("plain").parts
    wrong = part.circuits[0].model_copy(update={"selected": (*part.circuits[0].selected, "9_9_9")})
    suite = Suite("small", (SuitePart((wrong,), part.folder),))
    with pytest.raises(GoldFormatError, match="9_9_9"):
        run_bench([canned("a", rig.reports)], [suite], BenchStore(tmp_path / "out"), settings())
    assert not results_in(tmp_path / "out")


def test_calls_that_make_no_sense(rig: Rig, tmp_path: Path) -> None:
    store, agent = BenchStore(tmp_path / "out"), canned("a", rig.reports)
    with pytest.raises(SettingError, match="agents need different names, found 'a' more than once"):
        run_bench([agent, agent], [rig.suite], store)
    with pytest.raises(SettingError, match="a benchmark needs agents"):
        run_bench([], [rig.suite], store)
    with pytest.raises(SettingError, match="suites need different names"):
        run_bench([agent], [rig.suite, rig.suite], store)
    with pytest.raises(SettingError, match="no gold circuit belongs to task 'chess'; tasks are odd, even"):
        choose([rig.suite], Choice(tasks=("chess",)))
    with pytest.raises(SettingError, match="limit is 0"):
        Choice(limit=0)
    with pytest.raises(SettingError, match="suite empty has no circuits"):
        Suite("empty", ())
    with pytest.raises(SettingError, match="gold id plain-01 is used 2 times"):
        Suite("twice", rig.some("plain").parts * 2)
    with pytest.raises(SettingError, match="plain-01 has neither weights nor a graph"):
        Suite("bare", (SuitePart(rig.some("plain").circuits),))
    unfit: tuple[dict[str, Any], ...] = ({"seeds": ()}, {"seeds": (1, 1)}, {"jobs": 0}, {"case_seconds": 0.0})
    for wrong in unfit:
        with pytest.raises(SettingError):
            RunSettings(**wrong)
    with pytest.raises(InputError, match="give a folder that 'tracescribe bench run' wrote"):
        read_bench(store)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        run_bench([agent], [rig.suite], BenchStore(tmp_path / "file"))


def test_what_is_chosen(rig: Rig) -> None:
    (few,) = choose([rig.suite], Choice(limit=1))
    assert [circuit.gold_id for circuit in few.circuits] == ["plain-01", "fine-01"]
    (odd,) = choose([rig.suite], Choice(tasks=("odd",)))
    assert {circuit.family for circuit in odd.circuits} == {"odd"}
    (part,) = rig.suite.parts
    harmful = part.circuits[0].model_copy(update={"tags": ("sensitive",)})
    suite = Suite("small", (SuitePart((harmful, *part.circuits[1:]), part.folder),))
    (kept,) = choose([suite], Choice(sensitive=False))
    assert len(kept.circuits) == len(WORDS) - 1


def test_agents_that_cost_money_stop_at_the_runs_limit(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dear(*given: Any) -> CaseResult:
        result = scored_case(*given)
        return result.model_copy(update={"cost": result.cost.model_copy(update={"usd": 1.0})})

    monkeypatch.setattr("tracescribe.evals.benchmark.scheduling.scored_case", dear)
    suite, reports = rig.some("plain", "fine", "bug", "hang"), rig.reports
    agents = [canned("paid", reports, paid=True, good=True), canned("free", reports, good=True)]
    notes: list[str] = []
    bench = run_bench(agents, [suite], BenchStore(tmp_path / "out"), settings(max_usd=2.0), note=notes.append)
    assert len(bench.of("free")) == 4
    assert 1 <= len(bench.of("paid")) < 4
    assert bench.missing == 4 - len(bench.of("paid"))
    (note,) = notes
    assert "its limit is 2: paid cases that wait are left out" in note
    row = make_leaderboard(bench).suites[0].row("paid")
    assert (row.missing, row.cost.usd) == (bench.missing, float(row.n_scored))
    again = run_bench(agents, [suite], BenchStore(tmp_path / "out"), settings())
    assert not again.missing


def test_repeated_seeds_are_one_case_each_and_tell_how_stable_an_agent_is(rig: Rig, tmp_path: Path) -> None:
    agents = [canned("a", rig.reports, good=True)]
    bench = run_bench(agents, [rig.some("plain", "fine", "bug")], BenchStore(tmp_path / "out"), settings(seeds=(4, 5)))
    assert [(r.gold_id, r.seed) for r in bench.results][:2] == [("plain-01", 4), ("plain-01", 5)]
    row = make_leaderboard(bench).suites[0].row("a")
    found, same = row.averages["selection.auc"], row.averages["stability.jaccard"]
    assert found is not None and (found.n_cases, found.n_runs) == (3, 6)
    assert same is not None and same.value == 1.0


def test_tables(rig: Rig, tmp_path: Path) -> None:
    hostile = "a|b <script>`x`\x1b[31m"
    agents = [canned(hostile, rig.reports, good=True), canned("odd", rig.reports)]
    chosen = rig.some("plain", "fine", "bug")
    bench = run_bench(agents, [chosen], BenchStore(tmp_path / "out"), settings(shufflings=2))
    board = make_leaderboard(bench)
    document = json.loads(json.dumps(board.to_json(), allow_nan=False))
    (suite,) = document["suites"]
    assert {row["agent"] for row in suite["agents"]} == {hostile, "odd"}
    assert {metric["name"] for metric in document["metrics"]} == {metric.name for metric in ALL_METRICS}
    assert suite["main"][0] == "overall" and set(suite["tasks"]) == {"odd", "even"}
    assert [bool(row["control"]) for row in suite["agents"] if row["agent"] == hostile] == [True]
    assert suite["comparisons"][0]["differences"]["overall"]["p_holm"] is not None
    text = markdown(board)
    assert "<script>" not in text and "\x1b" not in text.replace(hostile, "")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    counts = {line.count("|") - line.count("\\|") for line in tables[:5]}
    assert len(counts) == 1, "a name ends no cell"
    assert "1 agent error" in text
    assert len(rich_tables(board)) == 2
    told = " ".join(sentences(board.suites[0]))
    assert "overall level" in told


def test_predictions_are_what_reports_say(rig: Rig, tmp_path: Path) -> None:
    store, suite = BenchStore(tmp_path / "out"), rig.some("plain", "crash")
    run_bench([canned("odd", rig.reports)], [suite], store, settings())
    found = predictions_of(store, [suite], 0, "odd")
    assert list(found) == ["plain-01"], "a failed case has no prediction"
    file = write_predictions(store, [suite], 0, "odd", tmp_path / "p.json")
    document = json.loads(file.read_text())
    assert set(document["plain-01"]) == {"selected", "scores", "groups", "labels"}
    assert set(document["plain-01"]["selected"]) == set(found["plain-01"].selected)


def test_names_make_safe_folders() -> None:
    assert folder_name("eap-ig") == "eap-ig"
    names = ["llm (openai/gpt-x)", "llm-openai-gpt-x", "../../etc/passwd", "…", "..", "A", "a", "x" * 500, ""]
    folders = [folder_name(name) for name in names]
    assert len(set(folders)) == len(names)
    assert all("/" not in folder and folder.strip(".") and len(folder) < 100 for folder in folders)
