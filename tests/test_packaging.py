"""The house is packed right: every package is listed, its data is inside, and the doors say what they export."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("tracer", "agents", "evals", "prompts", "runs")
HEAVY = (
    "torch",
    "transformers",
    "langgraph",
    "openai",
    "anthropic",
    "networkx",
    "numpy",
    "scipy",
    "sklearn",
    "jinja2",
    "pydantic",
)


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """`pyproject.toml`, parsed."""
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def _packages_on_disk() -> set[str]:
    found: set[str] = set()
    for room in ROOMS:
        for door in (REPOSITORY / room).rglob("__init__.py"):
            found.add(".".join(("tracescribe", *door.parent.relative_to(REPOSITORY).parts)))
    return found


def test_every_package_on_disk_is_listed_and_no_other(settings: dict[str, Any]) -> None:
    assert set(settings["tool"]["setuptools"]["packages"]) == _packages_on_disk()


def test_every_room_is_mapped_to_its_folder(settings: dict[str, Any]) -> None:
    mapped = settings["tool"]["setuptools"]["package-dir"]
    assert mapped == {f"tracescribe.{room}": room for room in ROOMS}


def test_no_root_package_breaks_the_namespace() -> None:
    assert not (REPOSITORY / "__init__.py").exists()
    assert not (REPOSITORY / "tracescribe").exists()


def test_every_data_file_is_package_data(settings: dict[str, Any]) -> None:
    """A data file that no pattern names works in the tree and is missing from the wheel.

    The front end's sources stay in the tree: what is built from them, beside them in `static`, is what the product has.
    """
    patterns: dict[str, list[str]] = settings["tool"]["setuptools"]["package-data"]
    listed = subprocess.run(["git", "ls-files", *ROOMS], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which files belong to the product is unknown")
    packages = sorted(_packages_on_disk(), key=len, reverse=True)
    unpacked: list[str] = []
    for name in listed.stdout.splitlines():
        path = Path(name)
        if path.suffix == ".py" or name.startswith("runs/web/frontend/"):
            continue
        dotted = "tracescribe." + ".".join(path.parent.parts)
        package = next(p for p in packages if dotted == p or dotted.startswith(p + "."))
        inside = path.relative_to(Path(*package.split(".")[1:])).as_posix()
        if not any(_matches(inside, pattern) for pattern in patterns.get(package, [])):
            unpacked.append(name)
    assert unpacked == []


def _matches(name: str, pattern: str) -> bool:
    """Match as setuptools does: `*` stays within a folder, `**` crosses folders, also none."""
    if "**/" in pattern:
        head, tail = pattern.split("**/", 1)
        return name.startswith(head) and fnmatch(name.rsplit("/", 1)[-1], tail)
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)


@pytest.mark.parametrize("room", ROOMS)
def test_every_door_exports_what_it_says(room: str) -> None:
    module = importlib.import_module(f"tracescribe.{room}")
    assert module.__doc__ and len(module.__doc__.split()) > 10, "a door says what comes in and what goes out"
    names: list[str] = module.__all__
    assert len(names) == len(set(names)), "__all__ is without repeats"
    missing = [name for name in names if getattr(module, name, None) is None]
    assert missing == []


@pytest.mark.parametrize("module", [*(f"tracescribe.{room}" for room in ROOMS), "tracescribe.runs.cli"])
def test_doors_and_the_command_line_import_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}\nprint(sorted(set({HEAVY!r}) & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_installed_version_is_the_one_in_pyproject(settings: dict[str, Any]) -> None:
    assert importlib.metadata.version("tracescribe") == settings["project"]["version"]


def test_changelog_knows_the_version_or_has_unreleased_changes(settings: dict[str, Any]) -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[([^\]]+)\]", text, flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert settings["project"]["version"] in headings or len(text.split("## [Unreleased]")[1].strip()) > 0


def test_torch_stays_below_the_bound_that_was_tried(settings: dict[str, Any]) -> None:
    """Without the upper bound pip installs a CUDA build of several gigabytes."""
    torch = next(d for d in settings["project"]["dependencies"] if d.startswith("torch"))
    assert torch == "torch>=2.6,<2.14"


def test_every_import_of_the_product_is_absolute_and_declared(settings: dict[str, Any]) -> None:
    """Third-party packages that the product imports are dependencies by name, not by luck."""
    extras = settings["project"]["optional-dependencies"]
    wanted = [*settings["project"]["dependencies"], *(d for name in extras if name != "dev" for d in extras[name])]
    declared = {re.split(r"[<>=!\[;]", d)[0].strip().lower() for d in wanted}
    names_on_pypi = {
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
        "huggingface_hub": "huggingface-hub",
        "inspect_ai": "inspect-ai",
        "opentelemetry": "opentelemetry-api",
    }
    found: set[str] = set()
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r"^\s*(?:from|import) ([a-z_0-9]+)", _without_strings(text), flags=re.MULTILINE))
    third_party = found - set(sys.stdlib_module_names) - {"tracescribe"}
    assert {names_on_pypi.get(name, name) for name in third_party} <= declared


def _without_strings(text: str) -> str:
    """Source without its triple-quoted strings, in which a line may begin with 'from'."""
    return re.sub(r'"""[\s\S]*?"""', "", text)
