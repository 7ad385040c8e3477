"""`tracescribe bench review --browser` measures a real page, and fails where limits are missed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import find_chromium
from tests.browser.site import TRACESCRIBE
from tracescribe.runs.benchmarks.review_graph import ACTS


@pytest.mark.usefixtures("browser")
def test_limits_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    size = ("--nodes", "200", "--edges", "1000", "--chromium", str(find_chromium()))
    limits = ("--paint-ms", "0", "--frames", "1000000")
    # in a process of its own: one process has one Playwright
    command = [*TRACESCRIBE, "bench", "review", "--browser", *size, *limits, "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1200, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    rows = {row["what"]: row["value"] for row in told["rows"]}
    missed = [
        "first paint, first visit, ms",
        "first paint, worst, ms",
        *(f"frames per second, {act}" for act in ACTS),
    ]
    assert [line.partition(":")[0] for line in told["missed"]] == missed
    lines = [line for line in done.stderr.splitlines() if line.startswith("missed: ")]
    assert [line.removeprefix("missed: ") for line in lines] == told["missed"]
    assert rows["edges drawn"] == 1_000
    assert all(value > 0 for value in rows.values())
