"""Documents that cannot rot: commands, claim kinds, scores, links and the two README commands are checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from tracescribe.agents.claims import CLAIM_KINDS
from tracescribe.evals.scores import METRICS
from tracescribe.runs.cli import app
from tracescribe.tracer.models import LanguageModel

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
FIRST = "python3.11 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/tracescribe demo"
SECOND = "python3.11 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest"


def _text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def _commands() -> set[str]:
    """Every command line's words, such as `gold show`."""
    found: set[str] = set()
    for name, command in getattr(typer.main.get_command(app), "commands", {}).items():
        children = getattr(command, "commands", None)
        found |= {f"{name} {child}" for child in children} if children else {name}
    return found


def test_the_readme_holds_the_two_commands_and_the_build_runs_the_second() -> None:
    assert FIRST in _text("README.md")
    assert SECOND in _text("README.md")
    assert SECOND in _text(".ci/run")
    assert "scripts/check" in _text(".ci/run")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_documents_name_no_command_that_does_not_exist(name: str) -> None:
    known = _commands()
    groups = {command.split()[0] for command in known}
    for first, second in re.findall(r"tracescribe ([a-z]+)(?: ([a-z][a-z-]+))?", _text(name)):
        assert first in groups, f"{name} names `tracescribe {first}`"
        if first not in known:
            assert not second or f"{first} {second}" in known, f"{name} names `tracescribe {first} {second}`"


def test_every_command_is_in_the_reference() -> None:
    reference = _text("docs/commands.md")
    assert [command for command in sorted(_commands()) if f"## `tracescribe {command}" not in reference] == []


def test_every_kind_of_claim_is_documented() -> None:
    page = _text("docs/claims.md")
    assert tuple(re.findall(r"^\| `([a-z]+)` \|", page, flags=re.MULTILINE)) == CLAIM_KINDS


def test_every_score_is_documented_with_its_meaning() -> None:
    page = _text("docs/scores.md")
    missing = [m.name for m in METRICS if f"| `{m.name}` |" not in page or m.meaning not in page]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_decision_is_in_the_list() -> None:
    pages = sorted(p.name for p in (REPOSITORY / "docs" / "decisions").glob("[0-9]*.md"))
    assert re.findall(r"\]\((\d{4}-[a-z-]+\.md)\)", _text("docs/decisions/README.md")) == pages


def test_every_skip_has_a_row() -> None:
    """Files that can skip a test are named in tests/SKIPS.md."""
    rows = _text("tests/SKIPS.md")
    skipping = [
        path.relative_to(REPOSITORY).as_posix()
        for path in sorted((REPOSITORY / "tests").rglob("*.py"))
        if re.search(r"pytest\.(?:skip|importorskip)\(|mark\.skip", path.read_text(encoding="utf-8"))
        and path.name != Path(__file__).name
    ]
    assert [name for name in skipping if f"`{name}`" not in rows] == []


def test_nothing_names_the_machine_it_was_written_on() -> None:
    """Paths of a development machine in the product would be wrong everywhere else."""
    suspicious = re.compile(r"/work/|/root/|/home/[a-z]")
    found: list[str] = []
    for pattern in ("*.md", "*.py", "*.toml", "*.html", "*.j2"):
        for path in REPOSITORY.rglob(pattern):
            inside = path.relative_to(REPOSITORY).parts
            if inside[0] in {".venv", "build", "dist"} or path.name == Path(__file__).name:
                continue
            if suspicious.search(path.read_text(encoding="utf-8")):
                found.append("/".join(inside))
    assert found == []


def test_every_prompt_in_the_readme_is_in_the_vocabulary(embedded_model: LanguageModel) -> None:
    prompts = set(re.findall(r'--(?:prompt|swap-from) "([^"]+)"', _text("README.md"))) - {"..."}
    assert prompts
    for prompt in prompts:
        assert len(embedded_model.encode(prompt)) > 1
