"""Renders the page and writes it.

The page allows itself one style sheet and one script, both named by their hashes: whatever an agent may smuggle into a
label, the browser runs nothing else and fetches nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.agents.rendering.templating import visible_environment
from tracescribe.evals.benchmark.page import plots, suite_view
from tracescribe.evals.benchmark.page.board import Board, SuiteBoard, read_board
from tracescribe.evals.benchmark.page.case_view import AgentCases, agent_cases
from tracescribe.tracer.provenance import write_text_atomic

if TYPE_CHECKING:
    from tracescribe.evals.benchmark.results import CaseResult

_TEMPLATES = "tracescribe.evals.benchmark.page"


def write_page(board: Mapping[str, object], results: Sequence[CaseResult], out: Path, *, folder: Path) -> Path:
    """Write the leaderboard as one HTML file.

    Args:
        board: the leaderboard's JSON.
        results: of every case, for worst cases and failures.
        out: the file; it is replaced.
        folder: the benchmark's folder, which the results' reports are relative to.

    Returns:
        `out`.

    Raises:
        OutputError: the board is no leaderboard, or the file cannot be written.
    """
    write_text_atomic(out, render_page(board, results, folder=folder, base=out.parent))
    return out


def render_page(board: Mapping[str, object], results: Sequence[CaseResult], *, folder: Path, base: Path) -> str:
    """The page as text; the same input gives the same text.

    Args:
        base: the folder that links are relative to.

    Raises:
        OutputError: the board is no leaderboard.
    """
    read = read_board(board)
    style, script = _style(), _source("page.js")
    return (
        visible_environment(_TEMPLATES)
        .get_template("page.html")
        .render(
            board=read,
            suites=[
                (suite_view.suite_view(read, one), _cases(read, one, results, folder, base)) for one in read.suites
            ],
            shown=_metrics_shown(read),
            settings=_flat(read.settings),
            product=_plain(read.product),
            specifications=sorted({one.specification for one in results}),
            style=style,
            script=script,
            policy=_policy(style, script),
            plots=plots,
            truths=suite_view.TRUTHS,
        )
    )


def _cases(
    board: Board, suite: SuiteBoard, results: Sequence[CaseResult], folder: Path, base: Path
) -> tuple[AgentCases, ...]:
    if not suite.main:
        return ()
    metric = board.metric(suite.main[0])
    own = [one for one in results if one.suite == suite.suite]
    return tuple(
        agent_cases(own, row.agent, metric.name, folder, base, metric.higher_is_better) for row in suite.agents
    )


def _metrics_shown(board: Board) -> list[tuple[str, str, str]]:
    """(title, name, meaning) of every metric in some table, for the glossary."""
    names = dict.fromkeys(
        name
        for suite in board.suites
        for name in (*suite.main, *(name for row in suite.agents for name in row.stability))
    )
    return [(m.title, m.name, m.meaning) for m in (board.metric(name) for name in names)]


def _flat(value: object, before: str = "") -> list[tuple[str, str]]:
    """Nested settings as (path, value) in words."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flat(inner, f"{before}.{key}" if before else str(key))]
    return [(before, _plain(value))]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _style() -> str:
    palette = resources.files("tracescribe.agents.rendering") / "templates" / "palette.css"
    return palette.read_text(encoding="utf-8") + _source("page.css")


@cache
def _source(name: str) -> str:
    return (resources.files(_TEMPLATES) / "templates" / name).read_text(encoding="utf-8")
