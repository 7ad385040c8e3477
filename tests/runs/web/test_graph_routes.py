"""The full graph of a report over HTTP: whole, once read, logged, and refused in words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.runs.web.stored_reports import bring, report_of
from tests.runs.web.visitors import new_store, new_token, team_app, visitor
from tracescribe.runs.benchmarks.large_graph import large_graph
from tracescribe.runs.review.bringing_in import bring_in
from tracescribe.runs.review.stored import read_graph
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.graph_wire import decode
from tracescribe.runs.web.reading_ahead import read_ahead
from tracescribe.runs.web.settings import WebSettings
from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.graph import AttributionGraph

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from tracescribe.runs.store.database import Store


@pytest.fixture(scope="module")
def graph() -> AttributionGraph:
    return large_graph(300, 1_500, seed=5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with new_store(tmp_path_factory.mktemp("graphs")) as opened:
        yield opened


@pytest.fixture(scope="module")
def case(store: Store, graph: AttributionGraph) -> str:
    return bring(store, report_of(graph, "influence"), graph)


@pytest.fixture(scope="module")
def client(store: Store) -> TestClient:
    return visitor(create_app(store))


def test_the_graph_comes_whole_packed_or_plain(client: TestClient, case: str, graph: AttributionGraph) -> None:
    path = f"/api/reports/{case}/graph"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    packed = client.get(path, headers={"Accept-Encoding": "br;q=1.0, gzip"})
    assert plain.status_code == packed.status_code == 200
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.content == packed.content, "the client has unpacked it"
    assert int(packed.headers["content-length"]) < len(plain.content)
    assert plain.headers["content-type"] == "application/vnd.tracescribe.graph"
    found = decode(plain.content)
    assert found.header["ids"] == list(graph.node_ids)
    assert len(found.arrays["weight"]) == 1_500
    refused = client.get(path, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers


def test_a_graph_that_did_not_change_is_not_sent_again(client: TestClient, case: str) -> None:
    path = f"/api/reports/{case}/graph"
    tag = client.get(path).headers["etag"]
    again = client.get(path, headers={"If-None-Match": f'"other", {tag}'})
    assert again.status_code == 304
    assert again.content == b""
    fewer = client.get(path, params={"edges": 10}, headers={"If-None-Match": tag})
    assert fewer.status_code == 200
    assert len(decode(fewer.content).arrays["weight"]) == 10


@pytest.mark.parametrize("edges", ["-1", "2000001", "many", "1e3", "9" * 400])
def test_no_number_of_edges_is_believed(client: TestClient, case: str, edges: str) -> None:
    answer = client.get(f"/api/reports/{case}/graph", params={"edges": edges})
    assert answer.status_code == 422
    assert set(answer.json()) >= {"error", "message"}


def test_a_node_has_its_edges_strongest_first(client: TestClient, case: str, graph: AttributionGraph) -> None:
    weight = np.asarray(graph.edges.weight, dtype=np.float64)
    busiest = int(np.bincount(graph.edges.target, minlength=graph.n_nodes).argmax())
    answer = client.get(f"/api/reports/{case}/graph/nodes/{graph.node_ids[busiest]}", params={"limit": 1000}).json()
    into = np.flatnonzero(graph.edges.target == busiest)
    expected = sorted(into, key=lambda edge: -abs(weight[edge]))
    assert [link["node_id"] for link in answer["inputs"]] == [graph.node_ids[graph.edges.source[e]] for e in expected]
    assert [link["weight"] for link in answer["inputs"]] == weight[expected].tolist()
    assert answer["n_inputs"] == len(into)
    assert sum(link["share"] for link in answer["inputs"]) == pytest.approx(1.0)
    assert answer["input_total"] == pytest.approx(np.abs(weight[into]).sum())
    short = client.get(f"/api/reports/{case}/graph/nodes/{graph.node_ids[busiest]}", params={"limit": 2}).json()
    assert short["inputs"] == answer["inputs"][:2]
    assert short["n_inputs"] == answer["n_inputs"], "what is not shown is counted"


def test_a_token_has_no_inputs_and_no_activation(client: TestClient, case: str, graph: AttributionGraph) -> None:
    token = next(node_id for node_id in graph.node_ids if node_id.startswith("E_"))
    answer = client.get(f"/api/reports/{case}/graph/nodes/{token}").json()
    assert (answer["kind"], answer["inputs"], answer["n_inputs"], answer["activation"]) == ("embedding", [], 0, None)
    assert answer["layer"] == -1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nodes/0_0_999", 404),
        ("nodes/..%2f..%2fsecrets", 404),
        ("nodes/%00", 400),
        ("nodes/a%20b", 422),
        ("nodes/" + "9" * 101, 422),
    ],
)
def test_what_is_no_node_is_refused(client: TestClient, case: str, path: str, status: int) -> None:
    answer = client.get(f"/api/reports/{case}/graph/{path}")
    assert answer.status_code == status
    assert "message" in answer.json()


def test_a_case_without_a_graph_says_so(store: Store, client: TestClient) -> None:
    from tracescribe.agents.rendering.files import render_json

    other = large_graph(250, 600, seed=9)
    case = bring_in(store, render_json(report_of(other, "influence")).encode(), None, "no graph", "tests")
    answer = client.get(f"/api/reports/{case}/graph")
    assert answer.status_code == 404
    assert "no graph" in answer.json()["message"]
    assert client.get("/api/reports/nosuchcase.0/graph").status_code == 404


def test_a_damaged_graph_is_told_and_not_drawn(store: Store) -> None:
    import sqlalchemy as sa

    from tracescribe.runs.store.tables import artefact_uses

    other = large_graph(260, 700, seed=11)
    case = bring(store, report_of(other, "influence"), other)
    query = sa.select(artefact_uses.c.sha256).where(
        artefact_uses.c.case_id == case, artefact_uses.c.name == "graph.json"
    )
    sha256 = store.read(lambda connection: connection.execute(query).scalar_one())
    stored = [file for file in Path(store.artefacts.location).rglob("*") if file.is_file()]
    files = [file for file in stored if hashlib.sha256(file.read_bytes()).hexdigest() == sha256]
    assert len(files) == 1
    files[0].chmod(0o600)
    files[0].write_bytes(b"{}")
    answer = visitor(create_app(store)).get(f"/api/reports/{case}/graph")
    assert answer.status_code in (500, 503)
    assert answer.json()["error"] != "fault", "a known kind of error, not an unforeseen one"


def test_only_reviewers_see_it_and_the_log_tells_who_did(store: Store, case: str) -> None:
    import sqlalchemy as sa

    from tracescribe.runs.store.tables import audit_entries

    app = team_app(store)
    path = f"/api/reports/{case}/graph"
    assert visitor(app).get(path).status_code == 401
    assert visitor(app, new_token(store, "looker", "viewer")).get(path).status_code == 403
    reviewer = visitor(app, new_token(store, "rosa", "reviewer"))
    for _ in range(3):
        assert reviewer.get(path).status_code == 200
    query = sa.select(audit_entries.c.details).where(
        audit_entries.c.subject == case,
        audit_entries.c.act == "report opened",
        audit_entries.c.actor == "token:rosa",
    )
    opened = store.read(lambda connection: [str(row[0]) for row in connection.execute(query)])
    assert len(opened) == 1, "one look is one entry"
    assert "graph.json" in opened[0]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\x1f\x8bbroken", b'{"metadata":{},"nodes":[],"links":[]}'])
@pytest.mark.parametrize("name", ["graph.json", "graph.tsgraph"])
def test_what_is_no_graph_is_a_known_error(name: str, content: bytes) -> None:
    with pytest.raises(GraphFormatError):
        read_graph(name, content)


def test_a_graph_is_read_once_for_all_who_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawing, its data, acts, gold and pages of a review share it; nodes are told without reading the file again."""
    from tracescribe.runs.review import stored

    read: list[str] = []
    kept = large_graph(230, 600, seed=29)

    def counted(name: str, content: bytes) -> AttributionGraph:
        read.append(name)
        return original(name, content)

    original = stored.read_graph
    with new_store(tmp_path) as store:
        case = bring(store, report_of(kept, "influence"), kept)
        monkeypatch.setattr(stored, "read_graph", counted)
        client = visitor(create_app(store))
        paths = ["circuit", "graph", "graph?edges=7", *(f"graph/nodes/{node}" for node in kept.node_ids[:3])]
        act = {"review_id": None, "expected_version": 0, "act": {"kind": "comment", "target": "report", "text": "why"}}
        with ThreadPoolExecutor() as pool:
            answers = list(pool.map(lambda path: client.get(f"/api/reports/{case}/{path}").status_code, paths))
        csrf = {"X-CSRF-Token": client.get("/api/session").json()["csrf"]}
        answers.append(client.post(f"/api/reports/{case}/review/acts", json=act, headers=csrf).status_code)
        assert set(answers) == {200}
        assert client.post(f"/api/reports/{case}/export/svg", headers=csrf).status_code == 200
        assert read == ["graph.json"]
        monkeypatch.setattr(type(store.artefacts), "read", lambda *_: pytest.fail("a click read the file again"))
        assert client.get(f"/api/reports/{case}/graph/nodes/{kept.node_ids[4]}").status_code == 200


def test_the_newest_report_and_its_graph_are_read_before_anybody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: object) -> None:
        raise AssertionError("it was not read ahead")

    with new_store(tmp_path) as store:
        assert read_ahead(store, WebSettings()) is None, "an empty store"
        newest = large_graph(270, 700, seed=13)
        case = bring(store, report_of(newest, "influence"), newest)
        assert read_ahead(store, WebSettings()) == case
        monkeypatch.setattr("tracescribe.runs.review.stored.read_graph", too_late)
        monkeypatch.setattr("tracescribe.runs.web.routes.report.report_page", too_late)
        client = visitor(create_app(store))
        assert client.get(f"/api/reports/{case}/graph").status_code == 200
        assert client.get(f"/reports/{case}?view=graph").status_code == 200
