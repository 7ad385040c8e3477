"""A worker in a Ray actor, from within: the same loop as in a process of this machine."""

# Ray is an extra: the type check runs without it too
# pyright: reportMissingImports=false

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracescribe.runs.executors.contract import CaseFunction
    from tracescribe.runs.executors.worker import WorkerEnd
    from tracescribe.runs.store.database import StoreAddress


@dataclass(frozen=True)
class RayOrders:
    """What an actor is told at its start.

    Attributes:
        gpus: that Ray gave it, perhaps a fraction.
        environment: variables that this worker needs to record what it does as its driver does.
        temporary: folder for its temporary files, where its machine has such a place.
        carrier: W3C trace context of the job's span.
    """

    address: StoreAddress
    job_id: str
    function: CaseFunction
    worker_id: str
    supervisor_id: str
    gpus: float
    environment: Mapping[str, str]
    temporary: Path
    carrier: Mapping[str, str] | None = None


class CaseActor:
    """An actor that works on a job; models stay loaded in it from case to case.

    It runs with two threads of Ray: one works, the other hears that it should end.
    """

    def __init__(self, orders: RayOrders) -> None:
        self._orders = orders
        self._drain = threading.Event()
        os.environ.update(orders.environment)
        if not orders.gpus:
            # Ray leaves the cards of a machine visible to those who asked for none, or hides them, as it was set
            os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def work(self) -> WorkerEnd:
        """Work until the job has nothing left to do; returns why it ended."""
        from tracescribe.runs.executors.worker import work_on_job
        from tracescribe.runs.telemetry.observing import keep_console, observe_worker

        orders = self._orders
        keep_console()
        _be_quiet()
        with observe_worker(orders.job_id, orders.worker_id):
            return work_on_job(
                replace(orders.address, scratch=usable_scratch(orders.address.scratch)),
                orders.job_id,
                orders.function,
                worker_id=orders.worker_id,
                supervisor_id=orders.supervisor_id,
                executor="ray",
                drain=self._drain,
                # not earlier: a sweep removes what is known to be a dead worker's
                registered=lambda: _use_temporary(orders.temporary),
                carrier=orders.carrier,
            )

    def node(self) -> str:
        """Id of the node that it has its place on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def end(self) -> None:
        """Let the work end: the case at hand is finished or given back, whichever is sooner."""
        self._drain.set()


def usable_scratch(wanted: Path | None) -> Path | None:
    """The folder for cases that are being worked on; where this machine has no such place, one in its temporary folder."""
    if wanted is None:
        return None
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir()) / "tracescribe-scratch"
    return wanted


def _use_temporary(folder: Path) -> None:
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None


def _be_quiet() -> None:
    """Ray keeps what its workers print in files of its own: nobody redacts those."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream, number in ((sys.__stdout__, 1), (sys.__stderr__, 2)):
        with suppress(OSError, ValueError):
            os.dup2(quiet, number if stream is None else stream.fileno())
    os.close(quiet)
