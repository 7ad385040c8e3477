"""How a running job is shown: guesses from a steady clock, few lines without a terminal, no text that is obeyed."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace

import pytest
import sqlalchemy as sa
from rich.console import Console

from tests.runs.job_results.stored_jobs import HOSTILE, CaseSpec, add_job, add_worker
from tracescribe.runs.jobs.display import JobDisplay, job_display, line, picture, watch_job
from tracescribe.runs.jobs.listing import JobRow, WorkerRow
from tracescribe.runs.jobs.lookup import open_reader
from tracescribe.runs.jobs.progress import JobObserver, JobProgress, WorkerProgress
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.tables import cases, jobs, workers

JOB = JobRow(
    job_id="abcd2345", name="n", status="running", agent="offline", model="embedded", n_cases=10_000,
    cases={"done": 0}, failures={}, paid_usd=0.0, reserved_usd=0.0, usd_limit=None, created_at=0.0, created_by="me",
    started_at=0.0, finished_at=None, message=None, specification_sha256="", model_sha256=None, transcoders_sha256=None,
)  # fmt: skip


@dataclass
class Clock:
    """Seconds that pass when told."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def at(done: int, **changes: object) -> JobProgress:
    """A look with so many cases done."""
    row = JOB._replace(cases={"done": done, "running": 2, "waiting": JOB.n_cases - done - 2})._replace(**changes)  # type: ignore[arg-type]
    worker = WorkerRow("w1", "worker", "here", 7, "alive", 1, 0.0, "abcd2345.1", "a title", 0.0)
    return JobProgress(row, (WorkerProgress(worker, 0.0, 1.0),), 1.0, 60.0)


def recorded(width: int = 100, terminal: bool = False) -> Console:
    """A console whose text is kept."""
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=True,
    )


def text_of(console: Console) -> str:
    """What was written."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("hours", "per_second"), [(0.05, 0.0), (10, 0.0), (10, 0.25), (0.5, 5.0)])
def test_without_a_terminal_there_are_few_lines_however_long_it_takes(hours: float, per_second: float) -> None:
    console, clock = recorded(), Clock()
    shown = JobDisplay(console, clock)
    for second in range(0, int(3600 * hours), 4):
        clock.now = float(second)
        shown.show(at(min(JOB.n_cases, int(second * per_second))))
    shown.finish(at(JOB.n_cases))
    lines = text_of(console).splitlines()
    assert 2 <= len(lines) <= 130
    if not per_second:
        assert len(lines) <= 3600 * hours / 30 + 2, "what does not change is not repeated every few seconds"
    assert lines[-1].startswith("abcd2345 running: 10,000/10,000 cases (100 %)")


def test_a_job_that_is_over_when_somebody_looks_is_told_once() -> None:
    console = recorded()
    shown = JobDisplay(console, Clock())
    shown.show(at(10_000, status="done"))
    shown.finish(at(10_000, status="done"))
    assert text_of(console) == "abcd2345 done: 10,000/10,000 cases (100 %)\n"


def test_each_twentieth_is_told_at_once() -> None:
    console, clock = recorded(), Clock()
    shown = JobDisplay(console, clock)
    for done in range(0, JOB.n_cases + 1, 100):
        clock.now += 0.01
        shown.show(at(done))
    assert len(text_of(console).splitlines()) == 21


@pytest.mark.parametrize("width", [20, 40, 80, 300])
def test_the_picture_fits_every_terminal_and_obeys_no_text(width: int) -> None:
    worker = WorkerRow("w1", "worker", HOSTILE, 7, "alive", 1, 0.0, "c", HOSTILE, 0.0)
    look = at(4000, name=HOSTILE, failures={HOSTILE: 3, "timeout": 2}, usd_limit=9.0, paid_usd=1.5)
    look = replace(look, workers=tuple(WorkerProgress(worker, silent, 5.0) for silent in (0.0, 99.0, *[0.0] * 20)))
    console = recorded(width)
    console.print(picture(look))
    shown = text_of(console)
    assert "\x1b" not in shown and "\u202e" not in shown
    assert max(len(row) for row in shown.splitlines()) <= width
    assert len(shown.splitlines()) < 40
    if width >= 80:
        for words in ("4,000/10,000", "$1.50 of $9.00", "14 more", "silent for 2 min", "1.0 cases/s"):
            assert words in shown, words
    assert "\n" not in line(look) and len(line(look)) < 2000


def test_a_live_picture_is_taken_away_at_the_end() -> None:
    console = recorded(terminal=True)
    shown = JobDisplay(console)
    shown.show(at(5))
    shown.finish(at(10_000, status="done", message="all is\nwell"))
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text_of(console)).splitlines()[-2:]
    assert last == ["abcd2345 done: 10,000/10,000 cases (100 %)", "all is well"]


def finish_some(store: Store, n: int, seconds: float) -> None:
    """Let waiting cases finish, and workers beat."""
    chosen = sa.select(cases.c.case_id).where(cases.c.status == "waiting").order_by(cases.c.position).limit(n)
    ids = store.read(lambda connection: list(connection.execute(chosen).scalars()))
    done = sa.update(cases).where(cases.c.case_id.in_(ids)).values(status="done", finished_at=1.0, seconds=seconds)
    store.write(lambda connection: connection.execute(done) and None)
    store.write(lambda connection: connection.execute(sa.update(workers).values(beat=workers.c.beat + 1)) and None)


def test_the_time_left_comes_from_durations_first_and_from_what_was_seen_then(store: Store) -> None:
    add_job(store, "aaaa", [CaseSpec(f"{i}", "waiting") for i in range(200)], status="running")
    clock = Clock()
    observer = JobObserver("aaaa", clock)
    with open_reader(store.address) as reader:
        first = observer.look(reader)
        assert first.abandoned and first.seconds_left is None and "nobody works on it" in line(first)
        add_worker(store, "s1", "aaaa", kind="supervisor")
        assert "workers are starting" in line(observer.look(reader))
        for name in ("w1", "w2"):
            add_worker(store, name, "aaaa")
        finish_some(store, 2, seconds=10.0)
        guess = observer.look(reader)
        assert guess.rate == pytest.approx(2 / 10) and guess.seconds_left == pytest.approx(198 / 0.2)
        seen = guess
        for _ in range(30):
            clock.now += 4.0
            finish_some(store, 2, seconds=10.0)
            seen = observer.look(reader)
        assert seen.rate == pytest.approx(0.5) and seen.seconds_left == pytest.approx(138 / 0.5)
        clock.now += 60.0
        silent = observer.look(reader)
        assert [one.silent for one in silent.workers] == [60.0, 60.0] and silent.abandoned


def test_watching_ends_with_the_job_and_says_how_it_stands(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add_job(store, "aaaa", [CaseSpec("a"), CaseSpec("b", "failed", failure=("timeout", "x"))], status="running")
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        done = sa.update(jobs).values(status="stopped", message="budget used up")
        store.write(lambda connection: connection.execute(done) and None)

    monkeypatch.setattr("tracescribe.runs.jobs.display.time.sleep", nap)
    console = recorded()
    seen = watch_job(store.address, "aaaa", console)
    assert seen is not None and seen.job.status == "stopped" and naps
    assert text_of(console).splitlines()[-2:] == [
        "aaaa stopped: 2/2 cases (100 %), 1 failed (1 timeout)",
        "budget used up",
    ]


def test_the_display_never_ends_a_run(store: Store) -> None:
    add_job(store, "aaaa", [CaseSpec("a")], status="running")
    console = recorded()
    with job_display(store.address, "aaaa", console) as shown:
        shown.note("something\x1b[31m happened")
        shown.note("something\x1b[31m happened")
    with job_display(store.address, "gone", console):
        pass
    told = text_of(console)
    assert told.count("happened") == 1 and "\x1b" not in told and "1/1 cases" in told and "no job gone here" in told
