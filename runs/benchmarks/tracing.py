"""`tracescribe bench tracer`: time, memory and share of the peak, against prompt length and feature count."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tracescribe.runs.benchmarks import calls
from tracescribe.runs.benchmarks.machine import describe_machine, use_threads
from tracescribe.runs.benchmarks.measuring import (
    Clock,
    Peak,
    Timing,
    clock_of,
    growth_exponent,
    measure_peak,
    time_alternating,
)
from tracescribe.runs.benchmarks.memory import MemoryJob, MemoryUse, measure_memory
from tracescribe.tracer.errors import SettingError

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet

REFERENCE_NODES = 12_000
"""Largest graph that the reference is run on: it holds a dense matrix of all pairs of nodes, and pruning copies it several
times (12,000 nodes: 0.6 GB each)."""

Progress = Callable[[str, int, int, str], None]
"""Called with a stage, units done, their total, and the figures of the moment."""


@dataclass(frozen=True)
class TracerBenchSettings:
    """What is run.

    Attributes:
        family: `model_type` of the random model.
        kinds: `clt`, `plt`.
        lengths: prompt lengths in tokens, BOS included.
        n_features: transcoder widths, per layer.
        n_active: features that fire per layer and position.
        threads: torch threads.
        repeats: timed calls of each.
        prototype: file of a reference implementation, or None.
        reference_nodes: largest graph that the reference is run on.
        memory: whether peak memory is measured, each call in a fresh process.
        n_layers, d_model, n_heads, n_kv_heads: of the random model.
    """

    family: str = "llama"
    kinds: tuple[str, ...] = ("clt", "plt")
    lengths: tuple[int, ...] = (11, 31, 61, 127)
    n_features: tuple[int, ...] = (2000,)
    n_active: float = 16.0
    threads: int = 1
    repeats: int = 3
    prototype: Path | None = None
    reference_nodes: int = REFERENCE_NODES
    memory: bool = True
    n_layers: int = 8
    d_model: int = 256
    n_heads: int = 8
    n_kv_heads: int = 4

    def __post_init__(self) -> None:
        faults = [f"kind {kind!r} is neither clt nor plt" for kind in self.kinds if kind not in ("clt", "plt")]
        faults += [f"a length of {n} tokens is too short, expected 4 or more" for n in self.lengths if n < 4]
        faults += [f"{name} is empty" for name in ("kinds", "lengths", "n_features") if not getattr(self, name)]
        faults += [f"{name} is below 1" for name in ("threads", "repeats") if getattr(self, name) < 1]
        if faults:
            raise SettingError(f"bench tracer: {'; '.join(faults)}")


@dataclass(frozen=True)
class TracerCase:
    """One prompt on one pair.

    Attributes:
        n_features: transcoder width per layer.
        n_pos: tokens.
        n_active: active features.
        n_nodes, n_edges: of the unpruned graph.
        timings: by name of the call.
        memory: by name of the call; empty where it was not measured.
        useful_flops: of the edges, by `arithmetic.sweep_flops`.
        plain_flops: the same of a sweep without savings.
        executed_flops: of all matrix products in `trace`, as torch's counter saw them.
    """

    kind: str
    n_features: int
    n_pos: int
    n_active: int
    n_nodes: int
    n_edges: int
    timings: dict[str, Timing]
    memory: dict[str, MemoryUse]
    useful_flops: int
    plain_flops: int
    executed_flops: int

    def seconds(self, clock: Clock, call: str = calls.TRACE) -> float:
        """Median of one call."""
        return self.timings[call].median(clock)

    def share_of_peak(self, peak: Peak, clock: Clock) -> float:
        """Useful operations per second of `trace`, as a share of a plain matrix product's."""
        return self.useful_flops / self.seconds(clock) / peak.rate(clock)

    def plain_share_of_peak(self, peak: Peak, clock: Clock) -> float:
        """What share of the peak a plain sweep would have to reach to be as quick."""
        return self.plain_flops / self.seconds(clock) / peak.rate(clock)

    def ratio(self, clock: Clock, ours: str, theirs: str) -> float | None:
        """The reference's time divided by ours: above 1 where ours is faster; None where the reference did not run."""
        return self.seconds(clock, theirs) / self.seconds(clock, ours) if theirs in self.timings else None

    def memory_ratio(self, ours: str, theirs: str) -> float | None:
        """The reference's peak memory divided by ours; None where one was not measured."""
        if theirs not in self.memory or ours not in self.memory:
            return None
        return self.memory[theirs].additional / max(1, self.memory[ours].additional)


@dataclass(frozen=True)
class TracerBench:
    """All cases, and what they were measured with."""

    settings: TracerBenchSettings
    machine: dict[str, Any]
    peak: Peak
    cases: tuple[TracerCase, ...]

    @property
    def clock(self) -> Clock:
        """The clock of the headline figures."""
        return clock_of(self.settings.threads)

    def growth(self, kind: str, n_features: int) -> float | None:
        """Exponent of time against tokens times active features, over the lengths of one pair."""
        found = [case for case in self.cases if (case.kind, case.n_features) == (kind, n_features)]
        sizes = [case.n_pos * case.n_active for case in found]
        return growth_exponent(sizes, [case.seconds(self.clock) for case in found])

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        settings = dataclasses.asdict(self.settings)
        settings["prototype"] = self.settings.prototype.name if self.settings.prototype else None
        pairs = dict.fromkeys((case.kind, case.n_features) for case in self.cases)
        return {
            "bench": "tracer",
            "settings": settings,
            "machine": self.machine,
            "clock": self.clock,
            "peak_flops_per_second": dataclasses.asdict(self.peak),
            "cases": [self._case_json(case) for case in self.cases],
            "growth": [
                {"kind": kind, "n_features": width, "exponent": self.growth(kind, width)} for kind, width in pairs
            ],
        }

    def _case_json(self, case: TracerCase) -> dict[str, Any]:
        clock = self.clock
        return {
            "kind": case.kind,
            "n_features": case.n_features,
            "n_pos": case.n_pos,
            "n_active": case.n_active,
            "n_nodes": case.n_nodes,
            "n_edges": case.n_edges,
            "timings": {name: timing.to_json() for name, timing in case.timings.items()},
            "memory": {name: dataclasses.asdict(use) for name, use in case.memory.items()},
            "useful_flops": case.useful_flops,
            "plain_flops": case.plain_flops,
            "executed_flops": case.executed_flops,
            "share_of_peak": case.share_of_peak(self.peak, clock),
            "plain_share_of_peak": case.plain_share_of_peak(self.peak, clock),
            "ratio_trace": case.ratio(clock, calls.TRACE, calls.REFERENCE_TRACE),
            "ratio_trace_and_prune": case.ratio(clock, calls.PIPELINE, calls.REFERENCE_PIPELINE),
            "memory_ratio_trace": case.memory_ratio(calls.TRACE, calls.REFERENCE_TRACE),
            "memory_ratio_trace_and_prune": case.memory_ratio(calls.PIPELINE, calls.REFERENCE_PIPELINE),
        }


def bench_tracer(
    settings: TracerBenchSettings,
    progress: Progress | None = None,
    keep: Callable[[TracerBench], None] | None = None,
) -> TracerBench:
    """Write random pairs to a temporary folder and measure every length on each.

    Args:
        settings: what is run.
        progress: called after each call.
        keep: given what is there so far after each prompt, so that an interrupted run is not lost.

    Raises:
        SettingError: a shape that cannot be.
        InputError: the reference cannot be imported.
        WorkError: a memory measurement failed.
    """
    prototype = calls.load_prototype(settings.prototype) if settings.prototype else None
    machine = describe_machine(settings.threads)
    with use_threads(settings.threads):
        peak = measure_peak()
        cases: list[TracerCase] = []
        for kind in settings.kinds:
            for width in settings.n_features:
                with tempfile.TemporaryDirectory(prefix="tracescribe-bench-") as folder:
                    for case in _bench_pair(Path(folder), kind, width, settings, prototype, progress):
                        cases.append(case)
                        peak = peak.best(measure_peak())  # again, in case something else ran at first
                        if keep is not None:
                            keep(TracerBench(settings, machine, peak, tuple(cases)))
    return TracerBench(settings, machine, peak, tuple(cases))


def _bench_pair(
    folder: Path,
    kind: Any,
    width: int,
    settings: TracerBenchSettings,
    prototype: ModuleType | None,
    progress: Progress | None,
) -> Iterator[TracerCase]:
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.synthetic import SyntheticShape, random_tokens, write_synthetic
    from tracescribe.tracer.transcoders import load_transcoders

    shape = SyntheticShape(
        family=settings.family,
        kind=kind,
        n_features=width,
        n_active=settings.n_active,
        n_layers=settings.n_layers,
        d_model=settings.d_model,
        n_heads=settings.n_heads,
        n_kv_heads=settings.n_kv_heads,
        max_positions=max(64, *settings.lengths),
    )
    written = write_synthetic(folder, shape)
    model, transcoders = load_model(written.model), load_transcoders(written.transcoders)
    for n_pos in settings.lengths:
        stage = f"{kind}, {width} features, {n_pos} tokens"
        yield _bench_prompt(model, transcoders, random_tokens(n_pos, shape), settings, prototype, stage, progress)


def _bench_prompt(
    model: LanguageModel,
    transcoders: TranscoderSet,
    tokens: Any,
    settings: TracerBenchSettings,
    prototype: ModuleType | None,
    stage: str,
    progress: Progress | None,
) -> TracerCase:
    from tracescribe.runs.benchmarks.arithmetic import executed_flops, graph_flops

    timed = calls.tracer_calls(model, transcoders, tokens)
    executed, graph = executed_flops(timed[calls.TRACE])
    unpruned: AttributionGraph = graph
    n_nodes, n_edges = unpruned.n_nodes, len(unpruned.edges)
    useful = graph_flops(model, transcoders, unpruned)
    plain = graph_flops(model, transcoders, unpruned, plain=True)
    n_active = int(unpruned.provenance["n_active_features"])
    del graph, unpruned  # its memory is wanted for what follows
    if prototype is not None and n_nodes <= settings.reference_nodes:
        timed = calls.tracer_calls(model, transcoders, tokens, prototype)

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(stage, done, total, "")

    total = (settings.repeats + 1) * len(timed) + (len(timed) if settings.memory else 0)
    timings = time_alternating(timed, settings.repeats, lambda done, _: tell(done, total))
    memory: dict[str, MemoryUse] = {}
    for name in timed if settings.memory else ():
        job = MemoryJob(
            call=name,
            model=str(model.path),
            transcoders=str(transcoders.path),
            token_ids=tuple(tokens.tolist()),
            prototype=str(settings.prototype) if prototype is not None else "",
            threads=settings.threads,
        )
        memory[name] = measure_memory(job)
        tell(total - len(timed) + len(memory), total)
    return TracerCase(
        kind="clt" if transcoders.kind == "cross_layer_transcoder" else "plt",
        n_features=transcoders.n_features[0],
        n_pos=len(tokens),
        n_active=n_active,
        n_nodes=n_nodes,
        n_edges=n_edges,
        timings=timings,
        memory=memory,
        useful_flops=useful,
        plain_flops=plain,
        executed_flops=executed,
    )
