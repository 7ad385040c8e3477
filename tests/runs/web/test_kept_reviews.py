"""Reviews over HTTP: who reads one is in the log, and it is still there when its report is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.runs.web.stored_reports import bring, report_of
from tests.runs.web.visitors import new_store, new_token, team_app, visitor
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.benchmarks.large_graph import large_graph
from tracescribe.runs.review.bringing_in import bring_in
from tracescribe.runs.store.tables import artefact_uses
from tracescribe.tracer.graph_native import write_native

COMMENT = {"review_id": None, "expected_version": 0, "act": {"kind": "comment", "target": "report", "text": "why"}}


@pytest.mark.parametrize("what", ["review", "agreement", "circuit", "graph"])
def test_who_reads_of_a_report_is_in_the_log_once(tmp_path: Path, what: str) -> None:
    graph = large_graph(210, 500, seed=3)
    with new_store(tmp_path) as store:
        case = bring(store, report_of(graph, "influence"), graph)
        eve = visitor(team_app(store), new_token(store, "eve", "reviewer"))
        for _ in range(2):
            assert eve.get(f"/api/reports/{case}/{what}").status_code == 200
        entries = find_entries(store, Wanted(acts=("report opened",)))
        told = [(one.actor, one.subject) for one in entries]
        assert set(told) == {("token:eve", case)}
        assert len(told) == len({json.loads(one.details)["name"] for one in entries}), "once for each file"


def test_a_review_outlives_its_report(tmp_path: Path) -> None:
    from tracescribe.agents.rendering.files import render_json
    from tracescribe.tracer.graph_json import dump, to_json

    graph = large_graph(211, 500, seed=4)
    with new_store(tmp_path) as store:
        report = report_of(graph, "influence")
        case = bring(store, report, graph)
        rosa = visitor(team_app(store), new_token(store, "rosa", "reviewer"))
        assert rosa.post(f"/api/reports/{case}/review/acts", json=COMMENT).status_code == 200
        for file in filter(Path.is_file, Path(store.artefacts.location).rglob("*")):
            file.unlink()
        lost = rosa.get(f"/reports/{case}")
        assert lost.status_code == 410 and "token:rosa" in lost.text, "so it is where only the file is lost"
        store.write(lambda connection: connection.execute(sa.delete(artefact_uses)))
        for path in ("review", "agreement"):
            answer = rosa.get(f"/api/reports/{case}/{path}")
            assert (answer.status_code, answer.json()["error"]) == (410, "gone")
            assert "its reviews are" in answer.json()["message"]
        (kept,) = rosa.get(f"/api/reports/{case}/reviews").json()["reviews"]
        history = rosa.get(f"/api/reports/{case}/review/history", params={"review": kept["review_id"]}).json()
        assert [one["act"] for one in history["acts"]] == [COMMENT["act"]]
        page = rosa.get(f"/reports/{case}")
        assert page.status_code == 410 and "token:rosa" in page.text
        content = (render_json(report).encode(), dump(to_json(graph), Path("graph.json")))
        assert bring_in(store, *content, "again") == case
        assert rosa.get(f"/api/reports/{case}/review").json()["comments"][0]["text"] == "why"
        brought = find_entries(store, Wanted(acts=("report brought in",)))
        assert len(brought) == 2, "that its bytes are back is told too"


def test_a_native_graph_is_exported_as_it_is(tmp_path: Path) -> None:
    from tracescribe.agents.rendering.files import render_json

    graph = large_graph(212, 500, seed=5)
    write_native(tmp_path / "graph.tsgraph", graph)
    content = (tmp_path / "graph.tsgraph").read_bytes()
    with new_store(tmp_path) as store:
        case = bring_in(store, render_json(report_of(graph, "influence")).encode(), content, "native")
        ada = visitor(team_app(store), new_token(store, "ada", "admin"))
        answer = ada.post(f"/api/reports/{case}/export/graph")
        assert answer.content == content
        assert answer.headers["content-disposition"] == f'attachment; filename="graph-{case}.tsgraph"'
