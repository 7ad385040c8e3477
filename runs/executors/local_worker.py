"""A worker process of this machine, from within: `work_on_job`, and an end that leaves nothing behind.

It is a session of its own, so that Ctrl-C reaches the supervisor alone. It watches its supervisor: when that is gone, it
ends itself and everything that it started. What it and its descendants write into temporary folders lies in a folder of
its own in the scratch of the store, where a sweep finds it after a kill. It says over its pipe which case it holds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.evals.benchmark.worker_life import descendants, end_processes
from tracescribe.runs.executors.contract import CaseFunction, CaseLease
from tracescribe.runs.store.database import StoreAddress
from tracescribe.runs.telemetry.observing import keep_console, observe_worker

if TYPE_CHECKING:
    from tracescribe.runs.executors.worker import WorkerEnd
    from tracescribe.runs.jobs.specification import CaseBudget

DEFAULT_CASE_SECONDS = 900.0
"""Of a case whose budget does not limit seconds: the default of `agents.budget.Budget`."""
GRACE_SECONDS = 60.0
"""After a case's own budget of seconds is over, before it is ended from outside."""


@dataclass(frozen=True)
class WorkerOrders:
    """What a worker process is told at its start.

    Attributes:
        temporary: folder for its temporary files.
        carrier: W3C trace context of the job's span.
    """

    address: StoreAddress
    job_id: str
    function: CaseFunction
    worker_id: str
    supervisor_id: str
    temporary: Path
    carrier: dict[str, str] | None = None


def live(pipe: Connection, orders: WorkerOrders) -> None:
    """The life of a worker process."""
    with suppress(OSError):
        os.setsid()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    drain = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: drain.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    # stdout is the supervisor's result, and both are anybody's to flood
    keep_console()  # where spans are to be seen there
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
    os.dup2(quiet, sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
    from tracescribe.runs.executors.worker import work_on_job

    _say(pipe, {"at": "up"})
    with observe_worker(orders.job_id, orders.worker_id):
        end = work_on_job(
            orders.address,
            orders.job_id,
            orders.function,
            worker_id=orders.worker_id,
            supervisor_id=orders.supervisor_id,
            drain=drain,
            # not earlier: a sweep removes what is known to be a dead worker's
            registered=lambda: _use_temporary(orders.temporary),
            told=lambda lease: _say(pipe, {"at": "case", **_told_lease(lease)}),
            carrier=orders.carrier,
        )
    _say_end(pipe, end)


def seconds_of(lease: CaseLease) -> float:
    """Seconds after which a case that does not answer is ended with its worker."""
    return case_seconds(lease.job.budget.case)


def case_seconds(budget: CaseBudget) -> float:
    """Seconds after which any case of a job is ended with its worker."""
    if budget.kill_after is not None:
        return budget.kill_after
    return (DEFAULT_CASE_SECONDS if budget.seconds is None else budget.seconds) + GRACE_SECONDS


def _use_temporary(folder: Path) -> None:
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None


def _told_lease(lease: CaseLease) -> dict[str, Any]:
    return {"case_id": lease.case_id, "attempt": lease.attempt, "seconds": seconds_of(lease)}


def _say_end(pipe: Connection, end: WorkerEnd) -> None:
    with suppress(OSError):
        _say(pipe, {"at": "end", **asdict(end)})


def _say(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())


def _end_with_parent() -> None:
    """Wait until the supervisor is gone; then end all that was started here, and this process."""
    parent = parent_process()
    if parent is None:
        return
    parent.join()
    end_processes(descendants(os.getpid()))
    os._exit(1)
