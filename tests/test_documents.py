"""Documents that cannot rot: commands, claim kinds, scores, links and the two README commands are checked."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.main

from tests.tracer import test_planted_mistakes, test_transcoder_formats
from tracescribe.agents.claims import CLAIM_KINDS
from tracescribe.evals.scores import METRICS
from tracescribe.runs.cli import app
from tracescribe.tracer.architectures import supported_families
from tracescribe.tracer.models import LanguageModel

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
FIRST = "python3.11 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/tracescribe demo"
SECOND = "python3.11 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest -n auto --dist loadfile"


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
    steps = _text(".ci/run").splitlines()
    assert [step for step in steps if step.startswith("scripts/")] == [
        "scripts/check",
        "scripts/check_wheel.sh --reuse",
        "scripts/check_browser.sh --require",
        "scripts/check_batch.sh --require",
    ]
    assert "pytest -m batch" in _text("scripts/check_batch.sh")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_documents_name_no_command_that_does_not_exist(name: str) -> None:
    known = _commands()
    groups = {command.split()[0] for command in known}
    for first, second in re.findall(r"tracescribe ([a-z]+(?:-[a-z]+)*)(?: ([a-z][a-z-]+))?", _text(name)):
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
            if inside[0] in {".venv", "build", "dist"} or "node_modules" in inside or path.name == Path(__file__).name:
                continue
            if suspicious.search(path.read_text(encoding="utf-8")):
                found.append("/".join(inside))
    assert found == []


def test_every_prompt_in_the_readme_is_in_the_vocabulary(embedded_model: LanguageModel) -> None:
    prompts = set(re.findall(r'--(?:prompt|swap-from) "([^"]+)"', _text("README.md"))) - {"..."}
    assert prompts
    for prompt in prompts:
        assert len(embedded_model.encode(prompt)) > 1


# -- docs/tracer.md: what is supported, and the test that shows it ---------------------------------------------------

FORMATS = "tests/tracer/test_formats_exact.py::test_the_graph_of_every_format_is_the_one_that_autograd_gives"
EXACT = "tests/tracer/test_families_exact.py::test_the_graph_is_the_one_that_autograd_gives"
TESTED_DOCUMENTS = (
    "docs/tracer.md",
    "docs/attribution.md",
    "docs/interventions.md",
    "docs/families.md",
    "docs/transcoders.md",
)
"""Pages that say which test holds what."""


@cache
def _collected() -> frozenset[str]:
    """Every test that the pages name files of, with its parameters, as pytest itself finds them."""
    files = {file for page in TESTED_DOCUMENTS for file in re.findall(r"tests/[a-z_/]+\.py", _text(page))}
    files = {file for file in files if Path(file).name.startswith("test_")}
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "--assert",
            "plain",
            "-p",
            "no:cacheprovider",
            *sorted(files),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    return frozenset(line for line in found.stdout.splitlines() if "::" in line)


def _parameters(test: str) -> set[str]:
    """What stands in brackets behind a test's name; "" for a test without parameters."""
    pattern = re.compile(re.escape(test) + r"(?:\[(.*)\])?")
    return {match.group(1) or "" for name in _collected() if (match := pattern.fullmatch(name))}


def _tables(page: str) -> Iterator[list[list[str]]]:
    """Tables of a page: rows of cells, the first being the heads."""
    for block in re.findall(r"(?:^\|.*\n)+", _text(page), flags=re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        yield [rows[0], *rows[2:]]


def _table(first: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the one table of `docs/tracer.md` whose first column is so called."""
    (found,) = [table for table in _tables("docs/tracer.md") if table[0][0] == first]
    return found[0], found[1:]


def test_every_tick_of_the_tracers_page_is_a_test_and_every_test_is_ticked() -> None:
    heads, rows = _table("family")
    ticked = {f"{row[0].strip('`')}-{heads[n]}" for row in rows for n in range(1, len(row) - 1) if row[n] == "✓"}
    assert ticked == _parameters(EXACT)
    assert sorted(row[0].strip("`") for row in rows) == list(supported_families())


def test_every_golden_case_stands_in_its_familys_row(shared_folder: Path) -> None:
    _, rows = _table("family")
    named = {name: row[0].strip("`") for row in rows for name in re.findall(r"`(\w+)`", row[-1])}
    cases = [case.parent for case in (shared_folder / "tracer").glob("goldens*/*/case.json")]
    models = {case.name: (case / "model" / "config.json").read_text(encoding="utf-8") for case in cases}
    families = {name: re.findall(r'"model_type": "(\w+)"', config)[-1] for name, config in models.items()}
    assert named == families


def test_every_format_has_a_row_with_its_tests() -> None:
    heads, rows = _table("format")
    named = set[str]()
    for row in rows:
        for head, cell in zip(heads[1:3], row[1:3], strict=True):
            (file,) = re.findall(r"`(tests/\S+)`", head)
            for test, parameter in re.findall(r"`(test_\w+)(?:\[([^\]]*)\])?`", cell):
                known = _parameters(f"{file}::{test}")
                assert any(k == parameter or k.startswith(f"{parameter}-") for k in known), f"{test}[{parameter}]"
                named.add(f"{test}[{parameter}]")
    ticked = {f"{model}-{row[0]}" for row in rows if row[3].startswith("✓") for model in ("gemma2", "gpt2")}
    assert ticked == _parameters(FORMATS)
    tables = {
        "per_layer": set(test_transcoder_formats.PER_LAYER),
        "cross_layer": set(test_transcoder_formats.CROSS_LAYER),
    }
    for kind, formats in tables.items():
        assert {f"test_{kind}_formats_give_the_weights_back[{name}]" for name in formats} <= named
    cases = range(len(test_transcoder_formats.SAME_GRAPH))
    assert {f"test_the_same_weights_give_the_same_graph[{n}]" for n in cases} <= named


def test_what_is_held_in_which_family_is() -> None:
    _, rows = _table("what is held")
    for _, test, families in rows:
        parameters = _parameters(test.strip("`"))
        tested = {word for parameter in parameters for word in re.findall(r"[a-z0-9_]+", parameter)}
        told = set(supported_families()) if families == "all" else set(re.findall(r"`(\w+)`", families))
        assert told and told == tested & set(supported_families()), f"{test}: {families}"


@pytest.mark.parametrize("page", TESTED_DOCUMENTS)
def test_tests_that_a_page_names_exist(page: str) -> None:
    text = _text(page)
    for file, test in re.findall(r"`(tests/[a-z_/]+\.py)(?:::(test_\w+))?", text):
        assert (REPOSITORY / file).is_file(), f"{page} names {file}"
        assert not test or _parameters(f"{file}::{test}"), f"{page} names {file}::{test}"
    files = sorted((REPOSITORY / "tests").rglob("*.py"))
    known = "".join(path.read_text(encoding="utf-8") for path in files)
    for test in re.findall(r"`(test_\w+)", text):
        if not test.endswith("_") and f"{test}.py" not in {path.name for path in files}:
            assert f"def {test}(" in known, f"{page} names {test}"


def test_the_number_of_planted_mistakes_is_the_one_told() -> None:
    assert f"**{len(test_planted_mistakes.MISTAKES)} planted mistakes.**" in _text("docs/tracer.md")
