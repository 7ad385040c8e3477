"""`tracescribe prompts`: what people and programs are shown of the templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tracescribe.prompts import PromptTemplate, list_prompts
from tracescribe.runs import prompt_checking

Run = Callable[..., Any]


def test_all_versions_are_listed(run: Run) -> None:
    listed = run("prompts", "list", "--json").json
    assert [f"{entry['name']}@{entry['version']}" for entry in listed] == [t.reference for t in list_prompts()]
    assert "label_feature@1.0.0" in run("prompts", "list").out


def test_a_template_is_shown_word_for_word(run: Run) -> None:
    shown = run("prompts", "show", "repair_answer@1.0.0")
    assert shown.code == 0
    assert "Answer the same question again" in shown.out and "--- system ---" in shown.out


def test_a_diff_is_printed_as_text_and_as_json(run: Run) -> None:
    done = run("prompts", "diff", "repair_answer@1.0.0", "label_feature@1.0.0")
    assert done.code == 0
    assert done.out.startswith("--- repair_answer@1.0.0\n+++ label_feature@1.0.0\n@@")
    as_json = run("prompts", "diff", "repair_answer@1.0.0", "label_feature@1.0.0", "--json").json
    assert as_json["lines"] == done.out.splitlines()
    same = run("prompts", "diff", "repair_answer@1.0.0", "repair_answer@1.0.0")
    assert same.out == "repair_answer@1.0.0 and repair_answer@1.0.0 are the same\n"


def test_a_diff_is_coloured_on_a_terminal_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" not in run("prompts", "diff", "repair_answer@1.0.0", "label_feature@1.0.0").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    coloured = run("prompts", "diff", "repair_answer@1.0.0", "label_feature@1.0.0").out
    assert "\x1b[31m-name: repair_answer" in coloured and "\x1b[32m+name: label_feature" in coloured


def test_a_diff_of_an_unknown_template_is_a_wrong_call(run: Run) -> None:
    done = run("prompts", "diff", "label_featur@1.0.0", "label_feature")
    assert (done.code, done.out) == (2, "")
    assert "near to it: label_feature" in done.err


def test_sound_templates_pass(run: Run) -> None:
    done = run("prompts", "lint")
    assert done.code == 0
    assert "no fault" in done.out
    assert run("prompts", "lint", "--json").json["faults"] == []


def test_a_changed_release_fails_and_is_not_locked_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that the build runs, with one file changed after its release."""
    changed = tuple(_changed(t) if t.reference == "label_feature@1.0.0" else t for t in list_prompts())
    monkeypatch.setattr("tracescribe.prompts.list_prompts", lambda: changed)
    for arguments in (("prompts", "lint"), ("prompts", "lint", "--write")):
        done = run(*arguments)
        assert done.code == 1
        assert "label_feature@1.0.0 was released and its file was changed" in done.out
        assert "add a new version" in done.out
        assert "locked" not in done.out
    monkeypatch.undo()
    assert prompt_checking.check_prompts(write=False).faults == ()


def _changed(template: PromptTemplate) -> PromptTemplate:
    return template.model_copy(update={"sha256": "0" * 64, "system": template.system + " "})
