"""`tracescribe bench evidence`: how fast a corpus is scanned, and how fast a feature is looked up."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tracescribe.runs.benchmarks.figures import FigureBench
from tracescribe.runs.benchmarks.machine import describe_machine, use_threads
from tracescribe.runs.benchmarks.measuring import Timing, clock_of
from tracescribe.runs.benchmarks.tracing import Progress


def bench_evidence(
    sentences: int = 2000, *, look_ups: int = 200, threads: int = 1, repeats: int = 3, progress: Progress | None = None
) -> FigureBench:
    """Scan a part of the embedded corpus, save it, open it, and look features up.

    Args:
        sentences: of the corpus; it is repeated where it is shorter.
        look_ups: features that are looked up, evenly spread over those that fire, each once on a store just opened.
        threads: torch threads.
        repeats: scans.
        progress: called after each scan.
    """
    from tracescribe.tracer import embedded
    from tracescribe.tracer.evidence import read_corpus, scan
    from tracescribe.tracer.evidence_store import EvidenceStore
    from tracescribe.tracer.graph import FeatureRef
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    model, transcoders = load_model("embedded"), load_transcoders("embedded")
    corpus = read_corpus(embedded.corpus_path())
    chosen = [corpus[i % len(corpus)] for i in range(sentences)]
    n_tokens = sum(len(model.encode(sentence)) for sentence in chosen)
    clock = clock_of(threads)
    wall: list[float] = []
    cpu: list[float] = []
    with use_threads(threads), tempfile.TemporaryDirectory(prefix="tracescribe-bench-") as folder:
        store = None
        for turn in range(repeats):
            at, spent = time.perf_counter(), time.process_time()
            store = scan(model, transcoders, chosen)
            wall.append(time.perf_counter() - at)
            cpu.append(time.process_time() - spent)
            if progress is not None:
                progress("evidence", turn + 1, repeats, "")
        assert store is not None, "there is at least one scan"
        store.save(Path(folder))
        n_bytes = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        began = time.perf_counter()
        opened = EvidenceStore.load(Path(folder))
        load_seconds = time.perf_counter() - began
        refs = [
            FeatureRef(layer, int(feature))
            for layer in range(transcoders.n_layers)
            for feature in opened.live(layer, min_active=1)
        ]
        refs = refs[:: max(1, len(refs) // look_ups)][:look_ups]
        times: list[float] = []
        for ref in refs:
            began = time.perf_counter()
            opened.feature(ref)
            times.append(time.perf_counter() - began)
    seconds = Timing(tuple(wall), tuple(cpu)).median(clock)
    times.sort()
    return FigureBench(
        bench="evidence",
        settings={"sentences": sentences, "look_ups": len(refs), "repeats": repeats},
        machine=describe_machine(threads),
        clock=clock,
        rows=(
            {
                "sentences": sentences,
                "tokens": n_tokens,
                "scan_seconds": seconds,
                "tokens_per_second": n_tokens / seconds,
                "store_bytes": n_bytes,
                "load_ms": 1e3 * load_seconds,
                "look_up_median_ms": 1e3 * times[len(times) // 2],
                "look_up_slowest_ms": 1e3 * times[-1],
            },
        ),
        notes=("look-ups are by the wall clock, each feature once, on a store just opened",),
    )
