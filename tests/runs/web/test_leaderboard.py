"""The benchmark's leaderboard over HTTP: from a real run's tables, without a prompt or a single report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.evals.page_examples import AGENTS, HOSTILE, example_board
from tests.runs.web.visitors import visitor
from tracescribe.evals.benchmark.page.board import Board, read_board
from tracescribe.runs.store.database import Store
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.board_view import open_board, shown_board
from tracescribe.runs.web.settings import WebSettings
from tracescribe.tracer.errors import InputError, OutputError


def write(folder: Path, board: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "leaderboard.json").write_text(json.dumps(board))
    return folder


def visit(store: Store, folder: Path) -> TestClient:
    return visitor(create_app(store, WebSettings(bench=folder)))


@pytest.fixture(scope="module")
def board() -> Board:
    """An example with every part filled."""
    return read_board(example_board())


def test_the_page_shows_every_agent_and_part(store: Store, tmp_path: Path) -> None:
    answer = visit(store, write(tmp_path / "bench", example_board())).get("/leaderboard")
    assert answer.status_code == 200
    for agent in AGENTS:
        assert answer.text.count(f"<bdi>{agent}</bdi>") >= 3
    for part in ("All scores", "Score and cost", "Differences on the same cases", "By task", "Verdicts and truth"):
        assert part in answer.text
    assert "first ahead" in answer.text and "not told apart" in answer.text


def test_the_ranking_is_by_the_chosen_metric_best_first(board: Board) -> None:
    ranked = shown_board(board, metric="selection.auc")
    values = [row.cell.sort or 0.0 for row in ranked.ranking]
    assert values == sorted(values, reverse=True)
    lower = shown_board(board, metric="causal.false_discoveries")
    values = [row.cell.sort or 0.0 for row in lower.ranking]
    assert values == sorted(values)
    missing = shown_board(board, metric="labels.exact")
    assert missing.ranking[-1].cell.sort is None, "an agent without a score stands last"


def test_the_table_is_sorted_by_any_column(board: Board) -> None:
    assert [row.agent for row in shown_board(board, sort="agent").rows] == sorted(AGENTS)
    assert [row.agent for row in shown_board(board, sort="agent", reverse=True).rows] == sorted(AGENTS, reverse=True)
    seconds = [row.seconds.sort or 0.0 for row in shown_board(board, sort="seconds").rows]
    assert seconds == sorted(seconds)
    lost = [row.lost for row in shown_board(board, sort="lost", reverse=True).rows]
    assert lost == sorted(lost, reverse=True) and lost[0] > 0
    best = [row.cells[0].sort or 0.0 for row in shown_board(board, sort="overall").rows]
    assert best == sorted(best, reverse=True)
    last = shown_board(board, sort="labels.exact", reverse=True).rows[-1]
    assert last.cells[3].sort is None, "no score is last either way"


def test_a_task_narrows_and_a_choice_of_another_suite_does_no_harm(board: Board) -> None:
    every = shown_board(board)
    assert every.tasks is not None and every.families == tuple(group.family for group in every.tasks.groups)
    narrowed = shown_board(board, family=every.families[1])
    assert narrowed.tasks is not None and [group.family for group in narrowed.tasks.groups] == [every.families[1]]
    stale = shown_board(board, metric="of.elsewhere", family="of elsewhere", sort="of elsewhere")
    assert stale.metric == every.metric and stale.tasks == every.tasks and stale.rows == every.rows
    with pytest.raises(InputError, match="no suite"):
        shown_board(board, suite="elsewhere")


def test_hostile_names_are_text(store: Store, tmp_path: Path) -> None:
    hostile = example_board(agents=(f"a{HOSTILE}", f"b{HOSTILE}"), families=(HOSTILE,), suite=HOSTILE, said=HOSTILE)
    text = visit(store, write(tmp_path / "bench", hostile)).get("/leaderboard").text
    assert "<img src=x" not in text and "\u202e" not in text and "7*7" in text


def test_without_a_board_the_page_says_what_to_do(store: Store, tmp_path: Path) -> None:
    client = visit(store, tmp_path / "bench")
    assert "tracescribe bench run" in client.get("/leaderboard").text
    assert client.get("/api/leaderboard").status_code == 404
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "bench.json").write_text("{}")
    assert "not finished" in client.get("/leaderboard").text
    (tmp_path / "bench" / "leaderboard.json").write_text("[]")
    answer = client.get("/api/leaderboard")
    assert answer.status_code == 503 and str(tmp_path) not in answer.text
    with pytest.raises(OutputError, match="damaged"):
        open_board(write_bytes(tmp_path / "bench" / "leaderboard.json", b'{"suites": ['))


def write_bytes(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file.parent


def test_a_new_board_is_read_when_the_file_changes(store: Store, tmp_path: Path) -> None:
    client = visit(store, write(tmp_path / "bench", example_board()))
    assert client.get("/api/leaderboard").json()["suites"][0]["suite"] == "oracle"
    write(tmp_path / "bench", example_board(suite="renamed-suite"))
    assert client.get("/api/leaderboard").json()["suites"][0]["suite"] == "renamed-suite"
