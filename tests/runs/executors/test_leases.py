"""A case has one holder at most and is finished once, whatever workers do, in any order and all at once."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from sqlalchemy import select, update

from tests.runs.executors.case_functions import Repeat
from tests.runs.executors.small_jobs import put_job
from tracescribe.runs.executors import leases
from tracescribe.runs.executors.case_queue import NoLease, lease_next
from tracescribe.runs.executors.contract import CaseFailed, CaseLease, CaseOutcome
from tracescribe.runs.executors.liveness import new_worker_id, register
from tracescribe.runs.jobs.records import CaseFigures
from tracescribe.runs.store.database import Store, open_store, parse_address
from tracescribe.runs.store.errors import LeaseLostError
from tracescribe.runs.store.tables import artefact_uses, audit_entries, cases, jobs

N_CASES = 5


def rows(store: Store) -> dict[str, Any]:
    """Every case as it stands, in the job's order."""
    found = store.read(lambda connection: connection.execute(select(cases).order_by(cases.c.position)).all())
    return {row.case_id: row for row in found}


def job_status(store: Store, job_id: str = "job") -> tuple[str, str | None]:
    """Of a job, with its message."""
    row = store.read(
        lambda connection: connection.execute(
            select(jobs.c.status, jobs.c.message).where(jobs.c.job_id == job_id)
        ).one()
    )
    return row.status, row.message


def worker(store: Store) -> str:
    """A worker that is alive."""
    name = new_worker_id()
    register(store, name, job_id="job")
    return name


def leased(store: Store, name: str) -> CaseLease:
    """The next case."""
    found = lease_next(store, "job", name)
    assert isinstance(found, CaseLease)
    return found


class Workers(RuleBasedStateMachine):
    """Several workers do all that they can do, with leases that may be long gone; beside it a plain model of who holds
    what."""

    held_once = Bundle("held_once")

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store = open_store(parse_address(str(self.folder / "store")), create=True)
        put_job(self.store, "job", [f"case {number}" for number in range(N_CASES)], max_crashes=3)
        self.alive = [worker(self.store) for _ in range(3)]
        self.holder: dict[str, CaseLease] = {}
        self.finished: Counter[str] = Counter()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    @rule(target=held_once, which=st.integers(0, 2))
    def lease(self, which: int) -> CaseLease | None:
        name = self.alive[which]
        mine = [lease for lease in self.holder.values() if lease.worker_id == name]
        found = lease_next(self.store, "job", name)
        if isinstance(found, NoLease):
            left = N_CASES - sum(self.finished.values()) - self.failed_by_crash()
            assert len(self.holder) == left
            assert found.reason == ("others" if left else "ended")
            return None
        if mine:  # it had forgotten what it holds, as after a commit of unknown outcome
            assert found == mine[0]
        else:
            assert found.case_id not in self.holder
            self.holder[found.case_id] = found
        return found

    @rule(lease=held_once, fails=st.booleans(), again=st.booleans())
    def finish(self, lease: CaseLease | None, fails: bool, again: bool) -> None:
        if lease is None:
            return
        outcome = CaseOutcome(figures=CaseFigures(answer=lease.case_id), seconds=1.0)
        if fails:
            outcome = replace(outcome, failure=CaseFailed("error", "it failed"))
        before = rows(self.store)[lease.case_id]
        ours = self.holder.get(lease.case_id) == lease
        same = (before.status, before.attempt, before.worker_id) == (
            "failed" if fails else "done",
            lease.attempt,
            lease.worker_id,
        )
        if not ours and not same:
            with pytest.raises(LeaseLostError):
                leases.finish(self.store, lease, outcome)
            assert rows(self.store)[lease.case_id] == before
            return
        leases.finish(self.store, lease, outcome)
        if again:
            leases.finish(self.store, lease, outcome)
        if ours:
            del self.holder[lease.case_id]
            self.finished[lease.case_id] += 1

    @rule(lease=held_once, crashed=st.booleans())
    def give_back(self, lease: CaseLease | None, crashed: bool) -> None:
        if lease is None:
            return
        ours = self.holder.get(lease.case_id) == lease
        assert leases.give_back(self.store, lease, crashed=crashed) == ours
        if ours:
            del self.holder[lease.case_id]

    @rule(lease=consumes(held_once))
    def time_out(self, lease: CaseLease | None) -> None:
        if lease is None:
            return
        ours = self.holder.get(lease.case_id) == lease
        failure = CaseFailed("timeout", "too slow")
        assert leases.fail_case(self.store, lease.case_id, lease.attempt, lease.worker_id, failure) == ours
        if ours:
            del self.holder[lease.case_id]
            self.finished[lease.case_id] += 1

    @rule(which=st.integers(0, 2), crashed=st.booleans())
    def die(self, which: int, crashed: bool) -> None:
        name = self.alive[which]
        mine = [lease for lease in self.holder.values() if lease.worker_id == name]
        assert leases.declare_dead(self.store, name, crashed=crashed) == len(mine)
        assert lease_next(self.store, "job", name) == NoLease("lost")
        for lease in mine:
            del self.holder[lease.case_id]
        self.alive[which] = worker(self.store)

    @rule(which=st.integers(0, 2))
    def found_dead_too_late(self, which: int) -> None:
        assert leases.declare_dead(self.store, self.alive[which], crashed=True, beat=7) == 0

    @rule()
    def reclaim(self) -> None:
        assert leases.reclaim(self.store, "job") == 0  # deaths returned all that there was

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        now = rows(self.store)
        assert {key: (row.worker_id, row.attempt) for key, row in now.items() if row.status == "running"} == {
            key: (lease.worker_id, lease.attempt) for key, lease in self.holder.items()
        }
        assert all(count == 1 for count in self.finished.values())
        assert all(now[key].status in ("done", "failed") for key in self.finished)
        told = self.store.read(
            lambda connection: (
                connection.execute(
                    select(audit_entries.c.subject).where(audit_entries.c.act.in_(("report finished", "case failed")))
                )
                .scalars()
                .all()
            )
        )
        assert Counter(subject for subject in told if subject in self.finished) == self.finished

    def failed_by_crash(self) -> int:
        return sum(row.failure_kind == "crash" for row in rows(self.store).values())


class MoreWorkers(Workers):
    """The same, for the long suites."""


Workers.TestCase.settings = settings(max_examples=6, stateful_step_count=20, deadline=None, derandomize=True)
MoreWorkers.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None, derandomize=True)
TestWorkers = Workers.TestCase
TestMoreWorkers = pytest.mark.batch(MoreWorkers.TestCase)


def test_many_workers_at_once_finish_each_case_once(any_store: Store) -> None:
    """Threads that lease, finish, give back and declare each other dead, all at once on a real database."""
    n_cases, n_threads = 40, 6
    put_job(any_store, "job", [f"case {number}" for number in range(n_cases)], max_crashes=1000)
    names: list[str] = [worker(any_store) for _ in range(n_threads)]
    finished: Counter[str] = Counter()
    lock = threading.Lock()
    faults: list[BaseException] = []

    def work(index: int) -> None:
        chance = random.Random(index)
        try:
            while True:
                name = names[index]
                found = lease_next(any_store, "job", name)
                if isinstance(found, NoLease):
                    if found.reason == "ended":
                        return
                    if found.reason == "lost":
                        names[index] = worker(any_store)
                    continue
                if chance.random() < 0.1:
                    leases.declare_dead(any_store, names[chance.randrange(n_threads)], crashed=True)
                if chance.random() < 0.1:
                    leases.give_back(any_store, found)
                    continue
                outcome = Repeat()(found, any_store, lambda: True)
                try:
                    following = leases.finish_and_lease(any_store, found, outcome)
                except LeaseLostError:
                    continue
                with lock:
                    finished[found.case_id] += 1
                if isinstance(following, CaseLease):
                    leases.give_back(any_store, following)
        except BaseException as error:
            faults.append(error)
            raise

    threads = [threading.Thread(target=work, args=(index,)) for index in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    now = rows(any_store)
    assert finished == Counter(dict.fromkeys(now, 1))
    assert {row.status for row in now.values()} == {"done"}
    assert job_status(any_store) == ("done", None)
    used = any_store.read(lambda connection: connection.execute(select(artefact_uses)).all())
    assert len(used) == n_cases
    any_store.artefacts.sweep(any_store)
    assert any_store.artefacts.read(used[0].sha256)


def test_cases_whose_worker_died_go_behind_the_others_and_fail_in_the_end(store: Store) -> None:
    put_job(store, "job", ["a", "b", "c"], max_crashes=2)
    order = []
    while not isinstance(found := lease_next(store, "job", name := worker(store)), NoLease):
        order.append(found.case_id)
        leases.declare_dead(store, name, crashed=True)
    assert order == ["job.0", "job.1", "job.2"] * 2
    assert {row.failure_kind for row in rows(store).values()} == {"crash"}
    assert job_status(store) == ("done", None)


def test_death_without_a_live_supervisor_blames_no_case(store: Store) -> None:
    put_job(store, "job", ["a"], max_crashes=1)
    for _ in range(3):
        leased(store, name := worker(store))
        leases.declare_dead(store, name, crashed=False)
    assert rows(store)["job.0"].status == "waiting"
    assert rows(store)["job.0"].crashes == 0


def test_the_job_budget_holds_although_cases_run_together(any_store: Store) -> None:
    """Cases are leased only while what was paid and what may yet be paid fit together; then the job stops and says so."""
    put_job(any_store, "job", [str(number) for number in range(6)], usd_limit=1.0, case_usd=0.4)
    first, second = leased(any_store, one := worker(any_store)), leased(any_store, two := worker(any_store))
    assert first.reserved_usd == 0.4
    assert lease_next(any_store, "job", worker(any_store)) == NoLease("budget")
    pay(any_store, first, 0.1)
    leases.finish(any_store, first, CaseOutcome())
    third = leased(any_store, one)  # 0.1 paid, 0.4 held, 0.4 more
    pay(any_store, second, 0.4)
    leases.finish(any_store, second, CaseOutcome())
    assert lease_next(any_store, "job", two) == NoLease("budget")
    pay(any_store, third, 0.3)
    leases.finish(any_store, third, CaseOutcome())
    assert lease_next(any_store, "job", one) == NoLease("ended")  # 0.8 of 1.0 are paid
    status, message = job_status(any_store)
    assert status == "stopped"
    assert message is not None and "0.8000 of 1.0000 USD" in message
    assert sorted(row.status for row in rows(any_store).values()) == ["done"] * 3 + ["waiting"] * 3


def pay(store: Store, lease: CaseLease, usd: float) -> None:
    """What the call log does when an answer was paid for."""
    row = cases.c
    paying = update(cases).where(row.case_id == lease.case_id)
    paying = paying.values(paid_usd=row.paid_usd + usd, reserved_usd=row.reserved_usd - usd)
    store.write(lambda connection: connection.execute(paying))


def test_a_cancelled_jobs_case_is_not_held_and_comes_back_cancelled(store: Store) -> None:
    put_job(store, "job", ["a", "b"])
    lease = leased(store, name := worker(store))
    assert leases.still_held(store, lease)
    store.write(lambda connection: connection.execute(update(jobs).values(status="cancelled")))
    assert not leases.still_held(store, lease)
    assert lease_next(store, "job", worker(store)) == NoLease("ended")
    assert leases.leave(store, name) == 1
    assert rows(store)["job.0"].status == "cancelled"


def test_stopping_tells_why_once(store: Store) -> None:
    put_job(store, "job", ["a"])
    assert leases.stop_job(store, "job", "wrong weights")
    assert not leases.stop_job(store, "job", "another reason")
    assert job_status(store) == ("stopped", "wrong weights")
