"""Agents by one spec: what is checked before anything is loaded, and what a benchmark needs to know of an agent."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracescribe.agents.baselines import BASELINES
from tracescribe.agents.providers.errors import AgentSpecError
from tracescribe.runs.agent_choice import AgentChoice, make_agent, prepare_agent
from tracescribe.tracer.errors import InputError

Run = Callable[..., Any]


@pytest.mark.parametrize("spec", ["offline", *BASELINES, "exec:python3 -c 'x = 1'", "python:json:dumps"])
def test_every_agent_without_a_language_model_opens_by_its_spec(spec: str, tmp_path: Path) -> None:
    choice = AgentChoice(spec=spec, seed=3)
    prepared = prepare_agent(pickle.loads(pickle.dumps(choice)), max_usd=None)
    with prepared.enter(tmp_path / "calls.jsonl") as agent:
        assert agent.name == prepared.name == make_agent(spec, seed=3).name
    assert json.loads(json.dumps(prepared.settings))["loop"]["seed"] == 3


def test_settings_follow_the_programs_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    seen = []
    for text in ("x = 1", "x = 2"):
        path.write_text(text, encoding="utf-8")
        seen.append(prepare_agent(AgentChoice(spec=f"exec:python3 {path}"), max_usd=None).settings)
    assert seen[0] != seen[1]


def test_a_style_is_part_of_the_spec() -> None:
    names = {}
    for spec in ("one-shot@openai:some-model", "investigator@openai:some-model", "openai:some-model"):
        choice = AgentChoice(spec=spec, price_input=1.0, price_output=1.0)
        prepared = prepare_agent(choice, max_usd=None, plan_only=True)
        assert prepared.llm is not None
        names[spec] = prepared.name, prepared.llm.style
    assert names == {
        "one-shot@openai:some-model": ("llm-one-shot:some-model", "one-shot"),
        "investigator@openai:some-model": ("llm-investigator:some-model", "investigator"),
        "openai:some-model": ("llm-pipeline:some-model", "pipeline"),
    }
    with pytest.raises(InputError, match="names its style already"):
        prepare_agent(AgentChoice(spec="one-shot@openai:m", style="pipeline"), max_usd=None, plan_only=True)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (AgentChoice(spec="top-influence"), "agent 'top-influence' is called 'influence' now"),
        (AgentChoice(spec="token-position"), "agent 'token-position' is called 'position' now"),
        (AgentChoice(spec="two-shot@openai:m"), "no agent style 'two-shot'; choose one of one-shot"),
        (AgentChoice(spec="one-shot@offline"), "asks no language model, so it has no style"),
        (AgentChoice(spec="exec:"), "agent 'exec' needs a program"),
        (AgentChoice(spec="exec:'open"), "quotation mark that is never closed"),
        (AgentChoice(spec="python:module"), "needs a module and a callable"),
        (AgentChoice(spec="python:a b:c"), "needs a module and a callable"),
        (AgentChoice(spec="offline", agent_env=("HOME",)), "--agent-env names variables for exec: and python:"),
        (AgentChoice(spec="openai:m", agent_env=("HOME",)), "--agent-env names variables for exec: and python:"),
        (AgentChoice(spec="exec:python3", provider="openai"), "asks no language model, found --provider"),
    ],
)
def test_what_does_not_belong_together_is_refused(choice: AgentChoice, words: str) -> None:
    with pytest.raises((AgentSpecError, InputError)) as caught:
        prepare_agent(choice, max_usd=None, plan_only=True)
    assert words in str(caught.value)


def test_no_agent_that_costs_money_is_made_in_passing() -> None:
    with pytest.raises(InputError, match="costs money"):
        make_agent("one-shot@openai:m", seed=0)


def test_an_agent_is_tried_on_one_case_and_told_what_was_left_out(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    answer = {"supernodes": [{"id": "a", "label": "x", "members": ["nothing"]}], "cost": {"llm_calls": 1}}
    path.write_text(f"print({json.dumps(json.dumps(answer))})", encoding="utf-8")
    done = run("agents", "try", f"exec:{sys.executable} {path}", "--json")
    assert (done.code, done.json["agent"], done.json["failure"]) == (0, "exec:mine.py", None)
    assert any("no feature node 'nothing'" in fault for fault in done.json["faults"])
    assert done.json["told"] == {"llm_calls": 1} and done.json["counts"]["supernodes"] == 0
    text = run("agents", "try", f"exec:{sys.executable} {path}").out
    assert "left out: group: member dropped" in text and "it tells: llm_calls 1" in text


def test_an_agent_that_loses_the_case_is_told_how(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("raise RuntimeError('no [bold]idea[/bold]')", encoding="utf-8")
    done = run("agents", "try", f"exec:{sys.executable} {path}")
    assert done.code == 1 and "it loses the case: crash: exit code 1" in done.out
    assert "RuntimeError: no [bold]idea[/bold]" in done.out
    refused = run("agents", "try", "one-shot@openai:m")
    assert refused.code == 2 and "costs money" in refused.err
