"""The demo as a newcomer meets it: a process of its own, its story, its scores, and the same report every time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tracescribe.agents.claims import SwapClaim
from tracescribe.agents.report import CircuitReport, parse_report
from tracescribe.agents.testing.experiment_settings import MIN_CONTROLS

STEPS = ("load", "trace", "prune", "evidence", "label", "test labels", "group", "hypothesise", "register")
LATE_STEPS = ("experiment", "judge", "revise", "report", "write", "score", "baselines")


def _demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    return subprocess.run(
        [sys.executable, "-m", "tracescribe.runs", "demo", *options],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    """`tracescribe demo --json`: the document, what was shown on the way, and the folder it ran in."""
    folder = tmp_path_factory.mktemp("demo") / "first"
    done = _demo(folder, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr, folder


@pytest.fixture(scope="module")
def report(demo: tuple[dict[str, Any], str, Path]) -> CircuitReport:
    """The demo's report, validated."""
    return parse_report(Path(demo[0]["report"]).read_text(encoding="utf-8"))


def test_every_step_is_shown_with_its_seconds(demo: tuple[dict[str, Any], str, Path]) -> None:
    told, shown, _ = demo
    lines = [line for line in shown.splitlines() if line.startswith("  ✓ ")]
    steps = [re.match(r"  ✓ (.+?) +\d+\.\d s", line) for line in lines]
    assert all(steps)
    assert [m[1] for m in steps if m and m[1] in STEPS + LATE_STEPS] == [*STEPS, *LATE_STEPS]
    assert set(told["seconds"]) == {m[1] for m in steps if m}
    assert told["seconds_total"] == pytest.approx(sum(told["seconds"].values()), abs=0.01)


def test_json_tells_paths_verdicts_and_scores(demo: tuple[dict[str, Any], str, Path]) -> None:
    told, _, folder = demo
    for key in ("report", "html", "markdown", "graph"):
        path = Path(told[key])
        assert path.is_file()
        assert path.parent == folder / "tracescribe-workspace" / "demo"
    assert set(told["verdicts"]) == {"supported", "refuted", "inconclusive", "untested"}
    assert told["verdicts"]["supported"] >= 3
    assert told["verdicts"]["untested"] < told["verdicts"]["supported"]
    assert told["answer"].strip() == "Austin"
    assert told["failures"] == []
    assert set(told["baselines"]) == {"random", "influence", "position"}
    scored = {name: value for name, value in told["scores"].items() if value is not None}
    assert len(scored) >= 5
    assert all(0 <= value <= 1 for value in scored.values())


def test_texas_is_an_intermediate_step_and_a_swap_supports_it(report: CircuitReport) -> None:
    texas = [s for s in report.supernodes if "Texas" in s.label and s.role == "intermediate"]
    assert texas, [(s.label, s.role) for s in report.supernodes]
    ids = {s.supernode_id for s in texas}
    verdicts = {verdict.claim_id: verdict for verdict in report.verdicts}
    swaps = [claim for claim in report.claims if isinstance(claim, SwapClaim) and claim.supernode in ids]
    supported = [claim for claim in swaps if verdicts[claim.claim_id].outcome == "supported"]
    assert supported
    for claim in supported:
        verdict = verdicts[claim.claim_id]
        assert verdict.n_controls >= MIN_CONTROLS
        assert verdict.q_value is not None
        assert verdict.q_value <= 0.05
        assert claim.expected_token.strip() != "Austin"
    told = [s.text for s in report.summary if set(s.claims) & {claim.claim_id for claim in supported}]
    assert any("Texas" in text and "swap" in text for text in told), told
    assert any("Texas" in s.text and "intermediate step" in s.text for s in report.summary)


def _without_times_and_paths(path: Path) -> Any:
    document = json.loads(path.read_text(encoding="utf-8"))
    document["cost"].pop("seconds")
    document["cost"].pop("seconds_by_step")
    return document


def test_two_runs_with_one_seed_give_the_same_report(demo: tuple[dict[str, Any], str, Path], tmp_path: Path) -> None:
    first = demo[0]
    done = _demo(tmp_path / "second", "--json")
    assert done.returncode == 0, done.stderr
    second = json.loads(done.stdout)
    assert _without_times_and_paths(Path(first["report"])) == _without_times_and_paths(Path(second["report"]))
    assert Path(first["graph"]).read_bytes() == Path(second["graph"]).read_bytes()
    assert first["scores"] == second["scores"]
    assert first["story"] == second["story"]


def _hear_interrupts() -> None:
    """A shell that runs tests in the background has them ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _signalled_after(step: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that is interrupted as soon as a step is done."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tracescribe.runs", "demo"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,  # noqa: PLW1509 - this process starts no threads
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"  ✓ {step}"):
            process.send_signal(signal.SIGINT)
            break
    yield process


@pytest.mark.parametrize("step", ["load", "hypothesise"])
def test_an_interrupted_demo_leaves_nothing_half_written(step: str, tmp_path: Path) -> None:
    for process in _signalled_after(step, tmp_path):
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 130, errors
        assert out == ""
        assert errors.splitlines()[-1] == "error: interrupted"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
