"""Clocks: medians of alternating calls, and the speed of a plain matrix product on the same machine."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Clock = Literal["cpu", "wall"]
"""Which seconds a figure is made from."""

PEAK_SIZE = 1536
"""Rows and columns of the matrices whose product gives the machine's peak: far beyond any cache, yet half a second."""
PEAK_REPEATS = 8


@dataclass(frozen=True)
class Timing:
    """Seconds of several calls.

    Attributes:
        wall: of each call, by the clock on the wall.
        cpu: processor seconds of each call, summed over threads.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def median(self, clock: Clock) -> float:
        """Middle of the calls, in seconds."""
        return statistics.median(self.wall if clock == "wall" else self.cpu)

    def to_json(self) -> dict[str, Any]:
        """Medians, and every call."""
        return {
            "wall_seconds": self.median("wall"),
            "cpu_seconds": self.median("cpu"),
            "wall_all": list(self.wall),
            "cpu_all": list(self.cpu),
        }


def clock_of(threads: int) -> Clock:
    """The clock for headline figures.

    On one thread, processor seconds are what the wall clock would show on an idle machine, and they stay the same when
    something else runs. With more threads only the wall clock shows a thread that waits.
    """
    return "cpu" if threads == 1 else "wall"


def time_alternating(
    calls: Mapping[str, Callable[[], object]],
    repeats: int,
    progress: Callable[[int, int], None] | None = None,
    warm_up: bool = True,
) -> dict[str, Timing]:
    """Time several calls in turns (a, b, a, b, ...), so that a change of the machine's speed meets all of them.

    Args:
        calls: by name; what they return is dropped at once.
        repeats: of each call.
        progress: called with calls done and their total.
        warm_up: whether each call runs once unmeasured first (imports, caches, allocator).
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    rounds = repeats + warm_up
    for turn in range(rounds):
        for index, (name, call) in enumerate(calls.items()):
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            if turn or not warm_up:
                seconds[name].append(spent)
            if progress is not None:
                progress(turn * len(calls) + index + 1, rounds * len(calls))
    return {name: Timing(*map(tuple, zip(*spent, strict=True))) for name, spent in seconds.items()}


@dataclass(frozen=True)
class Peak:
    """Speed of a large float32 matrix product: the most that this machine's library reaches at this thread count.

    Attributes:
        wall: floating-point operations per second on the wall clock, best of several products.
        cpu: the same per processor second.
    """

    wall: float
    cpu: float

    def rate(self, clock: Clock) -> float:
        """Operations per second of one clock."""
        return self.wall if clock == "wall" else self.cpu

    def best(self, other: Peak) -> Peak:
        """The faster of two measurements, clock by clock."""
        return Peak(max(self.wall, other.wall), max(self.cpu, other.cpu))


def measure_peak(size: int = PEAK_SIZE, repeats: int = PEAK_REPEATS) -> Peak:
    """Time `torch.mm` of two float32 squares."""
    import torch

    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(size, size, generator=generator), torch.randn(size, size, generator=generator)
    out = torch.empty(size, size)

    def product() -> None:
        torch.mm(a, b, out=out)

    timing = time_alternating({"mm": product}, repeats)["mm"]
    operations = 2.0 * size**3
    return Peak(operations / min(timing.wall), operations / max(min(timing.cpu), 1e-9))


def growth_exponent(size: Sequence[float], seconds: Sequence[float]) -> float | None:
    """Slope of log seconds against log size by least squares: 1 means time in proportion; None for fewer than 2 sizes."""
    x, y = [math.log(v) for v in size], [math.log(v) for v in seconds]
    if len(set(x)) < 2:
        return None
    return statistics.linear_regression(x, y).slope
