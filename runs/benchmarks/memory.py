"""Peak memory of one call, in a process of its own that is started fresh for it.

The child loads the pair and runs a short prompt first, so that imports, weights and encoders are in place. It then gives
freed memory back to the system, resets the kernel's high-water mark of resident memory, notes what is resident, makes
the call, and reads the mark: the difference is what the call needed beside what was already there, its result included.
Linux alone can reset the mark; elsewhere the process's own maximum is used, which may hide a small call behind the peak
of loading.

    python -m tracescribe.runs.benchmarks.memory '{"call": "trace", ...}'
"""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tracescribe.tracer.errors import WorkError

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class MemoryJob:
    """One call to be measured; see `calls.tracer_calls` for the names of calls.

    Attributes:
        call: name of the call.
        model, transcoders: folders.
        token_ids: the prompt, taken as it is.
        prototype: path of the prototype's module; "" without one.
        threads: torch threads.
        max_feature_nodes: node budget; None for all.
    """

    call: str
    model: str
    transcoders: str
    token_ids: tuple[int, ...]
    prototype: str = ""
    threads: int = 1
    max_feature_nodes: int | None = None


@dataclass(frozen=True)
class MemoryUse:
    """What a call needed.

    Attributes:
        additional: bytes at the peak beyond what was resident before the call.
        baseline: bytes resident before the call: interpreter, libraries, weights.
        wall_seconds, cpu_seconds: of the measured call, which ran once.
        n_active, n_nodes: of the graph that it gave; 0 where the reference gave it.
    """

    additional: int
    baseline: int
    wall_seconds: float
    cpu_seconds: float
    n_active: int
    n_nodes: int


def measure_memory(job: MemoryJob) -> MemoryUse:
    """Run a job in a fresh process.

    Raises:
        WorkError: the process failed, for instance killed for lack of memory.
    """
    command = [sys.executable, "-m", "tracescribe.runs.benchmarks.memory", json.dumps(asdict(job))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WorkError(f"the memory measurement of {job.call!r} ended with code {done.returncode}: {last}")
    return MemoryUse(**json.loads(done.stdout.strip().splitlines()[-1]))


def _resident(field: str) -> int:
    """A figure of the kernel in bytes: `VmRSS` (now) or `VmHWM` (highest since the last reset)."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise WorkError(f"{_STATUS} has no {field}")


def _settle() -> None:
    """Give freed memory back to the system, so that it does not hide what the call takes."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def run_job(job: MemoryJob) -> MemoryUse:
    """Measure a call in this process, which should be a fresh one."""
    import torch

    from tracescribe.runs.benchmarks.calls import load_prototype, tracer_calls
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    torch.set_num_threads(job.threads)
    pair = load_model(job.model), load_transcoders(job.transcoders)
    prototype = load_prototype(Path(job.prototype)) if job.prototype else None
    tokens = torch.tensor(job.token_ids)
    short = tracer_calls(*pair, tokens[:4], prototype, job.max_feature_nodes)[job.call]
    call = tracer_calls(*pair, tokens, prototype, job.max_feature_nodes)[job.call]
    short()
    _settle()
    linux = sys.platform == "linux"
    if linux:
        _RESET.write_text("5")
        baseline = _resident("VmRSS")
    else:
        baseline = _maximum()
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    peak = _resident("VmHWM") if linux else _maximum()
    graph = result[0] if isinstance(result, tuple) else result
    n_active = int(graph.provenance["n_active_features"]) if hasattr(graph, "provenance") else 0
    return MemoryUse(max(0, peak - baseline), baseline, *seconds, n_active, getattr(graph, "n_nodes", 0))


def _maximum() -> int:
    """Highest resident size of this process so far, in bytes; macOS counts bytes, the others kilobytes."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(asdict(run_job(MemoryJob(**given | {"token_ids": tuple(given["token_ids"])})))))
