"""The Markdown report: same content, and nothing in it is read as Markdown or HTML that is not ours."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tracescribe.agents.rendering import EvidenceLookup, render_markdown
from tracescribe.agents.rendering.templating import escape_markdown
from tracescribe.agents.report import CircuitReport


def _tokens(markdown: str) -> list[Token]:
    tokens: list[Token] = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown):
        tokens.append(token)
        tokens.extend(token.children or ())
    return tokens


def test_hostile_text_makes_no_link_no_picture_and_no_html(
    hostile_report: CircuitReport, hostile_store: EvidenceLookup
) -> None:
    markdown = render_markdown(hostile_report, evidence=hostile_store)
    tokens = _tokens(markdown)
    links = {str(token.attrs["href"]) for token in tokens if token.type == "link_open"}
    assert links and all(re.fullmatch(r"#claim-c\d+", link) for link in links)
    assert {str(token.attrs["src"]) for token in tokens if token.type == "image"} == {"circuit.svg"}
    html = [token.content for token in tokens if token.type in ("html_inline", "html_block")]
    assert all(re.fullmatch(r'(<a id="[a-z]+-[a-z0-9-]+">|</a>)+', item.strip()) for item in html)
    assert "https://" not in markdown and "www." not in markdown


@pytest.mark.parametrize(
    "text",
    [
        "1. not a list", "- not a list", "# not a heading", "| a | b |", "`tick`", "**bold** _it_ ~~no~~", "<b>&amp;",
        "[a](b)", "![a](b)", "$x$", "+ plus", "=====", "back\\slash \\* star", "a\n\n# b", "---", "- - -", "-", "12) x", "0.98", "+0.5",
    ],
)  # fmt: skip
def test_escaped_text_comes_out_as_it_went_in(text: str) -> None:
    tokens = _tokens(escape_markdown(text))
    assert {token.type for token in tokens} <= {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}
    shown = "".join(token.content for token in tokens if token.type.startswith("text"))
    assert shown == text.replace("\n", " ")


def test_numbers_stay_readable() -> None:
    assert [escape_markdown(text) for text in ("0.98", "+0.5", "−3.00", ".005")] == ["0.98", "+0.5", "−3.00", ".005"]


def test_tables_keep_their_shape(hostile_report: CircuitReport, dallas_report: CircuitReport) -> None:
    for report in (hostile_report, dallas_report):
        markdown = render_markdown(report)
        for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
            rows = [len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()]
            assert len(set(rows)) == 1, block


def test_every_claim_label_and_step_is_told(dallas_report: CircuitReport, store: EvidenceLookup) -> None:
    markdown = render_markdown(dallas_report, evidence=store)
    shown = "".join(token.content for token in _tokens(markdown) if token.type.startswith("text"))
    for verdict in dallas_report.verdicts:
        assert f"{verdict.outcome}" in shown
        assert f'<a id="claim-{verdict.claim_id}"></a>' in markdown
    for claim in dallas_report.claims:
        assert claim.statement in shown
    for supernode in dallas_report.supernodes:
        assert f'<a id="step-{supernode.supernode_id}"></a>{supernode.label}' in markdown
    assert "✗ refuted" in shown and "199 control sets" in shown and "7.1 %" in shown


def test_untested_report_says_so_at_the_top(untested_report: CircuitReport) -> None:
    head = render_markdown(untested_report).split("## In short")[0]
    assert "> **Hypotheses only: nothing was tested.**" in head
    assert "> **Cut short:** the budget of 10 seconds is used up" in head


def test_everything_that_the_page_shows_is_in_the_text(dallas_report: CircuitReport, store: EvidenceLookup) -> None:
    """Plans, tokens before and after, doses, wordings, judged labels, the whole circuit, swaps and the end."""
    markdown = render_markdown(dallas_report, evidence=store)
    shown = "".join(token.content for token in _tokens(markdown) if token.type.startswith("text"))
    for words in (
        "hypothesis: Without 'Texas' the answer 'Austin' is lost.",
        "tracescribe-rule/2: supported from 0.693 on",
        "entry 7, hash",
        "“Austin”: 97.3 % → 2.1 %; logit 14.2 → 10.4; rank 1 → 3",
        "Dose and response: effect by dose: 0.000 nats at 1.00",
        "Other wordings: mean 3.32 to 4.07 nats (95%); 4 of 5 apply",
        "In the wording “Dallas?”: does not apply: no such features",
        "detection: 0.908 (95% interval 0.840 to 0.970)",
        "It replaced “any city”, “a place”, which scored poorly.",
        "9 features of 40 that fire in the prompt",
        "mean of 99 random circuits of its size",
        "Dallas (rejected)",
        "members alike: 0.810",
        "The agent stopped after 2 rounds of revision (nothing new)",
        "18.3 %",
    ):
        assert words in shown, words
