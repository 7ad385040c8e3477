"""What tests of scans share: a small pair's shape, documents for it, and work in a process that may be killed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from tests.tracer.tiny_pair import TinyShape

SHAPE = TinyShape(jump=True)
CONTEXT = 12


def words(n_documents: int, seed: int = 0, longest: int = 40) -> list[str]:
    """Documents of random words, some longer than a window, some twice."""
    draw = random.Random(seed)
    texts = [
        " ".join(f"w{draw.randrange(3, 40)}" for _ in range(draw.randrange(1, longest))) for _ in range(n_documents)
    ]
    texts[n_documents // 2] = texts[0]
    return texts


def in_child(work: Callable[[Callable[[str], object]], object]) -> tuple[int, int]:
    """Fork; the child does the work and writes what it is told. Returns its process id and the pipe's end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    code = 1
    try:
        work(lambda stage: os.write(writer, stage[:1].encode()))
        code = 0
    finally:
        os._exit(code)
