"""The benchmark's leaderboard, as a page and as JSON: aggregates alone, no prompt and no single report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from tracescribe.evals.benchmark.page.board import Board
from tracescribe.runs.web.board_view import open_board, shown_board
from tracescribe.runs.web.context import Context, WebContext, allowed
from tracescribe.runs.web.errors import Refusal
from tracescribe.runs.web.pages import page

router = APIRouter(tags=["leaderboard"], dependencies=[Depends(allowed("see scores"))])

_Name = Annotated[str | None, Query(max_length=200)]


def _folder(context: WebContext) -> Path:
    from tracescribe.runs.benchmarking import DEFAULT_FOLDER

    return context.settings.bench or DEFAULT_FOLDER


@router.get("/leaderboard", response_class=HTMLResponse, include_in_schema=False)
def show_leaderboard(
    request: Request,
    context: Context,
    suite: _Name = None,
    metric: _Name = None,
    family: _Name = None,
    sort: _Name = None,
    reverse: bool = False,
) -> HTMLResponse:
    """Agents, their scores with intervals, and the differences between them."""
    found = open_board(_folder(context))
    if found.board is None or not any(one.agents for one in found.board.suites):
        return page(request, "leaderboard.html", shown=None, board=None, why=found.why or "missing", link=None)
    shown = shown_board(found.board, suite or None, metric or None, family or None, sort or None, reverse)
    chosen = {"suite": suite, "metric": metric, "family": family, "sort": sort, "reverse": "true" if reverse else None}

    def link(**changes: str | None) -> str:
        told = {name: value for name, value in {**chosen, **changes}.items() if value}
        return f"/leaderboard?{urlencode(told)}" if told else "/leaderboard"

    return page(
        request, "leaderboard.html", shown=shown, board=found.board, why="", link=link, sort=sort, reverse=reverse
    )


@router.get("/api/leaderboard", summary="The benchmark's leaderboard")
def get_leaderboard(context: Context) -> Board:
    """Averages over cases with their intervals, paired differences, costs, and counts of failures, for each suite."""
    found = open_board(_folder(context))
    if found.board is None:
        raise Refusal(
            404, "no benchmark", "no finished benchmark is here; run `tracescribe bench run` where this is served"
        )
    return found.board
