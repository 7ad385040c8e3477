"""Runbooks say what their index promises, in four sections, with commands that exist. They are performed in `tests/batch`."""

from __future__ import annotations

import re
import shlex

import pytest
import typer.main

from tests.batch.runbook import RUNBOOKS, SECTIONS, Runbook, read_runbook
from tracescribe.runs.cli import app

NAMES = sorted(page.stem for page in RUNBOOKS.glob("*.md") if page.stem != "README")


def test_the_index_lists_every_page() -> None:
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\]\(([a-z-]+)\.md\)", index)) == NAMES
    assert {"provider-outage", "budget-exhausted", "corrupted-store", "disk-full", "worker-lost"} < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_messages_and_commands_to_run(name: str) -> None:
    page = read_runbook(name)
    assert tuple(page.sections) == SECTIONS
    assert page.symptoms()
    assert page.commands("Triage") and page.commands("Recovery")
    performed = (RUNBOOKS.parents[1] / "tests" / "batch" / "test_runbooks.py").read_text(encoding="utf-8")
    assert f'read_runbook("{name}")' in performed


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_option_of_a_page_exists(name: str) -> None:
    for line in _lines(read_runbook(name)):
        words = shlex.split(line.split("||")[0])
        if words[0] != "tracescribe":
            continue
        command = typer.main.get_command(app)
        rest = words[1:]
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]
        assert not getattr(command, "commands", {}), f"{name}: `{line}` names no command"
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= options, f"{name}: `{line}`"


def _lines(page: Runbook) -> list[str]:
    """Commands of all blocks, and those in running text."""
    blocks = [block for section in SECTIONS for block in page.commands(section)]
    inline = [text for section in page.sections.values() for text in re.findall(r"`(tracescribe [^`]+)`", section)]
    return [line for block in blocks for line in block.splitlines() if line.strip()] + inline
