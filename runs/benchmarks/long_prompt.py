"""`tracescribe bench long`: one long prompt with a node budget, in a process of its own, and the memory that it took."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tracescribe.runs.benchmarks.calls import TRACE
from tracescribe.runs.benchmarks.figures import Figure, FigureBench
from tracescribe.runs.benchmarks.machine import describe_machine
from tracescribe.runs.benchmarks.measuring import clock_of
from tracescribe.runs.benchmarks.memory import MemoryJob, measure_memory
from tracescribe.runs.benchmarks.tracing import Progress

GIGABYTE = 1e9


def bench_long(
    tokens: tuple[int, ...] = (2300,),
    *,
    kind: str = "plt",
    budget: int = 512,
    n_layers: int = 4,
    d_model: int = 128,
    n_heads: int = 4,
    n_features: int = 1000,
    n_active: float = 8.0,
    limit_bytes: float = 8 * GIGABYTE,
    threads: int = 1,
    progress: Progress | None = None,
) -> FigureBench:
    """Trace long prompts.

    Args:
        tokens: prompt lengths, BOS included.
        kind: `clt` or `plt`.
        budget: feature nodes that are kept.
        n_layers, d_model, n_heads, n_features, n_active: of the random pair; see `SyntheticShape`.
        limit_bytes: whether the whole process stayed below this is told.
        threads: torch threads.
        progress: called after each prompt.

    Raises:
        WorkError: the process failed, for instance for lack of memory.
    """
    from tracescribe.tracer.synthetic import SyntheticShape, random_tokens, write_synthetic

    shape = SyntheticShape(
        kind="clt" if kind == "clt" else "plt",
        n_layers=n_layers,
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_mlp=2 * d_model,
        n_features=n_features,
        n_active=n_active,
        max_positions=max(64, *tokens),
    )
    clock = clock_of(threads)
    rows: list[dict[str, Figure]] = []
    with tempfile.TemporaryDirectory(prefix="tracescribe-bench-") as folder:
        written = write_synthetic(Path(folder), shape)
        for index, n_pos in enumerate(tokens):
            job = MemoryJob(
                call=TRACE,
                model=str(written.model),
                transcoders=str(written.transcoders),
                token_ids=tuple(random_tokens(n_pos, shape).tolist()),
                threads=threads,
                max_feature_nodes=budget,
            )
            use = measure_memory(job)
            rows.append(
                {
                    "tokens": n_pos,
                    "active": use.n_active,
                    "budget": budget,
                    "nodes": use.n_nodes,
                    "seconds": use.cpu_seconds if clock == "cpu" else use.wall_seconds,
                    "additional_bytes": use.additional,
                    "process_bytes": use.additional + use.baseline,
                    "within_limit": use.additional + use.baseline <= limit_bytes,
                }
            )
            if progress is not None:
                progress("long prompts", index + 1, len(tokens), "")
    settings = {"kind": kind, "budget": budget, "n_layers": n_layers, "d_model": d_model, "n_heads": n_heads}
    return FigureBench(
        bench="long",
        settings=settings | {"n_features": n_features, "n_active": n_active, "limit_bytes": limit_bytes},
        machine=describe_machine(threads),
        clock=clock,
        rows=tuple(rows),
        notes=(f"limit {limit_bytes / GIGABYTE:g} GB for the whole process; one run of each prompt",),
    )
