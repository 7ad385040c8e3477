"""The Ray executor: a job worked on by actors of a cluster, an existing one or one of this machine alone.

    driver (supervisor) ──starts, watches──> actors on any node ──lease──> store

No task goes through Ray: the store's leases are the queue, so that a node may go at any moment. All nodes must reach the
store and have this version of tracescribe installed.
"""

# Ray is an extra: the type check runs without it too
# pyright: reportMissingImports=false

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tracescribe.runs.store.database import StoreAddress, open_store
from tracescribe.tracer.errors import SettingError, WorkError

if TYPE_CHECKING:
    from tracescribe.runs.executors.contract import CaseFunction
    from tracescribe.runs.executors.local_run import RunEnd
    from tracescribe.runs.jobs.specification import JobSpecification, RayExecutor
    from tracescribe.runs.store.database import Store

_LOCAL = "local"
_OBJECT_STORE_BYTES = 100 << 20
"""Of a cluster that we start: results go through the store of jobs, next to nothing through Ray's own."""
_STARTS, _TOO_SLOW = 4, "timed out during startup"
"""Ray gives its processes half a minute to come up, however much else a machine has to do."""
_log = logging.getLogger(__name__)


def run_on_ray(address: StoreAddress, job_id: str, function: CaseFunction, executor: RayExecutor) -> RunEnd:
    """Work on a job with actors of a Ray cluster until it is over.

    Ctrl-C and SIGTERM end the actors, which finish or give back their cases; the job can be resumed at once, also with
    another executor.

    Args:
        address: of the store, which every node must reach.
        job_id: which job.
        function: carries out cases.
        executor: which cluster, how many actors, and what each of them takes.

    Returns:
        How the job stands.

    Raises:
        SettingError: Ray is not installed, or no node has what an actor takes.
        StoreAddressError: the store is a file, and the cluster has several machines.
        UnknownIdError: there is no such job.
        StoreError: the store cannot be used.
        WorkError: the cluster cannot be reached, or no actor can be started.
        KeyboardInterrupt: it was interrupted.
    """
    from tracescribe.runs.executors.interrupts import ended_by_signals
    from tracescribe.runs.executors.job_state import job_state
    from tracescribe.runs.executors.local_run import RunEnd, carry_out, job_span
    from tracescribe.runs.executors.local_worker import case_seconds
    from tracescribe.runs.executors.ray_group import RayGroup
    from tracescribe.runs.executors.ray_messages import no_ray_messages
    from tracescribe.runs.executors.ray_places import check_reach, places

    store = open_store(address)
    try:
        job_state(store, job_id)
        seconds = case_seconds(_specification(store, job_id).budget.case)
        with ended_by_signals(), no_ray_messages(), cluster(executor.address):
            check_reach(address, store.artefacts.location)
            if not executor.workers and not places(executor):
                raise SettingError(
                    f"no node of the Ray cluster has {executor.cpus:g} CPUs and {executor.gpus:g} GPUs for an actor; "
                    "ask for less under executor, or say how many workers to wait for"
                )
            with job_span(job_id) as carrier:
                group = RayGroup(store, job_id, function, executor, seconds=seconds, carrier=carrier)
                carry_out(store, job_id, group)
        state = job_state(store, job_id)
        return RunEnd(state.status, state.message)
    finally:
        store.close()


def _specification(store: Store, job_id: str) -> JobSpecification:
    from sqlalchemy import select

    from tracescribe.runs.executors.case_queue import job_specification
    from tracescribe.runs.store.tables import jobs

    query = select(jobs.c.specification).where(jobs.c.job_id == job_id)
    return job_specification(store.read(lambda connection: str(connection.execute(query).scalar_one())))


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine that ends with the block and leaves no file.

    Args:
        address: of the cluster; None takes the environment's `RAY_ADDRESS`, and starts one where that is not set.

    Raises:
        SettingError: Ray is not installed.
        WorkError: the cluster cannot be reached or started.
    """
    # Ray would send figures of its use to its makers, and warn of what the next version does to hidden cards
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    from tracescribe.runs.executors.ray_messages import last_messages_logged

    try:
        import ray
    except ImportError as error:
        raise SettingError(
            "executor 'ray' needs Ray, which is not installed; run: pip install 'tracescribe[ray]', or use 'local'"
        ) from error
    if ray.is_initialized():  # by whoever calls us: it is theirs to end
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or _LOCAL
    options: dict[str, Any] = {}
    folder: str | None = None
    if where == _LOCAL:
        folder = tempfile.mkdtemp(prefix="tsr-")  # a short name: sockets lie below it
        options = {"include_dashboard": False, "_temp_dir": folder, "object_store_memory": _OBJECT_STORE_BYTES}
    try:
        for left in reversed(range(_STARTS if where == _LOCAL else 1)):
            try:
                ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR, **options)
                break
            except Exception as error:  # Ray raises a plain one where its processes are not up in time
                told = " ".join(str(error).split())[:300]
                if left and _TOO_SLOW in told:
                    _log.warning("the cluster of this machine was not up in time, and is started once more")
                    continue
                raise WorkError(
                    f"the Ray cluster {where!r} cannot be used: {told}; look at its address, and whether it has our "
                    "version of Ray and Python"
                ) from error
        yield
    finally:
        with last_messages_logged():
            ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
