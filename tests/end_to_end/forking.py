"""Runs command lines, each in a process of its own, without importing everything anew each time.

Read from standard input, one JSON list of arguments a line; told on standard output, one line when the process has begun
(its id) and one when it has ended (its exit status: minus the signal that killed it). The processes write to files.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

HEAVY = (
    "openai.resources.chat.completions.completions",
    "transformers",
    "langgraph.graph",
    "langgraph.checkpoint.sqlite",
    "tracescribe.runs.cli",
)
PACKAGES = ("tracescribe.agents", "tracescribe.runs.commands", "tracescribe.tracer")
"""Every module in these is imported beforehand, down to their sub-packages."""


def serve(folder: Path) -> None:
    """Run what standard input asks for, one process at a time."""
    import torch

    # A thread pool does not survive a fork, so none may be made here or there.
    torch.set_num_threads(1)
    for name in (*HEAVY, *_modules()):
        importlib.import_module(name)
    from tracescribe.agents.toolbox import load_toolbox

    load_toolbox()  # a first loading imports yet more
    for number, line in enumerate(sys.stdin):
        child = os.fork()
        if child == 0:
            _become(json.loads(line), folder / f"{number}.out")
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _modules() -> Iterator[str]:
    for package in PACKAGES:
        folder = importlib.import_module(package).__path__
        yield from (
            module.name for module in pkgutil.walk_packages(folder, f"{package}.") if "__main__" not in module.name
        )


def _become(arguments: list[str], output: Path) -> None:
    """Run one command line in this process, which ends with it."""
    from tracescribe.runs.cli import main

    written = os.open(output, os.O_WRONLY | os.O_CREAT, 0o644)
    os.dup2(written, 1)
    os.dup2(written, 2)
    code = 99
    try:
        code = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
