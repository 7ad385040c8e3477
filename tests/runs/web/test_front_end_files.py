"""What the browser is served: built from the sources beside it, nothing inline, nothing from another host."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "runs" / "web"
STATIC, FRONT_END, TEMPLATES = WEB / "static", WEB / "frontend", WEB / "templates"
BUILT = json.loads((STATIC / "built.json").read_text())
SOURCES = [path for path in (FRONT_END / "src").rglob("*") if path.is_file()]
TEMPLATE_FILES = sorted(TEMPLATES.glob("*.html"))
NAMESPACES = (
    "http://www.w3.org/2000/svg",
    "http://www.w3.org/2000/xmlns/",
    "http://www.w3.org/1999/xlink",
    "http://www.w3.org/1999/xhtml",
    "http://www.w3.org/XML/1998/namespace",
)
"""Names of XML vocabularies: nothing is fetched from them."""
ADDRESS = re.compile(r"(?:https?:)?//[A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z]{2,}")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_built_files_are_those_recorded() -> None:
    for name, told in BUILT["files"].items():
        content = (STATIC / name).read_bytes()
        assert (len(content), sha256(content)) == (told["bytes"], told["sha256"]), f"{name}: run scripts/build_web.sh"
    scripts = {path.name for path in STATIC.iterdir() if path.suffix in (".js", ".css")}
    assert scripts == {name for name in BUILT["files"] if name.endswith((".js", ".css"))}


def test_build_is_of_these_sources() -> None:
    names = ["build.mjs", "package-lock.json", "package.json", "tsconfig.json"]
    paths = sorted([path.relative_to(FRONT_END).as_posix() for path in SOURCES] + names)
    told = "".join(f"{path}\0{sha256((FRONT_END / path).read_bytes())}\n" for path in paths)
    assert sha256(told.encode()) == BUILT["sources_sha256"], (
        "the sources changed: run scripts/build_web.sh and commit both"
    )


def test_libraries_are_recorded_with_their_licences() -> None:
    locked = json.loads((FRONT_END / "package-lock.json").read_text())["packages"]
    licences = (STATIC / "licences.txt").read_text()
    declared = json.loads((FRONT_END / "package.json").read_text())["dependencies"]
    assert set(declared) <= set(BUILT["libraries"]), "a library that pages need is in no built file"
    for name, told in BUILT["libraries"].items():
        entry = locked[f"node_modules/{name}"]
        assert (told["version"], told["integrity"]) == (entry["version"], entry["integrity"])
        assert f"{name} {told['version']} ({told['licence']})" in licences
    assert "resolved" not in (FRONT_END / "package-lock.json").read_text(), "the lock file names a registry"


def test_a_page_has_an_entry_of_its_own_or_the_base() -> None:
    for entry in sorted((FRONT_END / "src" / "pages").glob("*.ts")):
        if entry.stem not in ("theme",) and not entry.stem.endswith("_worker"):
            assert 'import "../lib/base";' in entry.read_text(), f"{entry.name}: no theme switch and help without it"
    named = {name for path in TEMPLATE_FILES for name in re.findall(r"/static/([\w.-]+)", path.read_text())}
    missing = sorted(name for name in named if not (STATIC / name).is_file())
    assert not missing, f"templates name files that were not built: {missing}"


@pytest.mark.parametrize("path", TEMPLATE_FILES, ids=lambda path: path.name)
def test_template_has_nothing_inline(path: Path) -> None:
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}", "", path.read_text(), flags=re.DOTALL)
    assert not re.search(r"<style\b", text, re.IGNORECASE)
    assert not re.search(r"<[^>{]*\sstyle\s*=", text, re.IGNORECASE)
    assert not re.search(r"\son[a-z]+\s*=", text, re.IGNORECASE)
    assert not re.search(r"javascript:", text, re.IGNORECASE)
    scripts = re.findall(r"<script\b([^>]*)>(.*?)</script>", text, re.IGNORECASE | re.DOTALL)
    for attributes, content in scripts:
        assert re.search(r'src="/static/[\w.-]+\.js"', attributes) and not content.strip()
    assert not re.search(r"\|\s*safe\b", text), "text is escaped, always"


def foreign(text: str) -> list[str]:
    """Addresses of other hosts in a text."""
    for name in NAMESPACES:
        text = text.replace(name, "")
    return ADDRESS.findall(text)


@pytest.mark.parametrize(
    "path",
    [*TEMPLATE_FILES, *sorted(STATIC.glob("*.js")), *sorted(STATIC.glob("*.css")), *sorted(STATIC.glob("*.svg"))],
    ids=lambda path: path.name,
)
def test_nothing_comes_from_another_host(path: Path) -> None:
    assert not foreign(path.read_text())


def test_styles_load_nothing_and_scripts_compile_nothing() -> None:
    for path in STATIC.glob("*.css"):
        assert not re.search(r"@import|url\((?!['\"]?(?:data:|#|/static/))", path.read_text()), path.name
    for path in STATIC.glob("*.js"):
        assert not re.search(r"\beval\(|new Function\(|document\.write", path.read_text()), path.name


def test_our_scripts_make_no_html_of_text() -> None:
    # d3-selection brings a method `html` that does; it is never called
    making = re.compile(r"\.(inner|outer)HTML\b|insertAdjacentHTML|createContextualFragment|\.html\(")
    for path in (FRONT_END / "src").rglob("*.ts"):
        assert not making.search(path.read_text()), path.name


def test_colours_are_those_of_reports() -> None:
    palette = (ROOT / "agents" / "rendering" / "templates" / "palette.css").read_text()
    light, dark = palette.split("@media", 1)
    tokens = dict(re.findall(r"--([\w-]+): light-dark\(([^;]+)\);", (FRONT_END / "src/styles/tokens.css").read_text()))
    for name, value in re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light):
        other = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark))[name]
        assert tokens[name] == f"{value}, {other}", name
