"""What batch jobs cost beside the work itself: leases, results, audit entries, processes; and how quick a look at jobs is.

Cases are of real form and do nothing, or sleep. A sleep takes no processor, so two workers need no more than two cores
even where those are slow; what a job takes beyond `cases x seconds / workers` is ours: starting and ending workers
included, and once more without them, as in a job that is long.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tracescribe.runs.benchmarks.figures import Figure, FigureBench
from tracescribe.runs.benchmarks.idle_cases import SleepingCase, put_idle_job
from tracescribe.runs.benchmarks.machine import describe_machine
from tracescribe.runs.executors.local_run import run_locally
from tracescribe.runs.store.database import StoreAddress, open_store, parse_address
from tracescribe.tracer.errors import InputError, WorkError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

NO_OP_LIMIT = "60 s for 10,000 cases on 2 cores"
SLEEP_LIMIT = "5 % at 1-second cases"
LOOK_LIMIT = "0.3 s with 100,000 cases"


@dataclass(frozen=True)
class SchedulingBenchSettings:
    """What is measured; 0 cases leave a part out.

    Attributes:
        cases: that do nothing.
        sleeping: that sleep a second each.
        stored: that lie in the store when jobs are listed and shown.
        workers: processes.
        repeats: of each look; the median is told.
        store: where; None for a folder that is removed afterwards. A store that holds jobs is refused.
    """

    cases: int = 10_000
    sleeping: int = 60
    stored: int = 100_000
    workers: int = 2
    repeats: int = 5
    store: str | None = None


def bench_scheduling(settings: SchedulingBenchSettings) -> FigureBench:
    """Measure all parts.

    Raises:
        InputError: the store holds jobs.
        StoreError: the store cannot be used.
        WorkError: a job did not end as it should.
    """
    rows: list[dict[str, Figure]] = []
    with _empty_store(settings.store) as address:
        if settings.cases:
            rows.append(_worked("cases that do nothing", address, "idle", settings, settings.cases, 0.0, NO_OP_LIMIT))
        if settings.sleeping:
            rows.append(_worked("1-second cases", address, "sleeping", settings, settings.sleeping, 1.0, SLEEP_LIMIT))
        if settings.stored:
            rows += _looks(address, settings)
        kind = address.url.partition(":")[0]
    return FigureBench(
        bench="jobs",
        settings={"workers": settings.workers, "store": kind if "://" in address.url else "sqlite"},
        machine=describe_machine(1),
        clock="wall",
        rows=tuple(rows),
        notes=(
            "own share: of the wall time what is not the cases' own, from the first look at the job to the last sweep;",
            "of commands: wall seconds of the whole command, Python's start included, median of several.",
        ),
    )


def _worked(
    name: str, address: StoreAddress, job_id: str, settings: SchedulingBenchSettings, n: int, seconds: float, limit: str
) -> dict[str, Figure]:
    with _opened(address) as store:
        put_idle_job(store, job_id, n)
    begun = time.perf_counter()
    end = run_locally(address, job_id, SleepingCase(seconds), workers=settings.workers)
    wall = time.perf_counter() - begun
    if end.status != "done":
        raise WorkError(f"the job of the benchmark ended as {end.status!r}: {end.message}")
    # the longest row of cases that one worker had to do
    ideal = -(-n // settings.workers) * seconds
    return {
        "measured": name,
        "cases": n,
        "wall_seconds": wall,
        "cases_per_second": n / wall,
        "own_percent": 100 * (wall - ideal) / wall,
        "limit": limit,
    }


def _looks(address: StoreAddress, settings: SchedulingBenchSettings) -> Iterator[dict[str, Figure]]:
    with _opened(address) as store:
        put_idle_job(store, "stored", settings.stored, status="done")
    for words in (("list",), ("show", "stored")):
        command = [sys.executable, "-m", "tracescribe.runs", "jobs", *words, "--store", address.url]
        took = []
        for _ in range(settings.repeats + 1):  # the first one warms the disk's cache
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            took.append(time.perf_counter() - begun)
        yield {
            "measured": f"jobs {words[0]}",
            "cases": settings.stored,
            "wall_seconds": median(took[1:]),
            "cases_per_second": None,
            "own_percent": None,
            "limit": LOOK_LIMIT,
        }


@contextmanager
def _empty_store(named: str | None) -> Iterator[StoreAddress]:
    from sqlalchemy import select

    from tracescribe.runs.store.tables import jobs

    with tempfile.TemporaryDirectory(prefix="tracescribe-bench-") as folder:
        address = parse_address(named or str(Path(folder) / "store"))
        store = open_store(address, create=True)
        try:
            if store.read(lambda connection: connection.execute(select(jobs.c.job_id).limit(1)).first()) is not None:
                raise InputError("the store of a benchmark must be empty, and this one holds jobs; name another")
        finally:
            store.close()
        yield address


@contextmanager
def _opened(address: StoreAddress) -> Iterator[Store]:
    store = open_store(address)
    try:
        yield store
    finally:
        store.close()
