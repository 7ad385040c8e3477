"""Reviews, the drawing's data and exports over HTTP: what is saved, what is refused and in which words, what is logged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.runs.web.stored_reports import bring, report_of
from tests.runs.web.visitors import new_store, new_token, team_app, visitor
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.benchmarks.large_graph import large_graph

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from tracescribe.runs.store.database import Store

FORMS = ("gold", "neuronpedia", "html", "svg", "report", "graph")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with new_store(tmp_path_factory.mktemp("reviews")) as opened:
        yield opened


@pytest.fixture(scope="module")
def case(store: Store) -> str:
    graph = large_graph(200, 800, seed=7)
    return bring(store, report_of(graph, "influence"), graph)


@pytest.fixture(scope="module")
def people(store: Store) -> dict[str, TestClient]:
    """Logged in by name: ada is an admin, the others reviewers."""
    app = team_app(store)
    roles = {"ada": "admin", "rosa": "reviewer", "rolf": "reviewer", "vera": "viewer"}
    return {name: visitor(app, new_token(store, name, role)) for name, role in roles.items()}


def act(client: TestClient, case: str, version: int, act: dict[str, Any], **more: Any) -> Any:
    body = {"review_id": None, "expected_version": version, "act": act, "why": "", **more}
    return client.post(f"/api/reports/{case}/review/acts", json=body)


def test_an_act_is_saved_on_the_version_that_was_seen_and_on_no_other(people: dict[str, TestClient], case: str) -> None:
    rosa = people["rosa"]
    before = rosa.get(f"/api/reports/{case}/review").json()
    assert (before["review_id"], before["version"], before["reviewer"]) == (None, 0, "token:rosa")
    assert rosa.get(f"/api/reports/{case}/review/version").json() == {"review_id": None, "version": 0}
    first = act(rosa, case, 0, {"kind": "rename supernode", "supernode": "s1", "text": " mine "}, why="clearer")
    assert first.status_code == 200
    state = first.json()
    assert state["supernodes"][0]["label"] == "mine" and state["history"][0]["why"] == "clearer"
    late = act(rosa, case, 0, {"kind": "rename supernode", "supernode": "s1", "text": "other"})
    assert late.status_code == 409
    told = late.json()
    assert told["error"] == "conflict" and "\n" not in told["message"]
    assert told["state"] == state and [one["act"]["text"] for one in told["since"]] == ["mine"]
    assert rosa.get(f"/api/reports/{case}/review").json() == state, "nothing of the late act was saved"
    assert rosa.get(f"/api/reports/{case}/review/version").json() == {"review_id": state["review_id"], "version": 1}


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "rename supernode", "supernode": "s99999", "text": "x"},
        {"kind": "rename supernode", "supernode": "s1", "text": "   "},
        {"kind": "rename supernode", "supernode": "s1", "text": "x" * 201},
        {"kind": "judge", "target": "claim:c1' OR 1=1", "decision": "accepted"},
        {"kind": "merge supernodes", "supernodes": ["s1"], "into": "s1"},
        {"kind": "move nodes", "nodes": [], "to": "s1"},
        {"kind": "drop table"},
        {"kind": "comment", "target": "report", "text": "x", "path": "/etc/passwd"},
        {"kind": "redo"},
    ],
    ids=lambda bad: f"{bad['kind']}-{len(json.dumps(bad))}",
)
def test_acts_that_cannot_be_are_refused_in_words(
    people: dict[str, TestClient], case: str, bad: dict[str, Any]
) -> None:
    answer = act(people["rolf"], case, 0, bad)
    assert answer.status_code == 422, answer.text
    assert answer.json()["message"] and answer.json()["error"] in ("invalid", "act refused")
    assert people["rolf"].get(f"/api/reports/{case}/review").json()["version"] == 0


def test_reviews_of_others_can_be_read_and_continued_and_are_compared(people: dict[str, TestClient], case: str) -> None:
    ada, rosa = people["ada"], people["rosa"]
    mine = act(ada, case, 0, {"kind": "judge", "target": "supernode:s1", "decision": "rejected"}).json()
    listed = rosa.get(f"/api/reports/{case}/reviews").json()["reviews"]
    assert {(one["reviewer"], one["own"]) for one in listed} == {("token:rosa", True), ("token:ada", False)}
    went_on = act(rosa, case, 1, {"kind": "undo"}, review_id=mine["review_id"]).json()
    assert (went_on["reviewer"], went_on["history"][-1]["actor"]) == ("token:ada", "token:rosa")
    assert ada.get(f"/api/reports/{case}/review").json()["version"] == 2
    (pair,) = rosa.get(f"/api/reports/{case}/agreement").json()["pairs"]
    assert {pair["first_reviewer"], pair["second_reviewer"]} == {"token:rosa", "token:ada"}
    assert rosa.get(f"/api/reports/{case}/review", params={"review": "nosuch"}).status_code == 404


def test_the_drawing_knows_every_node_of_the_circuit(people: dict[str, TestClient], case: str) -> None:
    told = people["rosa"].get(f"/api/reports/{case}/circuit").json()
    state = people["rosa"].get(f"/api/reports/{case}/review").json()
    known = {one["node_id"] for one in told["nodes"]}
    assert all(set(one["members"]) <= known for one in state["supernodes"])
    supernodes = {one["supernode_id"] for one in state["supernodes"]}
    assert {end for edge in state["edges"] for end in (edge["source"], edge["destination"])} - supernodes <= known


def test_exports_are_for_those_who_may_and_each_is_logged(
    store: Store, people: dict[str, TestClient], case: str
) -> None:
    ada = people["ada"]
    for form in FORMS:
        assert ada.get(f"/api/reports/{case}/export/{form}").status_code == 405, "a link takes nothing out"
        assert people["rosa"].post(f"/api/reports/{case}/export/{form}").status_code == 403
    gold = ada.post(f"/api/reports/{case}/export/gold")
    assert gold.status_code == 409 and "close it as accepted" in gold.json()["message"]
    version = ada.get(f"/api/reports/{case}/review").json()["version"]
    assert act(ada, case, version, {"kind": "close", "status": "accepted"}).status_code == 200
    for form in FORMS:
        answer = ada.post(f"/api/reports/{case}/export/{form}", params={"licence": "CC-BY-4.0"})
        assert answer.status_code == 200, (form, answer.text)
        assert re.fullmatch(r'attachment; filename="[a-z-]+[A-Za-z0-9.]+"', answer.headers["content-disposition"])
        assert answer.headers["x-content-type-options"] == "nosniff"
    told = [json.loads(entry.details) for entry in find_entries(store, Wanted(acts=("export",)))]
    assert [one["form"] for one in told] == list(FORMS)
    assert ada.post(f"/api/reports/{case}/export/passwd").status_code == 422
    assert ada.post("/api/reports/nosuchcase00.0/export/report").status_code == 404
