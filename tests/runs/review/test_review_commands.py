"""`tracescribe review`: the way in and the way out without a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests.runs.conftest import Done
from tests.runs.review.conftest import ROLF, ROSA, Doing, Folder
from tracescribe.runs.review import acts
from tracescribe.runs.review.administering import list_in
from tracescribe.runs.review.bringing_in import bring_in
from tracescribe.runs.review.listing import ReportQuery
from tracescribe.runs.store.database import Store


@pytest.fixture
def place(store: Store) -> tuple[str, str]:
    return ("--store", str(store.address.database_file.parent))  # type: ignore[union-attr]


def test_a_report_goes_in_is_listed_and_comes_out(
    run: Callable[..., Done], folder: Folder, tmp_path: Path, store: Store, place: tuple[str, str]
) -> None:
    written = tmp_path / "report"
    written.mkdir()
    (written / "report.json").write_bytes(folder.report_bytes)
    (written / "graph.json").write_bytes(folder.graph_bytes)
    added = run("review", "add", str(written), *place, "--json").json["reports"]
    assert run("review", "add", str(written), *place, "--json").json["reports"] == added
    listed = run("review", "list", *place, "--search", "WORD7 word8", "--json").json
    assert (listed["total"], listed["reports"]) == (1, added)
    assert run("review", "list", *place, "--status", "accepted", "--json").json["total"] == 0
    case_id = added[0]["case_id"]
    assert case_id in run("review", "list", *place).out
    for form, content in (("report", folder.report_bytes), ("graph", folder.graph_bytes)):
        out = tmp_path / f"out.{form}"
        assert run("review", "export", "last", "--as", form, "--out", str(out), *place).code == 0
        assert out.read_bytes() == content
    told = run("audit", "show", "--case", case_id, *place, "--json").out
    assert "report brought in" in told
    assert "report opened" in told
    assert run("review", "add", str(tmp_path / "nowhere"), *place).code == 2


def test_a_page_of_the_list_asks_for_all_reviews_at_once(
    store: Store, folder: Folder, case_id: str, do: Doing, place: tuple[str, str]
) -> None:
    other = bring_in(store, folder.report_bytes + b"\n", None, "other")
    do(ROSA, acts.Comment(target="report", text="seen"))
    do(ROLF, acts.Close(status="accepted"))
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        _, listed = list_in(place[1], ReportQuery())
    finally:
        event.remove(sa.Engine, "before_cursor_execute", note)
    assert {one.report.case_id: [review.reviewer for review in one.reviews] for one in listed} == {
        case_id: [ROSA.name, ROLF.name],
        other: [],
    }
    assert sum("FROM reviews" in statement for statement in asked) == 1


def test_what_was_done_is_shown_in_words(
    run: Callable[..., Done], case_id: str, do: Doing, place: tuple[str, str]
) -> None:
    do(ROSA, acts.RenameSupernode(supernode="s1", text="Texas \x1b[31m"), acts.Undo(), why="it is the state")
    do(ROLF, acts.Close(status="rejected"))
    shown = run("review", "show", case_id, *place)
    assert "token:rosa renamed supernode s1 to “Texas" in shown.out
    assert "(why: it is the state) [undone]" in shown.out
    assert "token:rolf closed the review: the report is rejected" in shown.out
    assert "\x1b" not in shown.out
    only = run("review", "show", case_id, "--reviewer", "rolf", *place, "--json").json
    assert [state["reviewer"] for state in only["states"]] == [ROLF.name]
    assert "report opened" in run("audit", "show", "--case", case_id, *place, "--json").out


def test_exports_ask_whose_review_is_meant(
    run: Callable[..., Done], tmp_path: Path, case_id: str, do: Doing, place: tuple[str, str]
) -> None:
    out = tmp_path / "out" / "file"

    def export(*more: str, report: str = "last") -> Done:
        return run("review", "export", report, "--out", str(out), *place, *more)

    assert "nobody has reviewed" in export("--as", "html").err
    do(ROSA, acts.Judge(target="report", decision="accepted"), acts.Close(status="accepted"))
    do(ROLF, acts.Comment(target="report", text="hm"))
    assert "name one with --reviewer: token:rosa (accepted), token:rolf (open)" in export("--as", "svg").err
    assert not out.exists()
    assert export("--as", "gold", "--licence", "MIT", report=case_id[:5]).code == 0
    assert json.loads(out.read_text())["source"]["licence"] == "MIT"
    assert "still open" in export("--as", "gold", "--reviewer", "rolf").err
    assert export("--as", "neuronpedia", "--reviewer", "rosa").code == 0
    assert json.loads(out.read_text())["qParams"]["pinnedIds"]
    assert export("--as", "svg", "--reviewer", "token:rolf", "--json").json["review"]["reviewer"] == "token:rolf"
    assert out.read_text().startswith("<svg")
    for wrong in ("nobody", "%", "ab"):
        assert "there is no report" in export("--as", "report", report=wrong).err
    assert "no review by" in export("--as", "html", "--reviewer", "vera").err
