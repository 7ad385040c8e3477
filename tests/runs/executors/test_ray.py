"""Jobs on real Ray clusters: nodes, actors and drivers are killed, and every case is done once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from tests.runs.executors.case_functions import Repeat
from tests.runs.executors.small_jobs import put_job
from tests.runs.executors.test_leases import rows
from tests.runs.executors.test_local_run import assert_all_done_once, go, wait_until, workers_alive
from tests.runs.ray_nodes import SETTINGS, RayNodes, ray_nodes  # noqa: F401 - a fixture
from tracescribe.evals.benchmark.worker_life import descendants, end_processes
from tracescribe.runs.executors.process_identity import identify
from tracescribe.runs.executors.ray_cluster import cluster, run_on_ray
from tracescribe.runs.jobs.specification import RayExecutor
from tracescribe.runs.store.database import Store, StoreAddress
from tracescribe.runs.store.tables import workers
from tracescribe.tracer.errors import SettingError, WorkError

ROOT = Path(__file__).parents[3]
Driver = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def driver(address: StoreAddress) -> Iterator[Driver]:
    """Starts drivers on the job `job`; whatever is left of them is ended with the test."""
    pytest.importorskip("ray", reason="the ray extra is not installed")
    started: list[subprocess.Popen[str]] = []

    def start(
        cluster_address: str = "none", n_workers: int | None = None, function: str = "0.2", *look: str
    ) -> subprocess.Popen[str]:
        arguments = [str(address.database_file), "job", cluster_address, str(n_workers).lower(), function, *look]
        arguments[0] = str(address.database_file.parent) if address.database_file else address.url
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.runs.executors.ray_driver", *arguments],
                cwd=ROOT,
                env=os.environ | SETTINGS | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        family = descendants(process.pid)
        process.kill()
        process.communicate()
        end_processes(family)


def n_done(store: Store) -> int:
    """How many cases are done."""
    return sum(row.status == "done" for row in rows(store).values())


def ended_well(process: subprocess.Popen[str]) -> None:
    """The driver says that the job is done."""
    out, err = process.communicate(timeout=900)
    assert (process.returncode, out) == (0, "done\n"), err


@pytest.mark.batch
def test_a_cluster_of_this_machine_is_started_and_ended(store: Store, driver: Driver, tmp_path: Path) -> None:
    put_job(store, "job", [f"case {number}" for number in range(6)])
    process = driver(n_workers=1, function=f"held:{tmp_path}")
    wait_until(lambda: workers_alive(store) or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    # the cases wait: else the job is done before its processes are looked for
    family = [member for member in map(identify, descendants(process.pid)) if member.started]  # some end at once
    go(tmp_path)
    assert family
    ended_well(process)
    assert_all_done_once(store, 6)
    # an ended process whose remains nobody has fetched is gone, and so is one whose id another has been given since
    wait_until(lambda: all(member.is_gone() for member in family))


@pytest.mark.batch
def test_a_node_that_is_killed_takes_no_case_with_it(store: Store, driver: Driver, ray_nodes: RayNodes) -> None:  # noqa: F811
    put_job(store, "job", [f"case {number}" for number in range(60)])
    process = driver(ray_nodes.address)
    wait_until(lambda: (n_done(store) >= 6 and len(workers_alive(store)) == 2) or process.poll() is not None)
    ray_nodes.kill()
    ended_well(process)
    assert_all_done_once(store, 60)
    # nobody's fault: a machine that is taken back says nothing of the case that it worked on
    assert {row.crashes for row in rows(store).values()} == {0}


@pytest.mark.batch
def test_an_actor_that_dies_of_its_case_is_followed_by_another(
    store: Store,
    driver: Driver,
    ray_nodes: RayNodes,  # noqa: F811
    tmp_path: Path,
) -> None:
    put_job(store, "job", ["good", "die once", "hang", "raise", "die", "fine"], kill_after=10.0, max_crashes=2)
    process = driver(ray_nodes.address, 2, f"{tmp_path}/")
    ended_well(process)
    found = {row.title: (row.status, row.failure_kind, row.crashes) for row in rows(store).values()}
    assert found == {
        "good": ("done", None, 0),
        "die once": ("done", None, 1),
        "hang": ("failed", "timeout", 0),
        "raise": ("failed", "error", 0),
        "die": ("failed", "crash", 2),
        "fine": ("done", None, 0),
    }


@pytest.mark.batch
def test_a_driver_that_is_killed_leaves_a_job_that_another_ends(
    store: Store,
    driver: Driver,
    ray_nodes: RayNodes,  # noqa: F811
) -> None:
    put_job(store, "job", [f"case {number}" for number in range(30)])
    process = driver(ray_nodes.address)
    wait_until(lambda: n_done(store) >= 5 or process.poll() is not None)
    process.kill()
    ended_well(driver(ray_nodes.address))
    assert_all_done_once(store, 30)


@pytest.mark.batch
@pytest.mark.parametrize("look", ["1.0", "3600"], ids=["knows-its-actors", "has-not-heard-of-them"])
def test_a_driver_that_is_interrupted_gives_everything_back(
    store: Store,
    driver: Driver,
    ray_nodes: RayNodes,  # noqa: F811
    look: str,
) -> None:
    # more than it can do before it is interrupted
    put_job(store, "job", [f"case {number}" for number in range(500)])
    process = driver(ray_nodes.address, None, "0.2", look)
    wait_until(lambda: n_done(store) >= 5 or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=400)
    assert process.returncode not in (0, -signal.SIGTERM)
    assert {row.status for row in rows(store).values()} == {"done", "waiting"}
    query = select(workers.c.status).distinct()
    assert store.read(lambda connection: connection.scalars(query).all()) == ["left"]


def test_without_ray_it_is_told_what_to_install(
    address: StoreAddress, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    put_job(store, "job", ["case"])
    with pytest.raises(SettingError, match=r"pip install 'tracescribe\[ray\]'"):
        run_on_ray(address, "job", Repeat(), RayExecutor())
    with pytest.raises(SettingError), cluster(None):
        pass


@pytest.mark.parametrize(("where", "starts"), [("local", 4), ("10.0.0.1:6379", 1)])
def test_a_cluster_that_is_not_up_in_time_is_started_again_and_then_told(
    monkeypatch: pytest.MonkeyPatch, where: str, starts: int
) -> None:
    """One that others started is not ours to start."""
    fails = starts
    begun: list[object] = []

    def init(**options: object) -> None:
        begun.append(options["address"])
        if len(begun) <= fails:
            raise Exception("The current node timed out during startup.\nThis may be")  # noqa: TRY002 - as Ray does

    slow = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    monkeypatch.setitem(sys.modules, "ray", slow)
    told = f"the Ray cluster '{where}' cannot be used: The current node timed out during startup. This may be;"
    with pytest.raises(WorkError, match=told), cluster(where):
        pass
    assert begun == [where] * starts
    fails = starts - 1
    begun.clear()
    with cluster(where):
        assert begun == [where] * starts
