"""The gate does not pass where a tool is missing, and what it checks first does not need what it installs later."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
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


def test_the_type_check_does_not_need_the_extras() -> None:
    """The gate checks types before it installs the long suites' extras: pyright must not ask for what is not there yet."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    missing = {"ray", "playwright", "schemathesis", "inspect_ai", "datasets", "keyring"}
    assert missing <= {re.split(r"\W*[>=<\[]", one)[0].replace("-", "_") for extra in extras.values() for one in extra}
    seen = set[str]()
    for part in ("tracer", "agents", "evals", "prompts", "runs", "tests"):
        for path in sorted((ROOT / part).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            for line, name in _imported(ast.parse(text)):
                if name in missing:
                    seen.add(name)
                    assert "# pyright: reportMissingImports=false" in text, f"{path}:{line} imports {name}"
    assert {"ray", "playwright"} <= seen


@pytest.mark.parametrize(("marker", "folders"), [("batch", {"batch", "runs"}), ("browser", {"browser"})])
def test_the_long_suites_are_where_their_scripts_look(marker: str, folders: set[str]) -> None:
    """Each script reads its own folders alone: a marked test elsewhere would be run by nobody."""
    mark = f"pytest.mark.{marker}"
    marked = [path for path in (ROOT / "tests").rglob("*.py") if mark in path.read_text(encoding="utf-8")]
    found = {path.relative_to(ROOT / "tests").parts[0] for path in marked} - {Path(__file__).name}
    script = (ROOT / "scripts" / f"check_{marker}.sh").read_text(encoding="utf-8")
    assert found == folders
    assert all(f"tests/{folder}" in script for folder in folders)


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and first part of the name of every module that is imported by a statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name.partition(".")[0]) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, (node.module or "").partition(".")[0]
