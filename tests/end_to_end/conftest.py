"""Runs the command line as people do: a process of its own, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CommandLine = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tracescribe(tmp_path: Path) -> CommandLine:
    """Call it with arguments; it runs in a new, empty folder and returns exit code, stdout and stderr."""

    def run(*arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        home = tmp_path / "here"
        home.mkdir(exist_ok=True)
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        return subprocess.run(
            [sys.executable, "-m", "tracescribe.runs", *arguments],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
