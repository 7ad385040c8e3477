"""The whole command line with a small Hugging Face model for a language model: it runs, whatever the quality.

The model has random weights, so that its answers are rubbish: every step of it fails, the report is written all the same,
and says so.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents.hf_server import make_tiny_model, serving_hf
from tracescribe.agents.calls.ledger import summarize_ledger
from tracescribe.agents.report import CircuitReport, parse_report
from tracescribe.runs.cli import main

CommandLine = Callable[..., "subprocess.CompletedProcess[str]"]
DALLAS = "the capital of the state containing Dallas is"


def read(folder: Path) -> CircuitReport:
    """The report in a folder, validated."""
    assert {"report.json", "report.md", "report.html", "graph.json", "llm_calls.jsonl"} <= {
        path.name for path in folder.iterdir()
    }
    return parse_report((folder / "report.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_served_model_runs_from_prompt_to_report(tracescribe: CommandLine, tmp_path: Path) -> None:
    with serving_hf(make_tiny_model(tmp_path / "tiny")) as server:
        done = tracescribe(
            "interpret", "--prompt", DALLAS, "--agent", f"openai-compatible:{server.url}", "--out", str(tmp_path / "out")
        )  # fmt: skip
        asked = server.calls
    assert done.returncode == 0, done.stderr
    report = read(tmp_path / "out")
    assert asked > 0 and report.cost.llm_calls > 0 and report.cost.output_tokens > 0
    assert report.provenance.agent == "llm-pipeline:tiny-random"
    assert report.failures and "steps of the language model failed" in done.stdout
    assert summarize_ledger(tmp_path / "out" / "llm_calls.jsonl").sendings == asked


def test_a_model_in_a_folder_runs_from_prompt_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_tiny_model(tmp_path / "tiny", context=65_536)
    settings = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    # random weights hardly ever say the one token that ends an answer; so that it ends, any token does here
    settings["eos_token_id"] = list(range(json.loads((folder / "config.json").read_text())["vocab_size"]))
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    capsys.readouterr()
    code = main(
        ["interpret", "--prompt", DALLAS, "--agent", f"local:{folder}", "--style", "one-shot"]
        + ["--out", str(tmp_path / "out"), "--json"]
    )
    out, err = capsys.readouterr()
    assert code == 0, err
    report, told = read(tmp_path / "out"), json.loads(out)
    assert 1 <= report.cost.llm_calls <= 3 and report.cost.usd == 0.0
    assert report.provenance.agent.startswith("llm-one-shot:")
    assert told["language_model"]["failed_steps"] and told["language_model"]["resent"] == 0
