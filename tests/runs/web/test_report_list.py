"""The list of reports over HTTP: what is found, in which order, how it is told, and what comes in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from tests.runs.web.stored_reports import AGENTS, bring, report_of
from tests.runs.web.visitors import new_store, visitor
from tracescribe.runs.review.bringing_in import bring_in
from tracescribe.runs.review.indexing import catch_up
from tracescribe.runs.review.listing import report_row
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.tables import reports
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.report_filters import ReportFilter, kind_filter
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory,
    dallas_graph: AttributionGraph,
    embedded_model: LanguageModel,
    embedded_transcoders: TranscoderSet,
) -> Iterator[Store]:
    """Four reports on two prompts."""
    from tracescribe.tracer.attribution import attribute

    with new_store(tmp_path_factory.mktemp("listed")) as opened:
        for agent in AGENTS:
            bring(opened, report_of(dallas_graph, agent), dallas_graph)
        other = attribute(embedded_model, embedded_transcoders, "the opposite of big is")
        bring(opened, report_of(other, "offline"), other)
        yield opened


@pytest.fixture(scope="module")
def client(store: Store) -> TestClient:
    """The person at this machine."""
    return visitor(create_app(store))


def found(client: TestClient, **query: Any) -> dict[str, Any]:
    answer = client.get("/api/reports", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_report_is_told_with_everything_that_a_row_shows(client: TestClient) -> None:
    told = found(client, q="BIG opposite")
    assert told["total"] == 1
    (row,) = told["reports"]
    assert row["prompt"] == "the opposite of big is" and row["answer"] == "small"
    assert row["agent"] == "offline" and row["model"] == "embedded" and row["kept"]
    assert row["review_status"] == "unreviewed" and not row["tested"]
    assert row["untested"] > 0 and row["supported"] == row["refuted"] == row["inconclusive"] == 0


def test_filters_narrow_and_facets_say_what_is_left(client: TestClient) -> None:
    everything = found(client)
    assert everything["total"] == 4
    assert {one["value"]: one["count"] for one in everything["facets"]["agent"]} == {
        "offline": 2,
        "influence": 1,
        "random": 1,
    }
    narrowed = found(client, agent="offline", q="Dallas")
    assert [row["agent"] for row in narrowed["reports"]] == ["offline"]
    same_prompt = found(client, prompt=narrowed["reports"][0]["prompt_sha256"])
    assert {row["agent"] for row in same_prompt["reports"]} == set(AGENTS)
    assert found(client, verdict="refuted")["total"] == 0
    scored = found(client, score_min=0)["reports"]
    assert {row["agent"] for row in scored} == set(AGENTS), "those whose prompt the built-in gold has"
    assert {row["score_name"] for row in scored} == {"grouping.supernode_f1"}
    assert found(client, score_min=1.01)["total"] == 0


def test_a_report_that_is_brought_in_is_scored_as_the_score_command_does_it(
    tmp_path: Path, dallas_graph: AttributionGraph
) -> None:
    from tracescribe.agents.rendering.files import render_json
    from tracescribe.evals.scores import score_report
    from tracescribe.runs.gold_files import gold_for

    report = report_of(dallas_graph, "influence")
    gold = gold_for(report.prompt)
    assert gold is not None
    expected = score_report(report, gold, dallas_graph).value("grouping.supernode_f1")
    with new_store(tmp_path) as store:
        case_id = bring_in(store, render_json(report).encode(), None, "alone")
        alone = report_row(store, case_id)
        assert alone is not None and alone.score is None, "there is nothing to score it with"
        assert bring(store, report, dallas_graph) == case_id
        row = report_row(store, case_id)
        assert row is not None
        assert (row.score, row.score_name) == (expected, "grouping.supernode_f1")
        store.write(lambda connection: connection.execute(sa.delete(reports)))
        catch_up(store)
        assert report_row(store, case_id) == row, "the case has the score too"


def test_pages_and_orders_hold_every_report_once(client: TestClient) -> None:
    prompts = [row["prompt"] for row in found(client, sort="prompt")["reports"]]
    assert prompts == sorted(prompts)
    backwards = [row["prompt"] for row in found(client, sort="prompt", reverse=True)["reports"]]
    assert backwards == sorted(prompts, reverse=True)
    pages = [found(client, per_page=3, page=page) for page in (1, 2)]
    assert [page["pages"] for page in pages] == [2, 2]
    ids = [row["case_id"] for page in pages for row in page["reports"]]
    assert len(ids) == len(set(ids)) == 4
    assert found(client, per_page=3, page=99)["page"] == 2


@pytest.mark.parametrize(
    "query",
    [{"verdict": "proven"}, {"page": 0}, {"per_page": 101}, {"score_min": "nan"}, {"job": "../x"}, {"sort": "x"}],
)
def test_a_program_is_told_what_is_wrong(client: TestClient, query: dict[str, Any]) -> None:
    answer = client.get("/api/reports", params=query)
    assert answer.status_code == 422
    assert next(iter(query)) in answer.json()["message"]


def test_the_page_bears_empty_and_wrong_fields(client: TestClient) -> None:
    answer = client.get("/reports", params={"q": "", "model": "", "score_min": "", "page": "x", "agent": "offline"})
    assert answer.status_code == 200
    assert "page: cannot be used as given" in answer.text
    assert answer.text.count('class="report-link"') == 2


def test_the_page_says_what_to_do_where_nothing_is_found(client: TestClient, tmp_path: Path) -> None:
    assert "No report fits" in client.get("/reports", params={"q": "nowhere"}).text
    with new_store(tmp_path) as empty:
        assert "tracescribe demo" in visitor(create_app(empty)).get("/reports").text


def test_links_keep_what_was_chosen_and_go_to_the_first_page() -> None:
    chosen, left_out = kind_filter({"q": "a b&c", "agent": "x", "page": "3", "sort": "prompt"})
    assert not left_out and chosen.narrows
    assert chosen.link(sort="score") == "/reports?q=a+b%26c&agent=x&sort=score"
    assert chosen.link(page=4) == "/reports?q=a+b%26c&agent=x&sort=prompt&page=4"
    assert ReportFilter().link() == "/reports"
    assert not ReportFilter(sort="score", page=2).narrows


def test_text_of_reports_is_escaped(client: TestClient) -> None:
    page = client.get("/reports", params={"q": "<img src=x onerror=alert(1)>\u202e"}).text
    assert "<img src=x" not in page and "&lt;img src=x" in page
    assert "\u202e" not in page


def test_a_report_is_brought_in_once_and_a_wrong_one_refused(client: TestClient, store: Store) -> None:
    from tracescribe.runs.review.stored import report_of_case

    csrf = {"X-CSRF-Token": client.get("/api/session").json()["csrf"]}
    case_id = found(client, q="big")["reports"][0]["case_id"]
    content = store.artefacts.read(report_of_case(store, case_id).sha256)
    files = {"report": ("C:\\x\\report.json", content, "application/json")}
    answer = client.post("/api/reports", files=files, headers=csrf)
    assert answer.status_code == 201
    assert answer.json() == {"case_id": case_id, "address": f"/reports/{case_id}"}
    assert found(client)["total"] == 4
    for wrong in (b"", b"{}", b"\xff\xfe", content.replace(b"Dallas", b"Austin") + b" x"):
        refused = client.post("/api/reports", files={"report": ("r.json", wrong, "application/json")}, headers=csrf)
        assert refused.status_code == 422 and refused.json()["message"]
    assert client.post("/api/reports", files=files).status_code == 403
    assert found(client)["total"] == 4
