"""The HTML page: complete, honest about failures, and harmless whatever its texts are."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from typing import ClassVar

import pytest

from tracescribe.agents.rendering import EvidenceLookup, render_html
from tracescribe.agents.rendering.visible_text import visible_text
from tracescribe.agents.report import CircuitReport

SECTIONS = ["story", "circuit", "steps", "whole", "claims", "labels", "unexplained", "making", "glossary"]
ADDRESSES = {"href", "src", "xlink:href", "action", "formaction", "data", "poster", "srcset", "ping", "background"}


class Page(HTMLParser):
    """Collects the tags, attributes, ids and visible text of a page as a browser would see them."""

    VOID: ClassVar = {"meta", "path", "rect", "line", "circle", "polygon", "polyline", "br"}

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.by_id: dict[str, list[str]] = {}
        self._inside: list[str | None] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append((tag, values))
        if tag not in self.VOID:
            self.open.append(tag)
            self._inside.append(values.get("id"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()
        self._inside.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        for node in {name for name in self._inside if name}:
            self.by_id.setdefault(node, []).append(data)

    def within(self, node: str) -> str:
        """Text inside the element with this id."""
        return " ".join("".join(self.by_id[node]).split())

    @property
    def ids(self) -> list[str]:
        """Every id, in order."""
        return [values["id"] for _, values in self.tags if "id" in values]


@pytest.fixture(scope="module")
def page(dallas_report: CircuitReport, store: EvidenceLookup) -> Page:
    """The realistic report as a page."""
    return Page(render_html(dallas_report, evidence=store))


@pytest.fixture(scope="module")
def hostile_html(hostile_report: CircuitReport, hostile_store: EvidenceLookup) -> str:
    """The hostile report as HTML text."""
    return render_html(hostile_report, evidence=hostile_store)


def test_every_tag_is_closed_and_every_reference_leads_somewhere(page: Page, hostile_html: str) -> None:
    for each in (page, Page(hostile_html)):
        assert not each.open
        assert len(each.ids) == len(set(each.ids))
        references = [values["href"] for _, values in each.tags if "href" in values]
        references += ["#" + name for _, v in each.tags for name in v.get("aria-labelledby", "").split()]
        assert {reference[1:] for reference in references} <= set(each.ids)
        assert all(reference.startswith("#") for reference in references)


def test_page_loads_and_runs_nothing(hostile_html: str) -> None:
    hostile = Page(hostile_html)
    assert not {"script", "img", "iframe", "object", "embed", "link", "base", "form", "foreignObject"} & {
        tag for tag, _ in hostile.tags
    }
    for _, values in hostile.tags:
        assert not [name for name in values if name.startswith("on")]
        for name in ADDRESSES & set(values):
            assert values[name].startswith("#")
    styles = re.findall(r"<style>(.*?)</style>", hostile_html, re.DOTALL)
    assert len(styles) == 1 and "url(" not in styles[0] and "@import" not in styles[0]
    inline = [values["style"] for _, values in hostile.tags if "style" in values]
    assert all(re.fullmatch(r"width:[\d.]+%", style) for style in inline)


def test_page_forbids_what_it_does_not_need(page: Page) -> None:
    policies = [v["content"] for tag, v in page.tags if v.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_hostile_texts_are_shown_as_text(hostile_html: str, hostile_texts: tuple[str, ...]) -> None:
    hostile = Page(hostile_html)
    story = " ".join("".join(hostile.text).split())
    for text in hostile_texts:
        assert " ".join(visible_text(text).split()) in story
    for hidden in ("\u202e", "\u2066", "\u200b", "\x00", "\x1b"):
        assert hidden not in hostile_html


def test_every_claim_is_shown_with_verdict_reason_and_numbers(page: Page, dallas_report: CircuitReport) -> None:
    verdicts = {verdict.claim_id: verdict for verdict in dallas_report.verdicts}
    assert {verdict.outcome for verdict in verdicts.values()} == {"supported", "refuted", "inconclusive"}
    for claim in dallas_report.claims:
        shown = page.within(f"claim-{claim.claim_id}")
        assert claim.statement in shown
        assert verdicts[claim.claim_id].outcome in shown
        assert "199 random sets" in shown
        assert all(name in shown for name in ("effect", "needed", "95 % interval", "rank", "How it was tested"))
        assert ("beyond controls" in shown) == (claim.kind != "label")


def test_every_control_is_a_dot(page: Page, dallas_report: CircuitReport) -> None:
    dots = [v for tag, v in page.tags if tag == "circle" and v.get("class") == "dot"]
    key = 4  # dots of the key that explains the pictures
    circuit = dallas_report.circuit
    assert circuit is not None
    random = len(circuit.random_sufficiency) + len(circuit.random_necessity)
    assert len(dots) - key - random == sum(len(m.control_effects) for m in dallas_report.measurements)


def test_refuted_claims_take_the_place_of_supported_ones(page: Page) -> None:
    rows = {v["id"]: v["class"] for tag, v in page.tags if tag == "tr" and "claim" in v.get("class", "").split()}
    assert rows["claim-c1"] == "claim is-supported"
    assert rows["claim-c2"] == "claim is-refuted"
    refuted, supported = page.within("claim-c2"), page.within("claim-c1")
    assert "Putting Akron's features in the place of 'Dallas' gives Columbus." in refuted
    assert re.findall(r"effect|needed|rank", refuted) == re.findall(r"effect|needed|rank", supported)


def test_sections_come_in_order_and_headings_never_skip_a_level(page: Page) -> None:
    headings = [(int(tag[1]), values.get("id")) for tag, values in page.tags if re.fullmatch(r"h\d", tag)]
    assert [node for level, node in headings if level == 2] == SECTIONS
    assert headings[0][0] == 1 and [level for level, _ in headings].count(1) == 1
    for (above, _), (below, _) in itertools.pairwise(headings):
        assert below <= above + 1


def test_story_sentences_carry_marks_that_say_the_verdict_in_words(page: Page, dallas_report: CircuitReport) -> None:
    outcomes = {verdict.claim_id: verdict.outcome for verdict in dallas_report.verdicts}
    text = "".join(page.text)
    for sentence in dallas_report.summary:
        after = text.split(sentence.text, 1)[1][:200]
        for claim_id in sentence.claims:
            assert f"{claim_id} {outcomes[claim_id]}" in after


def test_examples_mark_the_strongest_token(page: Page, dallas_report: CircuitReport) -> None:
    assert "fires on “Dallas”, “Houston”, “Laredo” or “Texas”" in page.within("feature-1-201")
    marks = [values["class"] for tag, values in page.tags if tag == "mark"]
    assert marks[0] == "a4 peak" and len(marks) == 4
    assert "not measured" in page.within("feature-0-12")


def test_what_is_not_explained_is_told(page: Page) -> None:
    text = " ".join("".join(page.text).split())
    for words in ("7.1 %", "0.942", "0.871", "Attention is not explained.", "Another prompt of the same kind"):
        assert words in text.split("What was not explained", 1)[1]


def test_untested_report_says_so_before_all_else(untested_report: CircuitReport) -> None:
    text = " ".join("".join(Page(render_html(untested_report)).text).split())
    banner = text.index("Hypotheses only: nothing was tested.")
    assert banner < text.index("In short", banner)
    assert "Cut short: the budget of 10 seconds is used up." in text
    assert "the model's weights are not at hand" in text
    assert "provider gave no answer" in text
    assert "random sets" not in text and "no measurement" in text


def test_tested_report_has_no_banner(page: Page) -> None:
    assert "banner" not in {values.get("class") for _, values in page.tags}


def test_a_claim_shows_its_plan_as_registered(page: Page, dallas_report: CircuitReport) -> None:
    entries = {(entry.event, entry.subject): entry for entry in dallas_report.registry}
    for plan in dallas_report.plans:
        shown = page.within(f"claim-{plan.claim_id}")
        for event in ("registered", "planned", "measured"):
            entry = entries[event, plan.claim_id]
            assert f"{event} in the log" in shown and f"entry {entry.sequence}, hash {entry.sha256[:12]}" in shown
        assert plan.rule is not None and plan.rule.name in shown
        for words in (
            plan.hypothesis,
            "199 random sets, matched on layer, position, amount",
            "seed",
            "refuted below",
            "level",
        ):
            assert words in shown


def test_what_an_edit_did_is_told_as_probability_logit_and_rank(page: Page) -> None:
    assert "“Austin” 97.3 % → 2.1 %; logit 14.2 → 10.4; rank 1 → 3" in page.within("claim-c0")
    assert "“Sacramento” <0.1 % → 98.1 %; logit 6.43 → 14.2; rank 41 → 1" in page.within("claim-c1")


def test_doses_are_drawn_and_wordings_listed(page: Page, dallas_report: CircuitReport) -> None:
    (steering,) = [m for m in dallas_report.measurements if m.doses]
    points = [v for tag, v in page.tags if tag == "circle" and v.get("class") == "dose"]
    assert len(points) == len(steering.doses) + 1
    shown = page.within("claim-c0")
    assert "mean 3.32 to 4.07 nats (95%); 4 of 5 apply" in shown
    assert "beyond controls3.78 to 3.80 nats (95 % interval)" in shown
    assert "Dallas?does not apply: no such features" in shown


def test_the_whole_circuit_stands_beside_random_ones(page: Page, untested_report: CircuitReport) -> None:
    text = " ".join("".join(page.text).split()).split("The circuit as a whole", 1)[1]
    assert "9 features of 40 that fire in the prompt" in text
    assert "“Austin” over “Houston”" in text and "91.2 %" in text and "97.4 %" in text
    assert "mean of 99 random circuits of its size" in text
    assert "The agent stopped after 2 rounds of revision (nothing new): no claim was proposed" in text
    untested = " ".join("".join(Page(render_html(untested_report)).text).split())
    assert "The circuit as a whole was not measured." in untested


def test_swaps_are_summed_up_by_step(page: Page, dallas_report: CircuitReport) -> None:
    text = " ".join("".join(page.text).split()).split("Swaps over donor prompts", 1)[1]
    for summary in dallas_report.swaps:
        assert f"{summary.n_supported} of {summary.n_donors}" in text


def test_rejected_steps_are_shown_as_such_everywhere(page: Page, dallas_report: CircuitReport) -> None:
    rejected = [s.supernode_id for s in dallas_report.supernodes if s.rejected]
    assert rejected and len(rejected) < len(dallas_report.supernodes)
    rows = {v["id"]: v.get("class") for tag, v in page.tags if tag == "tr" and v.get("id", "").startswith("step-")}
    assert {node.removeprefix("step-") for node, kind in rows.items() if kind == "rejected"} == set(rejected)
    assert all("rejected" in page.within(f"step-{node}") for node in rejected)
    drawn = [v for tag, v in page.tags if tag == "g" and "rejected" in v.get("class", "").split()]
    assert len(drawn) == len(rejected)
    assert [v for tag, v in page.tags if tag == "g" and "faded" in v.get("class", "").split()]


def test_a_step_shows_how_it_hangs_together(page: Page) -> None:
    shown = page.within("step-s2")
    assert "members alike: 0.810 (random groups 0.220, p .010)" in shown
    assert "switched off together: 3.82 nats (random groups 0.0600, p .010)" in shown


def test_a_label_shows_all_that_speaks_for_it(page: Page) -> None:
    shown = page.within("feature-1-201")
    for words in (
        "fires on Dallas, feeds what says Austin",
        "detection0.908 (95% interval 0.840 to 0.970); right on 19 of 20 firing, 20 of 20 random, 6 of 10 near-miss contexts",
        "fuzzing",
        "1 not judged; judged by gpt-x (detect_feature 1.0.0)",
        "replaced“any city”, “a place” (scored poorly)",
        "promotesAustin Houston",
    ):
        assert words in shown


def test_what_is_not_explained_is_told_in_numbers(page: Page) -> None:
    text = " ".join("".join(page.text).split()).split("What was not explained", 1)[1]
    for words in ("18.3 %", "does not keep8.8 %", "without the circuit2.6 %", "not supported4 of 11"):
        assert words in text or words.replace("%", " %") in text, words
