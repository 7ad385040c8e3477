"""`tracescribe agents`: the list, the drawing of the loop, the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracescribe.agents.calls.call_log import FileCallLog
from tracescribe.agents.llm.settings import STYLES
from tracescribe.agents.loop import STEPS
from tracescribe.agents.providers.completion import ChatMessage, Completion, CompletionRequest, Endpoint, Usage
from tracescribe.agents.providers.spec import PLAIN, PREFIXES

Run = Callable[..., Any]


def test_every_agent_and_every_style_is_listed_on_a_line(run: Run) -> None:
    entries = run("agents", "list", "--json").json
    agents = {entry["name"].partition(":")[0] for entry in entries if entry["option"] == "--agent"}
    assert agents == {*PLAIN, *PREFIXES}
    assert {entry["name"] for entry in entries if entry["option"] == "--style"} == set(STYLES)
    lines = run("agents", "list").out.splitlines()
    assert len(lines) == len(entries) + 2


def test_the_loop_is_drawn_as_mermaid(run: Run) -> None:
    done = run("agents", "graph")
    assert done.code == 0
    assert "graph TD" in done.out and "revise -.-> register" in done.out
    assert all(step in done.out for step in STEPS[1:])


def test_the_loop_is_drawn_as_json_into_a_file(run: Run, tmp_path: Path) -> None:
    done = run("agents", "graph", "--format", "json", "--out", "drawings/loop.json")
    assert (done.code, done.out) == (0, "drawings/loop.json\n")
    drawing = json.loads((tmp_path / "drawings" / "loop.json").read_text(encoding="utf-8"))
    assert drawing == run("agents", "graph", "--json").json
    edges = {(edge["source"], edge["destination"]): edge["conditional"] for edge in drawing["edges"]}
    assert edges["judge", "assess"] is False and edges["revise", "report"] is True


def request(text: str) -> CompletionRequest:
    """One question to a model."""
    return CompletionRequest(
        endpoint=Endpoint(provider="openai", base_url="http://127.0.0.1:9/v1", model="fake-1"),
        system="system",
        messages=(ChatMessage(role="user", text=text),),
        schema_name="X",
        answer_schema={},
        max_tokens=10,
        template="label_feature@1.0.0",
        template_sha256="0" * 64,
    )


def test_a_ledger_is_summed_up(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "llm_calls.jsonl"
    died = FileCallLog(path)
    died.intend(request("answered"), 1)
    usage = Usage(input_tokens=100, output_tokens=7)
    answer = Completion(text="{}", finish="stop", usage=usage, model="fake-1", seconds=0.5)
    died.answer(request("answered").sha256, answer)
    died.intend(request("in flight when the process died"), 1)
    died.close()
    after = FileCallLog(path)
    after.intend(request("in flight when the process died"), 1)
    after.fail(request("in flight when the process died").sha256, "TimeoutError: \x1b[2J no answer")
    after.close()
    before = path.read_bytes()
    done = run("agents", "ledger", path, "--json")
    assert done.code == 0, done.err
    summary = done.json
    assert {name: summary[name] for name in ("calls", "answered", "failed", "unfinished", "resent", "sendings")} == {
        "calls": 2, "answered": 1, "failed": 1, "unfinished": 0, "resent": 1, "sendings": 3,
    }  # fmt: skip
    told = run("agents", "ledger", path).out
    assert "2 calls: 1 answered, 1 failed, 0 unfinished" in told
    assert "1 sent again after a process had died" in told
    assert "100 tokens read, 7 written" in told and "price not known" in told
    assert path.read_bytes() == before, "a ledger is only read"


def test_a_foreign_file_is_no_ledger(run: Run, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{\n "claims": []\n}\n', encoding="utf-8")
    done = run("agents", "ledger", tmp_path / "report.json")
    assert (done.code, done.out) == (2, "") and "no call log: none of its 3 lines" in done.err
    (tmp_path / "empty.jsonl").touch()
    assert run("agents", "ledger", tmp_path / "empty.jsonl").code == 0, "a run that asked nothing yet"


def test_a_ledger_that_is_not_there_is_a_wrong_call(run: Run) -> None:
    done = run("agents", "ledger", "absent.jsonl")
    assert (done.code, done.out) == (2, "")
    assert "cannot read call log absent.jsonl" in done.err
