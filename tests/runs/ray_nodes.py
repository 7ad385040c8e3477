"""A real Ray cluster for tests: each node is a family of processes of this machine, and can be killed as a whole."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.runs.ports import quiet_ports
from tracescribe.evals.benchmark.worker_life import descendants, end_processes

_START_SECONDS = 400.0
_OBJECT_STORE_BYTES = 80 << 20
_TRIES, _TOO_SLOW = 5, "timed out during startup"
SETTINGS = {
    "RAY_AUTH_MODE": "disabled",  # else a token is written to the home folder, which tests leave alone
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # a node that is gone is noticed within seconds: on machines in earnest it takes about half a minute
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    # who is gone refuses at once, ten times within ten seconds; who is only busy has half a minute
    "RAY_health_check_failure_threshold": "10",
    # half a minute for a node's agents, and a minute for a worker, are short on a machine with much else to do
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
    # else actors are killed for the memory that others take on this machine
    "RAY_memory_monitor_refresh_ms": "0",
}


class RayNodes:
    """A cluster of nodes, the head first; the head has no place for actors.

    Attributes:
        folder: of the cluster's own files.
        address: as `executor.address` takes it.
        environment: that drivers need too.
    """

    def __init__(self, n_nodes: int = 2, *, cpus: int = 1, environment: dict[str, str] | None = None) -> None:
        # a short name: the path of a socket has at most 107 characters
        self.folder = Path(tempfile.mkdtemp(prefix="tsr-"))
        self.environment = SETTINGS | (environment or {})
        self._nodes: list[subprocess.Popen[bytes]] = []
        # a cluster has the address that other machines would use, whatever it is told
        own = _own_address()
        port = next(quiet_ports("0.0.0.0"))
        self.address = f"{own}:{port}"
        try:
            self._bring_up(1, "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
            for _ in range(n_nodes):
                self.add(cpus)
        except BaseException:
            self.close()
            raise

    def add(self, cpus: int = 1) -> None:
        """Add a node, and wait until the cluster knows it."""
        before = self._n_alive()
        self._bring_up(before + 1, f"--address={self.address}", f"--num-cpus={cpus}")

    def kill(self, number: int = -1) -> None:
        """Kill all processes of a node with -9, its actors included; the last node unless a number is given."""
        nodes = self._nodes[1:]
        node = nodes[number]
        self._nodes.remove(node)
        _end(node)

    def close(self) -> None:
        """Kill all nodes, and remove their files."""
        for node in reversed(self._nodes):
            _end(node)
        self._nodes = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bring_up(self, n_nodes: int, *options: str) -> None:
        """Start a node, and wait until so many are there; Ray gives one half a minute, after which it is tried again."""
        for _ in range(_TRIES):
            self._start(*options)
            if self._wait_for(n_nodes):
                return
            _end(self._nodes.pop())
        raise AssertionError((self.folder / "said").read_text()[-3000:])

    def _start(self, *options: str) -> None:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        # else the nodes of a machine give their workers ports of one range, and two of them now and then the same one
        ports = ["--min-worker-port=0", "--max-worker-port=0"]
        more = [f"--object-store-memory={_OBJECT_STORE_BYTES}", *ports]
        if "--head" in options:
            more.append(f"--temp-dir={self.folder}")
        with (self.folder / "said").open("ab") as said:
            self._nodes.append(
                subprocess.Popen(
                    [*ray, *more, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    env=os.environ | self.environment,
                    start_new_session=True,
                )
            )

    def _wait_for(self, n_nodes: int) -> bool:
        """Wait until the head counts so many; False where the last one was not up in the time that Ray gives it."""
        deadline = time.monotonic() + _START_SECONDS
        while self._n_alive() < n_nodes:
            ended = [node for node in self._nodes if node.poll() is not None]
            said = (self.folder / "said").read_text(errors="replace")
            if ended == self._nodes[-1:] and _TOO_SLOW in said:
                return False
            assert not ended and time.monotonic() < deadline, said[-3000:]
            time.sleep(0.3)
        return True

    def _n_alive(self) -> int:
        """Nodes that the head counts as alive; asked without connecting, which only one driver of a process may."""
        code = (
            "import sys\n"
            "from ray._raylet import GcsClient\n"
            "nodes = GcsClient(address=sys.argv[1]).get_all_node_info().values()\n"
            "print(sum(node.state == 0 for node in nodes))\n"
        )
        try:
            done = subprocess.run(
                [sys.executable, "-c", code, self.address],
                capture_output=True,
                text=True,
                env=os.environ | self.environment,
                timeout=120,
                check=False,
            )
        except subprocess.TimeoutExpired:  # on a machine with much else to do: asked again
            return 0
        return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdigit() else 0


def _end(node: subprocess.Popen[bytes]) -> None:
    family = descendants(node.pid)
    for pid in (node.pid, *family):  # all at once, as when a machine goes: none of them tells of another's end
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    node.kill()
    end_processes(family)
    node.wait(300)


def _own_address() -> str:
    """Of this machine, as Ray finds it out; nothing is sent."""
    return str(importlib.import_module("ray.util").get_node_ip_address())


@pytest.fixture
def ray_nodes() -> Iterator[RayNodes]:
    """A cluster of two nodes with a place each."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the ray extra is not installed")
    with RayNodes(2) as nodes:
        yield nodes
