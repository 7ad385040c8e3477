"""`tracescribe bench evidence`: how fast a corpus is scanned, how fast a feature is looked up, and what a kill changes.

The scan is the one of any size, from text to finished files (`evidence_scan.build`); beside it stands the small scan
that keeps everything in memory. One more scan runs in a process of its own that is killed with SIGKILL in the middle and
taken up here; its files are compared with those of an undisturbed one, byte for byte.

    python -m tracescribe.runs.benchmarks.evidence CORPUS FOLDER SHARD_TOKENS THREADS
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.benchmarks.figures import FigureBench
from tracescribe.runs.benchmarks.machine import describe_machine, use_threads
from tracescribe.runs.benchmarks.measuring import clock_of, time_alternating
from tracescribe.runs.benchmarks.tracing import Progress
from tracescribe.tracer.errors import WorkError
from tracescribe.tracer.evidence_manifest import MANIFEST

if TYPE_CHECKING:
    from tracescribe.tracer.feature_files import FeatureFiles
    from tracescribe.tracer.graph import FeatureRef

SHARDS_OF_KILLED = 6
"""Shards of the scan that is killed, about: there must be some behind the kill and some before it."""
ATTEMPTS = 5
"""Processes that are started to kill one in the middle: a small scan may be faster than the signal."""


@dataclass(frozen=True)
class _LookUps:
    """Milliseconds of look-ups, ascending."""

    cold: tuple[float, ...]
    warm: tuple[float, ...]


def bench_evidence(
    sentences: int = 2000, *, look_ups: int = 400, threads: int = 1, repeats: int = 3, progress: Progress | None = None
) -> FigureBench:
    """Scan a part of the embedded corpus into files, look features up, and kill a scan in the middle.

    Args:
        sentences: of the corpus; it is repeated where it is shorter.
        look_ups: features that are looked up, evenly spread over those that fire.
        threads: torch threads.
        repeats: timed scans of each kind.
        progress: called after each scan.
    """
    from tracescribe.tracer import embedded
    from tracescribe.tracer.corpus import FileCorpus
    from tracescribe.tracer.evidence import read_corpus, scan
    from tracescribe.tracer.evidence_scan import build
    from tracescribe.tracer.feature_files import FeatureFiles
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.scan_plan import BuildSettings
    from tracescribe.tracer.transcoders import load_transcoders

    model, transcoders = load_model("embedded"), load_transcoders("embedded")
    corpus = read_corpus(embedded.corpus_path())
    chosen = [corpus[i % len(corpus)] for i in range(sentences)]
    clock = clock_of(threads)
    with use_threads(threads), tempfile.TemporaryDirectory(prefix="tracescribe-bench-") as name:
        folder = Path(name)
        text = folder / "corpus.txt"
        text.write_text("\n".join(chosen) + "\n", encoding="utf-8")
        stages: dict[str, float] = {}
        turns = 0

        def to_files() -> None:
            nonlocal turns
            began = time.perf_counter()

            def tell(stage: str, *_: object) -> None:
                stages[stage] = time.perf_counter() - began

            turns += 1
            build(model, transcoders, FileCorpus(text), folder / f"scan{turns}", progress=tell)
            stages["all"] = time.perf_counter() - began

        def in_memory() -> None:
            scan(model, transcoders, chosen)

        def done(turn: int, total: int) -> None:
            if progress is not None:
                progress("evidence", turn, total, "")

        timings = time_alternating({"files": to_files, "memory": in_memory}, repeats, done)
        files = FeatureFiles.load(folder / "scan1")
        n_tokens = files.manifest.n_tokens
        found = _look_up(folder / "scan1", _spread(files, look_ups))
        size = sum(file.stat().st_size for file in (folder / "scan1").rglob("*") if file.is_file())

        def scan_again(target: Path, shard_tokens: int) -> None:
            build(model, transcoders, FileCorpus(text), target, BuildSettings(shard_tokens=shard_tokens))

        same = _killed_is_undisturbed(text, folder, n_tokens, threads, scan_again)
    seconds, small = (timings[kind].median(clock) for kind in ("files", "memory"))
    return FigureBench(
        bench="evidence",
        settings={"sentences": sentences, "look_ups": len(found.cold), "repeats": repeats},
        machine=describe_machine(threads),
        clock=clock,
        rows=(
            {
                "sentences": sentences,
                "tokens": n_tokens,
                "scan_seconds": seconds,
                "tokens_per_second": n_tokens / seconds,
                "writing_seconds": stages["all"] - stages["scan"],
                "in_memory_seconds": small,
                "file_bytes": size,
                "cold_p50_ms": _percentile(found.cold, 50),
                "cold_p99_ms": _percentile(found.cold, 99),
                "warm_p50_ms": _percentile(found.warm, 50),
                "warm_p99_ms": _percentile(found.warm, 99),
                "same_after_kill": same,
            },
        ),
        notes=(
            "writing_seconds, by the wall clock: what is left of scan_seconds behind the last shard",
            "look-ups are by the wall clock, contexts of both halves; cold: no block of the file is in memory yet",
            "same_after_kill: files of a scan killed with SIGKILL and resumed equal those of an undisturbed one, byte for byte",
        ),
    )


def _spread(files: FeatureFiles, n: int) -> list[FeatureRef]:
    """Features that fire, evenly spread."""
    from tracescribe.tracer.graph import FeatureRef

    every = [
        FeatureRef(layer, int(feature))
        for layer in range(len(files.n_features))
        for feature in files.live(layer, min_active=1)
    ]
    return every[:: max(1, len(every) // n)][:n]


def _look_up(folder: Path, refs: list[FeatureRef]) -> _LookUps:
    """Look every feature up twice: in files just opened, token texts and counts alone read, and again."""
    from tracescribe.tracer.feature_files import FeatureFiles

    times: tuple[list[float], list[float]] = ([], [])
    for ref in refs:
        files = FeatureFiles.load(folder)
        files.density(ref)
        for kept in times:
            began = time.perf_counter()
            files.feature(ref)
            kept.append(1e3 * (time.perf_counter() - began))
    return _LookUps(tuple(sorted(times[0])), tuple(sorted(times[1])))


def _percentile(ordered: tuple[float, ...], share: int) -> float:
    """The value that `share` % of the values do not exceed."""
    return ordered[min(len(ordered) - 1, -(-len(ordered) * share // 100) - 1)]


def _killed_is_undisturbed(
    text: Path, folder: Path, n_tokens: int, threads: int, build_here: Callable[[Path, int], object]
) -> bool:
    """Whether a scan killed behind its first shard and taken up here leaves the same bytes as one left alone.

    Raises:
        WorkError: the process failed, or was always done before it could be killed.
    """
    from tracescribe.tracer.evidence_checkpoint import CHECKPOINT

    shard_tokens = max(1, n_tokens // SHARDS_OF_KILLED)
    build_here(folder / "undisturbed", shard_tokens)
    for attempt in range(ATTEMPTS):
        target = folder / f"killed{attempt}"
        command = [sys.executable, "-m", __name__, str(text), str(target), str(shard_tokens), str(threads)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None, "they were asked for"
            told = process.stdout.readline()  # a shard is done
            process.kill()
            errors = "" if told else process.stderr.read()
        if not told:
            last = (errors.strip().splitlines() or ["no message"])[-1]
            raise WorkError(f"the scan that was to be killed ended by itself: {last}")
        if (target / CHECKPOINT).is_dir() and not (target / MANIFEST).exists():
            build_here(target, shard_tokens)
            return _contents(target) == _contents(folder / "undisturbed")
    raise WorkError("the scan was always finished before it could be killed; raise --sentences")


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _scan_here(corpus: str, folder: str, shard_tokens: str, threads: str) -> None:
    """One scan of the embedded pair; a line for every shard."""
    from tracescribe.tracer.corpus import FileCorpus
    from tracescribe.tracer.evidence_scan import build
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.scan_plan import BuildSettings
    from tracescribe.tracer.transcoders import load_transcoders

    settings = BuildSettings(shard_tokens=int(shard_tokens))
    with use_threads(int(threads)):
        build(
            load_model("embedded"),
            load_transcoders("embedded"),
            FileCorpus(Path(corpus)),
            Path(folder),
            settings,
            lambda stage, *_: print(stage, flush=True),
        )


if __name__ == "__main__":
    _scan_here(*sys.argv[1:])
