"""Hostile text in every field of a report: HTML, Markdown, SVG and the terminal show it, and never obey it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from itertools import cycle
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.agents.injection_strings import INJECTIONS, LONG, MARK
from tracescribe.agents.rendering import render_html, render_markdown, render_svg
from tracescribe.agents.report import CircuitReport
from tracescribe.agents.toolbox import Toolbox
from tracescribe.prompts.fences import is_hidden
from tracescribe.runs import terminal
from tracescribe.runs.report_view import show_counts, show_story
from tracescribe.tracer.graph import AttributionGraph

TEXT_KEYS = frozenset(
    {"text", "here", "earlier", "label", "token", "error", "notes", "words", "proposed_by", "detail", "cut_short"}
    | {"expected_token", "donor_prompt", "prompt", "tokens", "reason", "statement", "hypothesis", "edits", "matched_on"}
    | {"model", "transcoder", "agent", "product_version", "judge", "target_token", "description", "metric"}
)
"""Fields that hold words of graphs, corpora, models or people; a few are ours, and are attacked all the same."""
ROTATIONS = 3
"""Reports that are drawn, each with the texts in other fields."""
TEXTS = [text for name, text in INJECTIONS.items() if name not in LONG]


def hostile(value: Any, texts: Iterator[str], key: str = "") -> Any:
    """A JSON value with a hostile text in every field of words."""
    if isinstance(value, str):
        return next(texts) if key in TEXT_KEYS and value else value
    if isinstance(value, list):
        return [hostile(part, texts, key) for part in value]
    if isinstance(value, dict):
        ours = {"numbers"} | ({"reason"} if "rounds" in value else set())
        return {name: part if name in ours else hostile(part, texts, name) for name, part in value.items()}
    return value


@dataclass(frozen=True)
class Shown:
    """One report, as its readers see it."""

    html: str
    markdown: str
    svg: str
    terminal: str


def _shown(report: CircuitReport, graph: AttributionGraph, toolbox: Toolbox) -> Shown:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        show_story(report)
        show_counts(report)
    evidence = toolbox.look_up
    html, markdown = render_html(report, graph, evidence=evidence), render_markdown(report, graph, evidence=evidence)
    return Shown(html, markdown, render_svg(report, graph), out.getvalue())


@pytest.fixture(scope="module")
def calm(dallas_report: CircuitReport, dallas_graph: AttributionGraph, embedded_toolbox: Toolbox) -> Shown:
    """The report without an attack."""
    return _shown(dallas_report, dallas_graph, embedded_toolbox)


@pytest.fixture(scope="module", params=range(ROTATIONS))
def attacked(
    request: pytest.FixtureRequest,
    dallas_report: CircuitReport,
    dallas_graph: AttributionGraph,
    embedded_toolbox: Toolbox,
) -> Shown:
    """The report, its graph and its evidence with hostile texts wherever there are words."""
    start = request.param * len(TEXTS) // ROTATIONS
    texts = cycle(TEXTS[start:] + TEXTS[:start])
    document = hostile(dallas_report.model_dump(mode="json"), texts)
    report = CircuitReport.model_validate_json(json.dumps(document))
    graph = replace(
        dallas_graph,
        tokens=tuple(next(texts) for _ in dallas_graph.tokens),
        labels=tuple(next(texts) for _ in dallas_graph.labels),
        prompt=next(texts),
    )
    store = embedded_toolbox.evidence
    assert store is not None
    corpus = replace(store, token_texts={token: next(texts) for token in store.token_texts})
    shown = _shown(report, graph, replace(embedded_toolbox, evidence=corpus, features=corpus))
    assert all(MARK in page for page in (shown.html, shown.markdown, shown.svg, shown.terminal))
    return shown


class Elements(HTMLParser):
    """Every element with its attributes, as a browser finds them, and the text inside `style` and `script`."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str]]] = []
        self.raw: list[str] = []
        self.other: list[str] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag if tag in ("style", "script") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw.append(data)

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)

    def shapes(self) -> set[tuple[str, str]]:
        """Tags with the names of their attributes."""
        return {(tag, name) for tag, attributes in self.found for name in ("", *attributes)}

    def values(self, *names: str) -> set[str]:
        """Values of some attributes."""
        return {value for _, attributes in self.found for name, value in attributes.items() if name in names}


@pytest.mark.parametrize("kind", ["html", "svg"])
def test_a_page_has_no_element_and_no_attribute_of_the_texts(attacked: Shown, calm: Shown, kind: str) -> None:
    page, clean = Elements(getattr(attacked, kind)), Elements(getattr(calm, kind))
    assert page.shapes() <= clean.shapes() | _HARMLESS, "texts must not bring elements or attributes with them"
    assert page.raw == clean.raw, "what stands in style is ours alone"
    assert page.other == clean.other
    assert not any(tag in ("script", "iframe", "object", "embed", "form", "base", "link") for tag, _ in page.found)
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    for value in page.values("href", "src", "xlink:href", "action", "srcdoc", "data"):
        assert re.fullmatch(r"#[A-Za-z0-9_.-]+", value) or value in clean.values("href", "src"), value
    for value in page.values("style", "class", "id", "d", "transform", "fill", "stroke", "http-equiv", "content"):
        assert MARK not in value and "evil.example" not in value, value


_HARMLESS = {("mark", ""), ("mark", "class"), ("span", "class"), ("span", ""), ("p", "class"), ("li", ""), ("ul", "")}
"""Plain elements that our templates use where a clean report happens to have nothing to say."""


def test_markdown_gains_no_link_image_or_html(attacked: Shown, calm: Shown) -> None:
    def tokens(text: str) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for block in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
            for token in (block, *(block.children or ())):
                found.add((token.type, str(token.attrGet("href") or token.attrGet("src") or "")))
        return found

    active = {"link_open", "image", "html_block", "html_inline"}
    gained = {token for token in tokens(attacked.markdown) - tokens(calm.markdown) if token[0] in active}
    assert not {token for token in gained if not token[1].startswith("#")}, gained
    levels = re.findall(r"^#+ .*", attacked.markdown, re.MULTILINE)
    assert len(levels) == len(re.findall(r"^#+ .*", calm.markdown, re.MULTILINE)), "no heading comes from a text"


@pytest.mark.parametrize("kind", ["html", "markdown", "svg", "terminal"])
def test_nothing_hidden_reaches_a_reader(attacked: Shown, kind: str) -> None:
    """No escape codes, no direction overrides, no invisible letters; our own pages isolate texts by markup."""
    page = getattr(attacked, kind)
    bad = {f"{ord(c):x}" for c in set(page) if c not in "\n\t" and is_hidden(c)}
    # the joiner of composed emoji and variation selectors change how a sign looks, and nothing else on a page
    joined = {"200d", *(f"{code:x}" for code in range(0xFE00, 0xFE10))}
    fillers = {"34f", "115f", "2800", "3164", *(f"{code:x}" for code in range(0xE0100, 0xE01F0))}
    assert not bad - joined - fillers, bad


@pytest.mark.parametrize("name", INJECTIONS)
def test_a_terminal_shows_a_text_and_does_not_obey_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = INJECTIONS[name]
    terminal.stdout().print(terminal.styled(text), soft_wrap=True)
    terminal.print_error(text)
    out, err = capsys.readouterr()
    for shown in (out, err):
        assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"]
    assert err.count("\n") == 1, "an error is one line, whatever it quotes"
    assert out.rstrip("\n") == terminal.plain(text), "markup, emoji codes and links are shown as they stand"
