"""Live interventions over HTTP: who may run them, what is refused and how, and that the report stays as it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.runs.web.visitors import new_store, new_token, team_app, visitor
from tracescribe.runs.access.reading import open_report
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.review.bringing_in import bring_in
from tracescribe.runs.store.database import Store
from tracescribe.runs.web.live_desk import LiveDesk
from tracescribe.runs.web.live_requests import LiveWeights
from tracescribe.runs.web.live_worker import LiveWorker

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph

FAKE = (sys.executable, "-S", str(Path(__file__).parent / "fake_live_process.py"))
ABLATE = {"act": "ablate", "nodes": ["0_86_7"]}


@pytest.fixture(scope="module")
def report(dallas_graph: AttributionGraph) -> bytes:
    """The offline agent's report on a graph alone: it names the weights that the graph was traced with."""
    from tracescribe.agents.budget import Budget
    from tracescribe.agents.case import InterpretationCase
    from tracescribe.agents.offline import offline_agent
    from tracescribe.agents.rendering.files import render_json
    from tracescribe.agents.toolbox import Toolbox

    made = offline_agent().interpret(InterpretationCase("case", graph=dallas_graph), Toolbox(), Budget())
    return render_json(made).encode()


@pytest.fixture(scope="module")
def live_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store for the report."""
    with new_store(tmp_path_factory.mktemp("live")) as opened:
        yield opened


@pytest.fixture(scope="module")
def case_id(live_store: Store, report: bytes) -> str:
    """The report in the store."""
    return bring_in(live_store, report, None, "dallas")


@pytest.fixture
def app(live_store: Store, report: bytes) -> Iterator[FastAPI]:
    """Where visitors log in, and may run five interventions a minute on what claims to be the report's weights."""
    made = team_app(live_store, live_per_minute=5)
    told = json.loads(report)["provenance"]
    command = (*FAKE, "up", told["model_sha256"], told["transcoder_sha256"])
    worker = LiveWorker(LiveWeights(model="m", transcoders="t", evidence=None), command=command, run_seconds=300)
    made.state.live = LiveDesk(worker)
    yield made
    worker.close()


@pytest.fixture(scope="module")
def rosa(live_store: Store) -> str:
    """A reviewer's token."""
    return new_token(live_store, "rosa", "reviewer")


@pytest.fixture
def reviewer(app: FastAPI, rosa: str) -> TestClient:
    """A reviewer."""
    return visitor(app, rosa)


def run(client: TestClient, case_id: str, asked: dict[str, Any]) -> Any:
    return client.post(f"/api/reports/{case_id}/live", json=asked)


def test_the_state_tells_what_can_be_run(reviewer: TestClient, case_id: str) -> None:
    state = reviewer.get(f"/api/reports/{case_id}/live").json()
    assert state["available"] and state["why_not"] is None and state["phase"] == "not loaded"
    assert state["prompt"] == "the capital of the state containing Dallas is" and len(state["tokens"]) == 9
    assert state["token"] == "Austin" and state["limits"]["per_minute"] == 5
    assert "ablate" in {one["act"] for one in state["tested"]}
    assert run(reviewer, case_id, ABLATE).json()["answer_after"] == "y"
    assert reviewer.get(f"/api/reports/{case_id}/live").json()["phase"] == "ready"


def test_nothing_that_is_run_changes_the_report_and_opening_is_logged_once(
    reviewer: TestClient, live_store: Store, case_id: str, report: bytes
) -> None:
    for _ in range(3):
        assert run(reviewer, case_id, ABLATE).status_code == 200
    assert sha256(open_report(live_store, None, case_id)).digest() == sha256(report).digest()
    opened = find_entries(live_store, Wanted(acts=("report opened",), subjects=(case_id,), actor="token:rosa"))
    before = len(opened)
    reviewer.get(f"/api/reports/{case_id}/live")
    again = find_entries(live_store, Wanted(acts=("report opened",), subjects=(case_id,), actor="token:rosa"))
    assert len(again) == before


def test_requests_that_do_not_fit_are_refused_in_words(reviewer: TestClient, case_id: str) -> None:
    for asked in ({}, {"act": "ablate", "nodes": ["../etc"]}, {**ABLATE, "model": "/etc"}, {**ABLATE, "multiplier": 1}):
        answer = run(reviewer, case_id, asked)
        assert answer.status_code == 422 and answer.json()["error"] == "invalid", asked
    unknown = run(reviewer, case_id, {**ABLATE, "token": "unknown"})
    assert unknown.status_code == 422 and "not a token" in unknown.json()["message"]
    assert run(reviewer, "nosuchcase.0", ABLATE).status_code == 404


def test_too_many_a_minute_are_told_when_to_come_again(reviewer: TestClient, case_id: str) -> None:
    answers = [run(reviewer, case_id, ABLATE) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert int(answers[-1].headers["Retry-After"]) >= 1 and answers[-1].json()["error"] == "too many"


def test_a_process_that_dies_is_503_and_the_next_request_works(reviewer: TestClient, case_id: str) -> None:
    died = run(reviewer, case_id, {**ABLATE, "token": "die"})
    assert died.status_code == 503 and died.json()["error"] == "crash" and died.headers["Retry-After"] == "1"
    assert run(reviewer, case_id, ABLATE).status_code == 200


def test_without_a_model_and_with_other_weights_the_way_is_told(
    live_store: Store, dallas_graph: AttributionGraph, case_id: str, rosa: str, app: FastAPI
) -> None:
    none = visitor(team_app(live_store, model=None), rosa)
    state = none.get(f"/api/reports/{case_id}/live").json()
    assert not state["available"] and "tracescribe serve --model" in state["why_not"]
    refused = run(none, case_id, ABLATE)
    assert refused.status_code == 409 and refused.json()["error"] == "no weights"
    app.state.live.worker.hashes = ("0" * 64, "t" * 64)
    other = visitor(app, rosa).get(f"/api/reports/{case_id}/live").json()
    assert not other["available"] and "000000000000" in other["why_not"]


def test_a_viewer_may_not(app: FastAPI, live_store: Store, case_id: str) -> None:
    vera = visitor(app, new_token(live_store, "vera", "viewer"))
    assert vera.get(f"/api/reports/{case_id}/live").status_code == 403
    assert run(vera, case_id, ABLATE).status_code == 403
