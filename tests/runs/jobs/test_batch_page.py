"""The two minutes of docs/batch.md, as a new user has them: its file and its commands, with a kill in the middle."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "batch.md"
PATIENCE = 900.0
"""Seconds after which what must come is given up; nothing passes or fails by how fast it comes."""


def _blocks(section: str, language: str) -> list[str]:
    """Code of one section of the page."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


class _User:
    """Types commands into a shell of their own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRACESCRIBE_")}
        homes = {name: str(folder / "home") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
        self.environment = {**kept, **homes, "OMP_NUM_THREADS": "1"}

    def begin(self, line: str) -> subprocess.Popen[str]:
        words = shlex.split(line)
        assert words[0] == "tracescribe"
        command = [sys.executable, "-m", "tracescribe.runs", *words[1:]]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **pipes)

    def types(self, line: str) -> str:
        with self.begin(line) as process:
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, (line, out, err)
        return out


@pytest.mark.batch
def test_the_two_minutes_are_as_the_page_says(tmp_path: Path) -> None:
    user = _User(tmp_path)
    (tmp_path / "job.yaml").write_text(_blocks("Two minutes", "yaml")[0])
    first, again, look, compare = (block.strip().splitlines() for block in _blocks("Two minutes", "sh"))
    assert "in order; 8 cases" in user.types(first[0])
    with user.begin(first[1]) as process:
        assert process.stderr is not None
        end = time.monotonic() + PATIENCE
        while "running" not in (line := process.stderr.readline()):
            assert line, "it ended before it told that it runs"
            assert time.monotonic() < end
        time.sleep(2)
        os.kill(process.pid, signal.SIGKILL)
    assert "of 8" in user.types(again[0])
    assert "8 done" in user.types(again[1])
    assert "8 done" in user.types(again[1]), "to resume what is done is no error"
    for name in ("summary.html", "summary.md", "summary.json", "cases.parquet"):
        assert (tmp_path / "results" / name).stat().st_size > 0
    for line in look:
        user.types(line)
    assert len(list((tmp_path / "everything").rglob("report.json"))) == 8

    user.types(compare[0])
    assert (tmp_path / "influence" / "summary.html").is_file()
    newer, older = (job["job_id"] for job in json.loads(user.types(compare[1] + " --json"))["jobs"])
    assert "8" in user.types(compare[2].replace("JOB_A", older).replace("JOB_B", newer))
