"""The benchmark within Inspect AI: the same scores as `bench run`, failures told, and no gold in its logs."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tracescribe.evals.benchmark.results import CaseCost, CaseFailure, CaseResult
from tracescribe.evals.benchmark.suites import Suite
from tracescribe.evals.gold import CANARY
from tracescribe.runs.bench_suites import Weights, open_suites
from tracescribe.runs.inspect_bench import BatchedBench, shown_summary
from tracescribe.tracer.errors import InputError, TracescribeError, UnknownIdError, WorkError


@cache
def oracle_suite() -> Suite:
    """The oracle's suite, read once."""
    (suite,) = open_suites(("oracle",), Weights()).suites
    return suite


def batched(folder: Path, agent: str = "position") -> BatchedBench:
    suite = oracle_suite()
    return BatchedBench.prepare(suite, agent, 0, jobs=1, seconds=None, max_usd=None, interventions=False, folder=folder)


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[BatchedBench, list[list[str]]]:
    """A bench whose runner notes which cases it is given, and runs none."""
    bench, batches = batched(tmp_path), []

    def run(gold_ids: frozenset[str]) -> dict[str, CaseResult]:
        batches.append(sorted(gold_ids))
        failure = CaseFailure(kind="crash", message="gone")
        cost = CaseCost(seconds=0.0)
        return {
            one: CaseResult(
                agent="a",
                suite="s",
                gold_id=one,
                family="f",
                specification="x",
                status="failed",
                failure=failure,
                cost=cost,
            )
            for one in gold_ids
            if one != "people-01"
        }

    monkeypatch.setattr(bench, "_run", run)
    return bench, batches


def ask(bench: BatchedBench, gold_ids: list[str]) -> dict[str, CaseResult | TracescribeError]:
    """All at once, each from a thread of its own, as a harness does."""
    found: dict[str, CaseResult | TracescribeError] = {}

    def one(gold_id: str) -> None:
        try:
            found[gold_id] = bench.result(gold_id)
        except TracescribeError as error:
            found[gold_id] = error

    threads = [threading.Thread(target=one, args=(gold_id,)) for gold_id in gold_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    return found


def test_cases_that_are_asked_for_together_are_run_together_and_once(
    counted: tuple[BatchedBench, list[list[str]]],
) -> None:
    bench, batches = counted
    wanted = ["states-01", "states-02", "addition-01"]
    found = ask(bench, wanted)
    assert batches == [sorted(wanted)] and set(found) == set(wanted)
    assert ask(bench, ["states-01", "addition-02"]).keys() == {"states-01", "addition-02"}
    assert batches[1:] == [["addition-02"]]
    result = found["states-01"]
    assert isinstance(result, CaseResult) and shown_summary(bench.folder, result) == "failed: crash: gone"


def test_a_case_that_the_run_lost_and_one_that_is_not_there_are_errors(
    counted: tuple[BatchedBench, list[list[str]]],
) -> None:
    bench, _ = counted
    found = ask(bench, ["people-01", "people-02", "nowhere"])
    assert isinstance(found["people-01"], WorkError) and isinstance(found["nowhere"], UnknownIdError)
    assert isinstance(found["people-02"], CaseResult)


def test_an_error_of_the_benchmark_reaches_all_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = batched(tmp_path)

    def fails(gold_ids: frozenset[str]) -> Any:
        raise InputError("no weights")

    monkeypatch.setattr(bench, "_run", fails)
    found = ask(bench, ["states-01", "states-02"])
    assert all(isinstance(one, InputError) for one in found.values()) and len(found) == 2


def test_what_a_harness_writes_down_of_it_holds_no_gold(tmp_path: Path) -> None:
    assert repr(batched(tmp_path)) == "BatchedBench('position' on 'oracle')"


def test_no_such_agent(tmp_path: Path) -> None:
    with pytest.raises(TracescribeError, match="no agent 'nobody-at-all'"):
        batched(tmp_path, "nobody-at-all")


@pytest.fixture
def inspect_ai() -> Iterator[Any]:
    """The harness, whose own streams are collected before anyone looks for what was left open."""
    yield pytest.importorskip("inspect_ai", reason="the extra `inspect` is not installed")
    gc.collect()


UNCLOSED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@UNCLOSED
def test_inspect_runs_the_suite(tmp_path: Path, inspect_ai: Any) -> None:
    from tracescribe.runs.inspect_tasks import oracle

    task = oracle(agent="position", tasks="states", limit=2, folder=str(tmp_path / "run"))
    (log,) = inspect_ai.eval(task, log_dir=str(tmp_path / "logs"), display="none")
    assert log.status == "success" and len(log.samples) == 2
    text = log.model_dump_json()
    assert CANARY.rsplit(" ", 1)[1] not in text and "accepted_labels" not in text
    (scores,) = log.results.scores
    assert scores.metrics["scored"].value == 2 and scores.metrics["failed"].value == 0
    bench = batched(tmp_path / "run")
    for sample in log.samples:
        own = bench.result(sample.id)  # reused from the folder: the same specification
        assert own.scores is not None
        told = sample.scores["against_gold"].value
        assert told["grouping.placed_b3_f1"] == own.scores.value("grouping.placed_b3_f1")
    assert isinstance(bench.suite, Suite)


@UNCLOSED
def test_a_failing_agent_is_told_as_failed(tmp_path: Path, inspect_ai: Any) -> None:
    from tracescribe.runs.inspect_tasks import oracle

    task = oracle(agent="exec:/bin/false", tasks="states", limit=1, folder=str(tmp_path / "run"))
    (log,) = inspect_ai.eval(task, log_dir=str(tmp_path / "logs"), display="none")
    (scores,) = log.results.scores
    assert scores.metrics["failed"].value == 1 and "overall" not in scores.metrics
    assert log.samples[0].scores["against_gold"].explanation
