"""How much memory scans take, in a process that did nothing before: `python -m tests.tracer.scan_growth by-limit FOLDER LIMIT...`.

Prints by how many bytes the resident set grew, for each limit in bytes. The folder is made.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.tracer.scanning import CONTEXT, SHAPE, in_child, words
from tests.tracer.tiny_pair import make_pair
from tracescribe.tracer import embedded
from tracescribe.tracer.corpus import FileCorpus
from tracescribe.tracer.evidence import read_corpus
from tracescribe.tracer.evidence_scan import build
from tracescribe.tracer.models import load_model
from tracescribe.tracer.scan_plan import BuildSettings
from tracescribe.tracer.transcoders import load_transcoders


def by_corpus(folder: Path, *limits: int) -> dict[int, list[int]]:
    """Of a corpus and of ten times that; a whole scan went before each, so that no page of a library counts as its own."""
    folder.mkdir()
    pair = make_pair(folder, SHAPE)
    corpora = [folder / f"{times}.txt" for times in (1, 10)]
    for times, path in zip((1, 10), corpora, strict=True):
        path.write_text("\n".join(words(250 * times, seed=times)) + "\n", encoding="utf-8")

    def growth(limit: int, path: Path) -> int:
        settings = BuildSettings(context_size=CONTEXT, max_memory=limit, sample_tokens=500)
        scans = folder / f"{path.stem}-{limit}"
        return growth_in_child(
            lambda: build(*pair, FileCorpus(path), scans / "scan", settings),
            folder / "growth",
            after=lambda: build(*pair, FileCorpus(corpora[0]), scans / "before", settings),
        )

    return {limit: [growth(limit, path) for path in corpora] for limit in limits}


def by_limit(folder: Path, *limits: int) -> dict[int, int]:
    """Of one corpus, from before the first import of the Parquet library."""
    folder.mkdir()
    model, transcoders = load_model("embedded"), load_transcoders("embedded")
    path = folder / "corpus.txt"
    path.write_text("\n".join(read_corpus(embedded.corpus_path())[:3000]), encoding="utf-8")

    def growth(limit: int) -> int:
        settings = BuildSettings(max_memory=limit)
        scan = folder / str(limit)
        return growth_in_child(lambda: build(model, transcoders, FileCorpus(path), scan, settings), folder / "growth")

    return {limit: growth(limit) for limit in limits}


def growth_in_child(work: Callable[[], object], told: Path, after: Callable[[], object] = lambda: None) -> int:
    """In a fork, so that each starts from the same memory; what goes before it is not measured."""

    def measured(_: Callable[[str], object]) -> None:
        after()
        told.write_text(str(growth_of(work)))

    child, reader = in_child(measured)
    os.close(reader)
    assert os.waitpid(child, 0)[1] == 0
    return int(told.read_text())


def growth_of(work: Callable[[], object]) -> int:
    """Bytes that the resident set grows by at its highest; what earlier work freed and still holds is given back first."""
    ctypes.CDLL(None).malloc_trim(0)
    before = kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    work()
    return (kilobytes("VmHWM") - before) * 1024


def kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    measure = {"by-corpus": by_corpus, "by-limit": by_limit}[sys.argv[1]]
    print(json.dumps(measure(Path(sys.argv[2]), *map(int, sys.argv[3:]))))
