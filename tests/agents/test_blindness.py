"""An agent must never be able to see gold: no import leads there, no file name, no latent variable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("tracer", "agents", "evals", "prompts", "runs")
FORBIDDEN = ("tracescribe.evals", "tracescribe.tracer.embedded.training", "tracescribe.runs")


def modules() -> dict[str, Path]:
    """Every module of the product, by import name."""
    found = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(("tracescribe", *parts)).removesuffix(".__init__")
            found[name] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Every module that a file may import: lazily, for type checking, or by a literal name in a door's table."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("tracescribe."):
            yield node.value


def reachable(start: set[str], all_modules: dict[str, Path]) -> dict[str, str]:
    """Modules that can be reached by imports, each with the module that imports it."""
    reached = {name: "" for name in start}
    queue = list(start)
    while queue:
        name = queue.pop()
        for imported in imports(all_modules[name]):
            if imported in all_modules and imported not in reached:
                reached[imported] = name
                queue.append(imported)
    return reached


def test_no_import_path_leads_from_agents_to_gold() -> None:
    all_modules = modules()
    start = {n for n in all_modules if n.startswith(("tracescribe.agents", "tracescribe.prompts"))}
    assert len(start) > 20
    reached = reachable(start, all_modules)
    assert "tracescribe.tracer.interventions" in reached  # the walk does see lazy imports
    seen = {name: by for name, by in reached.items() if name.startswith(FORBIDDEN)}
    # the build of the embedded model is started by the command line alone
    assert not seen, f"agents can reach {seen}"


def test_agents_name_no_file_of_the_gold() -> None:
    files = [p for p in (ROOT / "evals" / "data").rglob("*") if p.is_file()]
    names = {p.name for p in files} | {p.stem for p in files} | {"feature_latents", "oracle_gold", "evals/data"}
    names -= {"README", "index", "README.md", "index.json"}
    for room in ("agents", "prompts"):
        for path in (p for p in (ROOT / room).rglob("*") if p.suffix in (".py", ".md", ".j2", ".html")):
            text = path.read_text(encoding="utf-8")
            assert not [name for name in names if name in text], f"{path} names a file of the gold"


def test_the_embedded_folder_that_agents_read_holds_no_latents() -> None:
    for path in (ROOT / "tracer" / "embedded").rglob("*"):
        if path.is_file() and "training" not in path.parts and path.suffix in (".json", ".txt", ".yaml", ".md"):
            assert "latent" not in path.name
            if path.suffix in (".txt", ".yaml") or path.parent.name == "evidence":
                assert "latent" not in path.read_text(encoding="utf-8").lower()


def test_no_agent_opens_files_by_itself() -> None:
    """What agents see comes through the toolbox; only reports, call logs, templates and runs that are kept touch the disk."""
    # the last two read what ships with the package, or the files of the language model that is asked
    allowed = {"files.py", "call_log.py", "toolbox.py", "prices.py", "local_model.py"}
    allowed |= {"graph_only.py"}  # reads the weights of its two models, which ship with the package
    allowed |= {"cleanup.py"}  # reads the table of processes, to end those that an agent from outside has left behind
    for path in (ROOT / "agents").rglob("*.py"):
        if path.name in allowed or {"rendering", "durable"} & set(path.parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert name not in ("open_text", "read_text", "read_bytes", "glob", "rglob", "iterdir"), path
                assert not (isinstance(node.func, ast.Name) and name == "open"), f"{path} opens a file"
