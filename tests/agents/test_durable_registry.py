"""The registry's log on disk: whatever a kill leaves of it, going on gives the same registry, and nothing is run twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents.test_registry import measurement, plan, supernode
from tracescribe.agents.budget import Budget
from tracescribe.agents.claims import NecessityClaim
from tracescribe.agents.durable.registry_file import RegistryFile
from tracescribe.agents.findings import ExperimentPlan, Measurement
from tracescribe.agents.registration import RegistryLogError
from tracescribe.agents.registry import ClaimRegistry
from tracescribe.agents.registry_log import LogLine, RegistryMark
from tracescribe.agents.run_account import RunAccount
from tracescribe.tracer.errors import RegistrationError

CLAIMS = 3


def claim(number: int) -> NecessityClaim:
    return NecessityClaim(claim_id=f"c{number}", statement="x", supernode="s1", target_token="Austin")


def plan_of(number: int) -> ExperimentPlan:
    return plan(claim(number)).model_copy(update={"plan_id": f"p-c{number}"})


def result_of(number: int) -> Measurement:
    return measurement(1.0 / 3.0 + number).model_copy(update={"plan_id": f"p-c{number}"})


def work(registry: ClaimRegistry) -> list[str]:
    """What the loop does in `register` and `experiment`; returns the claims whose experiments were run."""
    registry.define(supernode())
    for number in range(CLAIMS):
        registry.register(claim(number))
    run = []
    for number in range(CLAIMS):
        known = registry.recall(claim(number))
        if known is None:
            registry.plan(plan_of(number))
            run.append(f"c{number}")
            registry.measure(plan_of(number), result_of(number))
        else:
            assert known[:2] == (plan_of(number), result_of(number))
    registry.report("r1", "ab" * 32)
    return run


def opened(path: Path, mark: RegistryMark | None = None) -> ClaimRegistry:
    log = RegistryFile(path)
    registry = ClaimRegistry(log, log.lines)
    registry.go_on_from(mark or RegistryMark())
    return registry


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """The log of an uninterrupted run."""
    path = tmp_path / "whole.jsonl"
    assert work(opened(path)) == ["c0", "c1", "c2"]
    return path.read_bytes()


def test_a_kill_after_any_number_of_lines_leads_to_the_same_registry(tmp_path: Path, whole: bytes) -> None:
    lines = whole.splitlines(keepends=True)
    events = [json.loads(line)["entry"]["event"] for line in lines]
    for kept in range(len(lines) + 1):
        path = tmp_path / f"{kept}.jsonl"
        path.write_bytes(b"".join(lines[:kept]))
        run = work(opened(path))
        assert path.read_bytes() == whole
        assert len(run) == CLAIMS - events[:kept].count("measured")  # what was measured is not run again


def test_a_kill_in_the_middle_of_a_line_loses_that_line_alone(tmp_path: Path, whole: bytes) -> None:
    for cut in range(0, len(whole), 97):
        path = tmp_path / f"{cut}.jsonl"
        path.write_bytes(whole[:cut])
        work(opened(path))
        assert path.read_bytes() == whole
        torn = whole[:cut].rpartition(b"\n")[2]
        aside = path.with_name(path.name + ".torn")
        assert (aside.read_bytes() if aside.exists() else b"") == (torn + b"\n" if torn else b"")


def test_many_kills_in_one_run(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "log.jsonl"
    ran: list[str] = []
    for _ in range(len(whole.splitlines())):
        log = RegistryFile(path)
        registry = ClaimRegistry(_Dying(log), log.lines)
        registry.go_on_from(RegistryMark())
        with pytest.raises(_KilledError):
            ran += work(registry)
    assert path.read_bytes() == whole
    assert work(opened(path)) == []


class _KilledError(BaseException):
    """Stands for a kill: nothing may catch it."""


class _Dying:
    """A log whose process dies right after it wrote one line."""

    def __init__(self, log: RegistryFile) -> None:
        self._log = log

    def append(self, line: LogLine, *, lasting: bool) -> None:
        self._log.append(line, lasting=lasting)
        raise _KilledError

    def sync(self) -> None:
        raise AssertionError("nothing is left to do in a dead process")


def test_what_stood_before_the_checkpoint_may_not_be_done_again(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(whole)
    log = RegistryFile(path)
    registry = ClaimRegistry(log, log.lines)
    registry.go_on_from(registry.mark)
    assert registry.recall(claim(0)) is None
    with pytest.raises(RegistrationError, match="append-only"):
        registry.register(claim(0))


def test_another_claim_under_a_logged_id_is_refused(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(whole)
    other = claim(0).model_copy(update={"min_effect": 0.1})
    acts: list[Callable[[ClaimRegistry], object]] = [lambda r: r.register(other), lambda r: r.recall(other)]
    for act in acts:
        with pytest.raises(RegistryLogError, match="start again with --fresh"):
            act(opened(path))


def _drop_last(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def _drop_first(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


def _swap(lines: list[bytes]) -> list[bytes]:
    return [lines[1], lines[0], *lines[2:]]


def _no_json(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b"{]\n", *lines[2:]]


def _other_effect(lines: list[bytes]) -> list[bytes]:
    """A measurement made better than it was, its entry left as it is."""
    at = next(n for n, line in enumerate(lines) if b'"measurement"' in line)
    changed = json.loads(lines[at])
    changed["measurement"]["effect"] = 9.0
    return [*lines[:at], json.dumps(changed).encode() + b"\n", *lines[at + 1 :]]


def _two_contents(lines: list[bytes]) -> list[bytes]:
    changed = json.loads(lines[1]) | {"supernode": json.loads(lines[0])["supernode"]}
    return [lines[0], json.dumps(changed).encode() + b"\n", *lines[2:]]


@pytest.mark.parametrize("damage", [_drop_last, _drop_first, _swap, _no_json, _other_effect, _two_contents])
def test_a_damaged_log_is_refused(tmp_path: Path, whole: bytes, damage: Callable[[list[bytes]], list[bytes]]) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(whole)
    mark = opened(path).mark
    path.write_bytes(b"".join(damage(whole.splitlines(keepends=True))))
    with pytest.raises(RegistryLogError) as told:
        opened(path, mark)
    assert "start again with --fresh" in str(told.value)


def test_a_recalled_experiment_costs_what_it_cost(tmp_path: Path) -> None:
    """Meter and charged prompts of a run that takes a measurement from the log equal those of the run that made it."""
    path = tmp_path / "log.jsonl"

    def account() -> RunAccount:
        made = RunAccount(Budget())
        log = RegistryFile(path)
        made.keep_in(ClaimRegistry(log, log.lines))
        return made

    first = account()
    first.registry.define(supernode())
    for number in range(2):
        first.registry.register(claim(number))
    checkpoint = first.snapshot()
    for number in range(2):
        first.meter.charge(experiments=1)
        first.registry.plan(plan_of(number))
        first.charge_once("clean 1 2 3")
        first.charge_passes(50 + number)
        first.registry.measure(plan_of(number), result_of(number))
    after = first.snapshot()

    second = account()
    second.restore(checkpoint)
    assert [second.recall(claim(n)) for n in range(2)] == [(plan_of(n), result_of(n)) for n in range(2)]
    again = second.snapshot()
    assert again.meter.model_copy(update={"seconds": 0.0}) == after.meter.model_copy(update={"seconds": 0.0})
    assert again.charged == after.charged == ("clean 1 2 3",)
    assert second.meter.forward_passes == 102
    second.charge_once("clean 1 2 3")
    assert second.meter.forward_passes == 102
