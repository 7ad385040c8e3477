"""Reports from prompts and graphs, by every agent, and their scores."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.agents.fake_server import serving
from tests.agents.fake_thinker import think
from tracescribe.agents.report import CircuitReport, parse_report
from tracescribe.runs.agent_choice import AGENTS
from tracescribe.runs.cli import main
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import write_graph

Run = Callable[..., Any]
DALLAS = "the capital of the state containing Dallas is"
HOT = "the opposite of slow is"


def read(done: Any) -> CircuitReport:
    """The report that a command says it wrote, validated."""
    assert done.code == 0, done.err
    return parse_report(Path(done.json["report"]).read_text(encoding="utf-8"))


@pytest.fixture
def graph_file(tmp_path: Path, dallas_graph: AttributionGraph) -> Path:
    """The unpruned graph of the best-known prompt, saved."""
    path = tmp_path / "dallas.json"
    write_graph(path, dallas_graph)
    return path


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory, dallas_graph: AttributionGraph) -> Path:
    """What `tracescribe interpret` makes of that graph; nobody changes it."""
    folder = tmp_path_factory.mktemp("interpreted")
    write_graph(folder / "dallas.json", dallas_graph)
    with redirect_stdout(io.StringIO()):
        assert main(["interpret", "--graph", str(folder / "dallas.json"), "--out", str(folder / "report")]) == 0
    return folder / "report"


def test_a_prompt_becomes_a_tested_report(run: Run, tmp_path: Path) -> None:
    done = run("interpret", "-p", HOT, "--out", "report", "--json")
    report = read(done)
    assert report.tested
    assert report.prompt == HOT
    assert done.json["answer"].strip() == "fast"
    assert report.verdict_counts()["supported"] >= 1
    assert report.provenance.agent == "offline"
    files = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"report.json", "report.md", "report.html", "graph.json"} <= files
    assert "<script" not in (tmp_path / "report" / "report.html").read_text(encoding="utf-8").lower()


def test_people_read_the_story_with_its_verdicts(run: Run, graph_file: Path) -> None:
    done = run("interpret", "--graph", graph_file, "--out", "report")
    assert done.code == 0, done.err
    assert "'Texas'" in done.out
    assert "✓" in done.out
    assert " claims: " in done.out
    assert "report.html" in done.out
    assert "  ✓ experiment" in done.err


def test_a_saved_graph_is_tested_with_its_weights_and_gives_the_same_report(run: Run, interpreted: Path) -> None:
    by_graph = parse_report((interpreted / "report.json").read_text(encoding="utf-8"))
    by_prompt = read(run("interpret", "-p", DALLAS, "--out", "by-prompt", "--json"))
    assert by_graph.tested
    assert by_graph.model_dump(exclude={"cost"}) == by_prompt.model_dump(exclude={"cost"})


def test_a_saved_graph_without_weights_stays_untested_and_says_so(run: Run, graph_file: Path) -> None:
    done = run("interpret", "--graph", graph_file, "--no-weights", "--out", "report")
    assert done.code == 0, done.err
    report = parse_report(Path("report/report.json").read_text(encoding="utf-8"))
    assert not report.tested
    assert report.claims
    assert report.verdict_counts()["untested"] == len(report.claims)
    assert "Hypotheses only: nothing was tested." in done.out
    assert "nothing was tested" in Path("report/report.html").read_text(encoding="utf-8").lower()


def test_a_graph_of_other_weights_stays_untested(run: Run, graph_file: Path) -> None:
    document = json.loads(graph_file.read_text(encoding="utf-8"))
    text = json.dumps(document)
    for key in ("model_sha256", "transcoders_sha256"):
        found = _find(document, key)
        text = text.replace(found, found[::-1])
    graph_file.write_text(text, encoding="utf-8")
    report = read(run("interpret", "--graph", graph_file, "--out", "report", "--json"))
    assert not report.tested
    assert set(report.verdict_counts()) >= {"untested"}
    assert report.verdict_counts()["untested"] == len(report.claims)


def _find(value: Any, key: str) -> str:
    """The first value of a key anywhere in a document."""
    if isinstance(value, dict):
        if isinstance(value.get(key), str):
            return str(value[key])
        return next((found for item in value.values() if (found := _find(item, key))), "")
    return ""


@pytest.mark.parametrize("agent", [name for name in AGENTS if name not in ("llm", "offline")])
def test_every_baseline_interprets(agent: str, run: Run, graph_file: Path) -> None:
    report = read(run("interpret", "--graph", graph_file, "--agent", agent, "--out", agent, "--json"))
    assert report.provenance.agent == agent
    assert report.tested


def test_a_language_model_interprets_through_its_sdk(run: Run, graph_file: Path) -> None:
    with serving(think) as server:
        call = (
            "interpret", "--graph", graph_file, "--agent", "llm", "--provider", "openai", "--llm-model", "fake-1",
            "--base-url", server.url("openai"), "--out", "report", "--json",
        )  # fmt: skip
        report = read(run(*call))
        asked = len(server.questions)
        again = read(run(*call))
        assert len(server.questions) == asked, "a recorded answer is never paid for again"
    assert report.provenance.agent.startswith("llm")
    assert report.cost.llm_calls == asked > 0
    assert report.claims == again.claims
    assert Path("report/llm_calls.jsonl").is_file()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--agent", "llm"), "no language-model provider"),
        (("--agent", "llm", "--provider", "anthropic", "--llm-model", "x"), "ANTHROPIC_API_KEY"),
        (("--provider", "openai"), "--agent offline asks no language model, found --provider"),
        (("--style", "one-shot", "--no-judge-labels"), "found --style and --no-judge-labels"),
        (("--agent", "openai:gpt-5-mini"), "OPENAI_API_KEY"),
        (("--agent", "anthropic:claude-haiku-4-5"), "ANTHROPIC_API_KEY"),
        (("--agent", "openai:"), "needs a model"),
        (("--agent", "openai-compatible:ftp://x/v1#m"), "not http or https"),
        (("--agent", "openai-compatible:http://127.0.0.1:1/v1"), "127.0.0.1:1"),
        (("--agent", "openai-compatible:http://127.0.0.1:1/v1#m", "--llm-model", "m"), "names its model already"),
        (("--agent", "openai-compatible:http://127.0.0.1:1/v1#m", "--max-usd", "1"), "cannot be kept"),
        (("--agent", "openai-compatible:http://127.0.0.1:1/v1#m", "--price-input", "1"), "give both or neither"),
        (("--agent", "local:/no/such/folder"), "no folder /no/such/folder"),
    ],
)
def test_a_language_model_that_is_not_set_up(options: tuple[str, ...], told: str, run: Run, tmp_path: Path) -> None:
    done = run("interpret", "-p", HOT, "--out", "report", *options)
    assert done.code in (1, 2)
    assert told in done.err.splitlines()[-1]
    assert len(done.err.splitlines()) == 1, "it is told before the model is loaded"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_budget_cuts_short_and_says_so(run: Run, graph_file: Path) -> None:
    report = read(run("interpret", "--graph", graph_file, "--max-experiments", "2", "--out", "report", "--json"))
    assert report.cut_short is not None
    assert "experiments" in report.cut_short
    assert report.cost.experiments <= 2
    assert report.verdict_counts()["untested"] >= 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-p", HOT, "--graph", "x.json"), "only one of them"),
        (("-p", HOT, "--no-weights"), "a prompt cannot be traced without weights"),
        (("--graph", "absent.json"), "absent.json"),
        ((), "give either a prompt or a graph"),
        (("-p", HOT, "--prompt-file", "x.txt"), "the prompt is given twice"),
        (("-p", HOT, "--max-seconds", "inf"), "inf is no finite number"),
        (("-p", HOT, "--max-usd", "nan"), "--max-usd"),
        (("-p", HOT, "--price-input", "inf", "--price-output", "1"), "inf is no finite number"),
        (("-p", HOT, "--agent", "oracle"), "'oracle'"),
        (("-p", HOT, "--agent", "ofline"), "did you mean offline"),
        (("-p", HOT, "--paraphrase", " "), "paraphrase 1 is empty"),
    ],
)
def test_calls_that_contradict_themselves(options: tuple[str, ...], told: str, run: Run, tmp_path: Path) -> None:
    done = run("interpret", *options)
    assert (done.code, done.out) == (2, "")
    assert told in done.err.splitlines()[-1]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.fixture
def report_folder(tmp_path: Path, interpreted: Path) -> Path:
    """A report on the best-known prompt, of one's own."""
    return Path(shutil.copytree(interpreted, tmp_path / "report"))


def test_a_report_is_scored_against_the_oracle(run: Run, report_folder: Path, tmp_path: Path) -> None:
    by_prompt = run("score", report_folder, "--json")
    assert by_prompt.code == 0, by_prompt.err
    scores = by_prompt.json
    assert scores["values"]["grouping.supernode_f1"]["value"] > 0.5
    gold_id = scores["gold_id"]
    assert run("score", report_folder / "report.json", gold_id, "--json").json == scores
    circuit = run("gold", "show", gold_id, "--json").out
    (tmp_path / "gold.json").write_text(circuit, encoding="utf-8")
    assert run("score", report_folder, "gold.json", "--json").json == scores
    assert "what it means" in run("score", report_folder).out


def test_scores_that_cannot_be_given(run: Run, report_folder: Path) -> None:
    other = next(c["gold_id"] for c in run("gold", "list", "--json").json["circuits"] if c["prompt"] != DALLAS)
    wrong_gold = run("score", report_folder, other)
    assert wrong_gold.code == 2
    assert "score a report against the gold of its own prompt" in wrong_gold.err
    unknown = run("score", report_folder, "nowhere-01")
    assert unknown.code == 2
    absent = run("score", "absent")
    assert (absent.code, "cannot read report absent" in absent.err) == (2, True)
    (report_folder / "graph.json").unlink()
    assert run("score", report_folder).code == 2
    (report_folder / "report.json").write_text("{}", encoding="utf-8")
    damaged = run("score", report_folder)
    assert damaged.code == 1
    assert "not a circuit report" in damaged.err


@pytest.mark.parametrize("options", [(), ("report", "--oracle"), ("report", "--limit", "3")])
def test_score_wants_a_report_and_nothing_else(options: tuple[str, ...], run: Run) -> None:
    done = run("score", *options)
    assert (done.code, done.out) == (2, "")
