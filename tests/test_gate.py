"""The gate does not pass where a tool is missing: its scripts fail there instead of skipping."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("check_web.sh",), 0, "NOT checked"),
        (("check_web.sh", "--require"), 1, "NOT checked"),
        (("check_browser.sh", "--no-install", "--require"), 1, "Chromium is missing"),
        (("check_batch.sh", "--require", "--no-install"), 1, "an extra"),
    ],
)
def test_what_is_missing_is_told_and_is_no_success(
    words: tuple[str, ...], status: int, said: str, tmp_path: Path
) -> None:
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    python = tmp_path / "python"  # one without any extra
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    script, *rest = words
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / script), *rest],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PATH": str(tmp_path), "VIRTUAL_ENV": str(tmp_path)},
    )
    assert done.returncode == status, done.stderr
    assert said in done.stderr
