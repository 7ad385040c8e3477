"""The page of a report: everything of the report is on it, linked, escaped, and free of inline styles and scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from tests.agents.rendering.conftest import HOSTILE, make_report
from tests.runs.web.visitors import new_store, visitor
from tracescribe.agents.claims import SwapClaim
from tracescribe.agents.rendering.files import render_json
from tracescribe.agents.rendering.visible_text import visible_text
from tracescribe.agents.report import CircuitReport
from tracescribe.runs.review.bringing_in import bring_in
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.tables import artefact_uses, cases
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.report_view import report_page
from tracescribe.runs.web.settings import WebSettings

CONTENT = re.compile(r"<(script|style)\b[^>]*>(.*?)</\1>", re.DOTALL)


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, attribute: str) -> list[str]:
        """Values of an attribute wherever it stands."""
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]


def _hostile_report() -> CircuitReport:
    base = make_report()
    claims = tuple(
        SwapClaim(
            claim_id=f"c{i}",
            statement=text,
            supernode="s1",
            donor_prompt=HOSTILE[i - 1],
            donor_features=base.supernodes[0].members,
            expected_token=HOSTILE[(i + 3) % len(HOSTILE)],
        )
        for i, text in enumerate(HOSTILE)
    )
    return make_report(
        supernodes=tuple(node.model_copy(update={"label": HOSTILE[i]}) for i, node in enumerate(base.supernodes)),
        labels=tuple(
            label.model_copy(update={"text": text}) for label, text in zip(base.labels, HOSTILE, strict=False)
        ),
        claims=claims,
        prompt=HOSTILE[0],
        tokens=tuple(HOSTILE[i % len(HOSTILE)] for i in range(9)),
        answer=HOSTILE[1],
        notes=HOSTILE,
        cut_short=HOSTILE[3],
    )


NAMES = ("mixed", "untested", "hostile", "nothing")


@cache
def report_of(name: str) -> CircuitReport:
    """A report with every verdict, one without tests, one whose every text is hostile, one with nothing in it."""
    match name:
        case "untested":
            return make_report(tested=False, cut_short="the budget of 10 seconds is used up")
        case "hostile":
            return _hostile_report()
        case "nothing":
            return make_report(supernodes=(), edges=(), labels=(), claims=(), summary=())
        case _:
            return make_report()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with all the reports."""
    with new_store(tmp_path_factory.mktemp("pages")) as opened:
        yield opened


@pytest.fixture(scope="module")
def case_ids(store: Store) -> dict[str, str]:
    """Case of each report."""
    return {name: bring_in(store, render_json(report_of(name)).encode(), None, name) for name in NAMES}


@pytest.fixture(scope="module")
def client(store: Store) -> TestClient:
    """The person at this machine."""
    return visitor(create_app(store, WebSettings(gold=None)))


@pytest.fixture(scope="module")
def pages(client: TestClient, case_ids: dict[str, str]) -> dict[str, tuple[str, Page]]:
    """Each report's page as text and as tags."""
    found = {}
    for name, case_id in case_ids.items():
        answer = client.get(f"/reports/{case_id}")
        assert answer.status_code == 200, answer.text[:500]
        found[name] = (answer.text, Page(answer.text))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_everything_of_the_report_has_a_place(pages: dict[str, tuple[str, Page]], name: str) -> None:
    report, (_, page) = report_of(name), pages[name]
    targets = page.all("data-target")
    assert len(targets) == len(set(targets))
    assert {f"claim:{claim.claim_id}" for claim in report.claims} <= set(targets)
    assert {f"supernode:{node.supernode_id}" for node in report.supernodes} <= set(targets)
    assert {f"edge:{edge.source}>{edge.destination}" for edge in report.edges} <= set(targets)
    assert {f"feature:{label.layer}/{label.feature}" for label in report.labels} <= set(targets)
    assert {f"sentence:{number + 1}" for number in range(len(report.summary))} <= set(targets)
    words = " ".join(page.text)
    for text in [claim.statement for claim in report.claims] + [sentence.text for sentence in report.summary]:
        assert visible_text(text) in words


@pytest.mark.parametrize("name", NAMES)
def test_every_sentence_leads_to_its_claims(pages: dict[str, tuple[str, Page]], name: str) -> None:
    report, (text, _) = report_of(name), pages[name]
    story = text[text.index('id="story"') : text.index('id="claims"')]
    parts = re.split(r'data-target="sentence:\d+"', story)[1:]
    assert len(parts) == len(report.summary)
    for sentence, part in zip(report.summary, parts, strict=True):
        assert [link for link in re.findall(r'href="#claim:(c\d+)"', part)] == list(sentence.claims)


@pytest.mark.parametrize("name", NAMES)
def test_links_within_the_page_lead_somewhere(pages: dict[str, tuple[str, Page]], name: str) -> None:
    _, page = pages[name]
    places = set(page.all("id")) | set(page.all("data-target"))
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    within = {href[1:] for href in page.all("href") if href.startswith("#")}
    assert not {place for place in within if not place.startswith("node:")} - places  # single nodes are in the drawing
    labelled = {one for value in page.all("aria-labelledby") for one in value.split()}
    assert not labelled - set(ids)


@pytest.mark.parametrize("name", NAMES)
def test_no_inline_style_script_or_handler(pages: dict[str, tuple[str, Page]], name: str) -> None:
    text, page = pages[name]
    for tag, attributes in page.tags:
        assert tag not in ("style", "iframe", "object", "embed", "base"), (tag, attributes)
        assert "style" not in attributes, (tag, attributes)
        assert not [key for key in attributes if key.startswith("on")], (tag, attributes)
        for key in ("href", "src", "action", "xlink:href"):
            assert (attributes.get(key) or "#").startswith(("#", "/")), (tag, attributes)
            assert not (attributes.get(key) or "#").startswith("//"), (tag, attributes)
    assert all(not body.strip() for _, body in CONTENT.findall(text))


def test_hostile_texts_are_text(pages: dict[str, tuple[str, Page]]) -> None:
    text, page = pages["hostile"]
    assert "<script>alert" not in text and "<img src=x" not in text and "<svg onload" not in text
    assert "{{ 7 * 7 }}" in text and "49 {%" not in text  # a template in a label is not run
    assert "\u202e" not in text and "\x00" not in text and "\x1b" not in text
    assert any("<script>alert(1)</script>" in part for part in page.text)


def test_an_untested_report_says_so(pages: dict[str, tuple[str, Page]]) -> None:
    text, _ = pages["untested"]
    assert "nothing was tested" in text
    assert "the budget of 10 seconds is used up" in text
    assert 'id="live"' not in text  # what cannot be tested cannot be tried
    assert "The full graph was not kept" in text


def test_verdicts_in_plain_words() -> None:
    shown = report_page(report_of("mixed"))
    words = {claim.view.claim_id: claim.words for group in shown.groups for claim in group.claims}
    verdicts = {verdict.claim_id: verdict for verdict in report_of("mixed").verdicts}
    assert set(words) == set(verdicts)
    for claim_id, text in words.items():
        assert f"So it is {verdicts[claim_id].outcome}:" in text, text
    assert {"supported", "refuted", "inconclusive"} <= {verdict.outcome for verdict in verdicts.values()}
    untested = report_page(report_of("untested"))
    assert all("No experiment was run" in claim.words for group in untested.groups for claim in group.claims)


def test_dots_of_a_plot_have_their_values() -> None:
    shown = report_page(report_of("mixed"))
    measured = {m.plan_id: m for m in report_of("mixed").measurements}
    plans = {plan.claim_id: plan for plan in report_of("mixed").plans}
    for claim in (claim for group in shown.groups for claim in group.claims):
        effects = sorted(measured[plans[claim.view.claim_id].plan_id].control_effects)
        assert [float(value) for value in claim.values.split()] == pytest.approx(effects, rel=1e-3)
        assert claim.dots.count("M") == len(effects)


def test_a_report_that_is_gone_or_damaged_is_explained(store: Store, client: TestClient, tmp_path: Path) -> None:
    report = make_report(prompt="another prompt", tokens=("another", "prompt"), supernodes=(), edges=(), labels=(),
                         claims=(), summary=())  # fmt: skip
    case_id = bring_in(store, render_json(report).encode(), None, "damaged")
    assert client.get(f"/reports/{case_id}").status_code == 200
    query = sa.select(artefact_uses.c.sha256).where(
        artefact_uses.c.case_id == case_id, artefact_uses.c.name == "report.json"
    )
    sha256 = store.read(lambda connection: str(connection.execute(query).scalar_one()))
    file = next(path for path in (tmp_path_of(store)).rglob(f"*{sha256[4:]}*") if path.is_file())
    file.chmod(0o600)
    file.write_bytes(b"{}")
    damaged = client.get(f"/reports/{case_id}")
    assert damaged.status_code == 503 and "damaged" in damaged.text and "store check" in damaged.text
    file.unlink(missing_ok=True)  # the store puts damaged files aside
    assert client.get(f"/reports/{case_id}").status_code == 410
    store.write(lambda c: c.execute(artefact_uses.delete().where(artefact_uses.c.case_id == case_id)) and None)
    gone = client.get(f"/reports/{case_id}")
    assert gone.status_code == 410 and "no longer kept" in gone.text
    assert (
        store.read(lambda c: c.execute(sa.select(cases.c.status).where(cases.c.case_id == case_id)).scalar()) == "done"
    )
    assert client.get("/reports/nosuchcase.0").status_code == 404


def tmp_path_of(store: Store) -> Path:
    """Folder of the store's artefacts."""
    return Path(store.artefacts.location)


def test_a_feature_without_its_scan_says_why(client: TestClient, case_ids: dict[str, str]) -> None:
    label = report_of("mixed").labels[0]
    found = client.get(f"/api/reports/{case_ids['mixed']}/features/{label.layer}/{label.feature}")
    assert found.status_code == 200
    body = found.json()
    assert body["label"] == label.text and body["texts"] == [] and body["source"] is None
    assert "another scan" in body["why_not"] or "cannot be opened" in body["why_not"]
    unknown = client.get(f"/api/reports/{case_ids['mixed']}/features/3/999999")
    assert unknown.status_code == 200 and unknown.json()["label"] is None
    assert client.get(f"/api/reports/{case_ids['mixed']}/features/-1/5").status_code == 422


def test_gold_of_other_weights_is_not_laid_beside(client: TestClient, case_ids: dict[str, str]) -> None:
    answer = client.get(f"/reports/{case_ids['mixed']}/gold")
    assert answer.status_code == 200
    assert "belongs to other weights" in answer.text and "<h2" not in answer.text
