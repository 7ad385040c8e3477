"""`tracescribe interpret`: plans, interruptions, language models that fail, and which prompts a report names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agents.fake_server import Reply, serving
from tests.agents.fake_thinker import think
from tracescribe.agents import rendering
from tracescribe.agents.llm.investigator import InvestigatorProposer
from tracescribe.agents.llm.one_shot import OneShotProposer
from tracescribe.agents.llm.pipeline import PipelineProposer
from tracescribe.agents.llm.settings import STYLES, Style
from tracescribe.agents.report import CircuitReport, parse_report
from tracescribe.prompts import list_prompts
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import write_graph

Run = Callable[..., Any]
TEMPLATES: dict[Style, tuple[str, ...]] = {
    "pipeline": PipelineProposer.TEMPLATES,
    "one-shot": OneShotProposer.TEMPLATES,
    "investigator": InvestigatorProposer.TEMPLATES,
}
DALLAS = "the capital of the state containing Dallas is"


@pytest.fixture
def graph_file(tmp_path: Path, dallas_graph: AttributionGraph) -> Path:
    """The unpruned graph of the best-known prompt, saved; without weights it is interpreted in a second."""
    path = tmp_path / "dallas.json"
    write_graph(path, dallas_graph)
    return path


def files(folder: Path) -> set[str]:
    """Names of all files below a folder."""
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("style", STYLES)
def test_a_plan_asks_nothing_and_writes_nothing(style: str, run: Run, graph_file: Path, tmp_path: Path) -> None:
    with serving(think) as server:
        spec = f"openai-compatible:{server.url('openai')}"
        plan = run(
            "interpret", "--graph", graph_file, "--no-weights", "--agent", spec, "--style", style,
            "--price-input", "1", "--price-output", "2", "--max-tokens", "100", "--dry-run", "--json",
        ).json  # fmt: skip
        assert server.calls == 0
    assert files(tmp_path) == {"dallas.json"}
    assert plan["answer"].strip() == "Austin" and plan["style"] == style
    assert 0 < plan["labels"] <= plan["features"] and plan["steps"][0] == "trace"
    assert 0 < plan["calls"]["low"] <= plan["calls"]["high"]
    assert 0 < plan["usd"]["low"] <= plan["usd"]["high"] and plan["tokens"]["low"] <= plan["tokens"]["high"]
    assert 0 < plan["tokens"]["low"] <= 100, "the limit ends the run before it has asked all that it would"
    assert plan["over"] == ["tokens"], "the limit was set below what the plan needs"


def test_the_plan_holds_what_then_happens(run: Run, tmp_path: Path) -> None:
    with serving(think) as server:
        call = (
            "interpret",
            "-p",
            DALLAS,
            "--agent",
            f"openai-compatible:{server.url('openai')}#fake-1",
            "--max-rounds",
            "1",
        )
        plan = run(*call, "--dry-run", "--json").json
        done = run(*call, "--out", "report", "--json")
        asked = server.calls
    assert done.code == 0, done.err
    assert plan["calls"]["low"] <= asked <= plan["calls"]["high"]
    assert 0 < plan["forward_passes"]["high"] <= plan["budget"]["forward_passes"]
    assert done.json["cost"]["experiments"] <= plan["experiments"]["high"]
    assert done.json["cost"]["forward_passes"] <= plan["forward_passes"]["high"]
    assert done.json["language_model"]["failed_steps"] == []
    assert done.json["language_model"]["calls"] == asked


def test_a_plan_of_an_agent_without_a_language_model_costs_nothing(run: Run, graph_file: Path, tmp_path: Path) -> None:
    done = run("interpret", "--graph", graph_file, "--no-weights", "--dry-run", "--out", "report")
    assert done.code == 0, done.err
    assert "language model: not asked; nothing to pay" in done.out
    assert "experiments: at most 0" in done.out
    assert files(tmp_path) == {"dallas.json"}


@pytest.fixture
def interrupted(run: Run, graph_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """A call whose first run was interrupted while its report was written."""
    call = ("interpret", "--graph", graph_file, "--no-weights", "--out", "report")
    with monkeypatch.context() as patched:
        patched.setattr(rendering, "write_report", _interrupt)
        done = run(*call)
    assert done.code == 130
    assert f"the run is kept in {tmp_path / 'report' / 'run'}: the same command goes on with it, --fresh" in done.err
    assert "report.json" not in files(tmp_path)
    return call


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_run_says_how_to_go_on_and_goes_on(interrupted: tuple[object, ...], run: Run) -> None:
    done = run(*interrupted, "--json")
    assert done.code == 0, done.err
    assert "going on with the unfinished run in" in done.err
    assert done.json["resumed"] is True
    assert read("report").claims
    assert run(*interrupted, "--json").json["resumed"] is False, "a finished run starts anew"


def test_another_call_does_not_go_on_with_it_unless_it_is_thrown_away(
    interrupted: tuple[object, ...], run: Run
) -> None:
    other = run(*interrupted, "--seed", "1")
    assert other.code == 2
    assert "seed: 0, not 1" in other.err and "--fresh" in other.err
    assert "the same command goes on with it" not in other.err
    fresh = run(*interrupted, "--seed", "1", "--fresh", "--json")
    assert fresh.code == 0, fresh.err
    assert fresh.json["resumed"] is False


def read(folder: str) -> CircuitReport:
    """The report in a folder, validated."""
    return parse_report((Path(folder) / "report.json").read_text(encoding="utf-8"))


def test_a_language_model_that_is_down_leaves_a_report_that_says_so(run: Run, graph_file: Path) -> None:
    with serving(lambda _: Reply(status=401, text="no")) as server:
        spec = f"openai-compatible:{server.url('openai')}#fake-1"
        done = run("interpret", "--graph", graph_file, "--no-weights", "--agent", spec, "--out", "report")
    assert done.code == 0, done.err
    assert "2 of 3 steps of the language model failed: label, group" in done.out
    assert "price not known" in done.out and "0 sent again" in done.out
    assert read("report").failures


@pytest.mark.parametrize("style", STYLES)
def test_a_report_names_the_prompts_of_its_style_and_no_others(style: Style, run: Run, graph_file: Path) -> None:
    shipped = {template.reference: f"{template.version} sha256:{template.sha256}" for template in list_prompts()}
    with serving(think) as server:
        spec = f"openai-compatible:{server.url('openai')}#fake-1"
        done = run(
            "interpret", "--graph", graph_file, "--no-weights", "--agent", spec, "--style", style, "--no-judge-labels",
            "--out", "report",
        )  # fmt: skip
    assert done.code == 0, done.err
    named = read("report").provenance.prompt_versions
    used = run("agents", "ledger", "report/llm_calls.jsonl", "--json").json["templates"]
    assert {reference.partition("@")[0] for reference in used} <= set(named)
    assert all(named[reference.partition("@")[0]] == shipped[reference] for reference in used)
    assert set(named) == {*TEMPLATES[style], "repair_answer"}


def test_settings_of_the_loop_reach_the_report(run: Run, graph_file: Path) -> None:
    done = run(
        "interpret", "--graph", graph_file, "--no-weights", "--out", "report", "--max-rounds", "2",
        "--paraphrase", "in other words", "--paraphrase", "in others still", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    settings = json.loads(Path("report/report.json").read_text(encoding="utf-8"))["provenance"]["agent_settings"]
    text = json.dumps(settings)
    assert '"max_rounds": 2' in text and '["in other words", "in others still"]' in text
    assert done.json["stopped"]["reason"] == "untestable"
