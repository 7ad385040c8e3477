"""The leaderboard page: complete, inert whatever agents say, and at home on a phone; looked at by a real browser too."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.evals.page_examples import AGENTS, HOSTILE, METRICS, example_board, example_results
from tracescribe.evals.benchmark.page import write_page
from tracescribe.evals.benchmark.page.board import read_board
from tracescribe.evals.benchmark.page.case_view import N_WORST, agent_cases, report_links
from tracescribe.evals.benchmark.page.plots import (
    BAR_WIDTH,
    SCATTER_HEIGHT,
    SCATTER_WIDTH,
    Point,
    Scale,
    scatter,
)
from tracescribe.evals.benchmark.page.suite_view import SHADES, suite_view
from tracescribe.tracer.errors import OutputError


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def written(folder: Path, said: str = "") -> str:
    """A page in a folder with its reports, as text."""
    agents = tuple(agent + said for agent in AGENTS)
    families = ("states" + said, "addition")
    board = example_board(agents, families, suite="oracle" + said, said=said)
    results = example_results(folder, agents, families, suite="oracle" + said, said=said)
    return write_page(board, results, folder / "leaderboard.html", folder=folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("hostile"), HOSTILE)


# -- what is on it -----------------------------------------------------------------------------------------------------


def test_every_part_is_there(page: str) -> None:
    text = " ".join(Tags(page).text)
    for words in (
        "Leaderboard",
        "Score and cost",
        "By task",
        "Differences on the same cases",
        "80 % power",
        "What chance gives",
        "Verdicts and truth",
        "Stability over seeds",
        "Worst cases",
        "ended with status 1: boom",
        "Without circuits whose prompts are about harm",
        "What was run",
        "budget.seconds",
    ):
        assert words in text, words
    for agent in AGENTS:
        assert agent in text
    for title, meaning, _ in METRICS.values():
        assert title in text and meaning in text


def test_every_plot_has_words_beside_it(page: str) -> None:
    tags = Tags(page).tags
    drawn = [attributes for tag, attributes in tags if tag == "svg"]
    told = [attributes for attributes in drawn if attributes.get("role") == "img"]
    assert told and all(attributes["aria-labelledby"] for attributes in told)
    assert all(attributes.get("role") == "img" or attributes.get("aria-hidden") == "true" for attributes in drawn)
    assert sum(tag == "desc" for tag, _ in tags) == len(told)
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_worst_cases_link_to_their_reports_where_they_are(tmp_path: Path) -> None:
    board, results = example_board(), example_results(tmp_path / "bench")
    out = tmp_path / "elsewhere" / "page.html"
    text = write_page(board, results, out, folder=tmp_path / "bench").read_text(encoding="utf-8")
    links = [a["href"] for tag, a in Tags(text).tags if tag == "a" and not (a["href"] or "#").startswith("#")]
    assert len(links) == 2 * len(AGENTS)
    for link in links:
        assert link is not None and not re.match(r"[a-z]+:|/", link)
        assert (out.parent / link).is_file()


def test_the_same_results_give_the_same_page(page: str, tmp_path: Path) -> None:
    assert written(tmp_path) == page


def test_a_leaderboard_with_next_to_nothing_in_it_is_a_page(tmp_path: Path) -> None:
    bare = {
        "suites": [{"suite": "oracle", "main": ["overall"], "agents": [{"agent": "a", "scores": {"overall": None}}]}]
    }
    for board in ({}, {"suites": [{"suite": "empty"}]}, bare):
        text = write_page(board, [], tmp_path / "page.html", folder=tmp_path).read_text(encoding="utf-8")
        assert "What was run" in text and ">nan<" not in text


def test_what_is_no_leaderboard_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no leaderboard that a page can show: suites: .*bench show"):
        write_page({"suites": 3}, [], tmp_path / "page.html", folder=tmp_path)
    assert not (tmp_path / "page.html").exists()


# -- what it may do ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["page", "hostile"])
def test_only_our_own_style_and_script_may_run_and_nothing_is_fetched(
    which: str, request: pytest.FixtureRequest
) -> None:
    text: str = request.getfixturevalue(which)
    tags = Tags(text).tags
    policy = next(a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    for kind in ("style", "script"):
        (inside,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert {tag for tag, _ in tags}.isdisjoint({"img", "iframe", "link", "object", "embed", "base", "form"})
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcset")], tag
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text


def test_what_agents_and_gold_say_is_text(hostile: str) -> None:
    assert "<img" not in hostile and "{{7*7}}" in hostile and "\u202e" not in hostile and "⟨U+202E⟩" in hostile
    assert hostile.count("</script>") == 1


# -- plots and cases ---------------------------------------------------------------------------------------------------


def test_bars_start_at_zero_and_stay_inside() -> None:
    scale = Scale.of([0.2, -0.5, 1.4])
    assert (scale.first, scale.last) == (-0.5, 1.4)
    bar = scale.bar(0.45, -3.0, 9.0)
    assert bar.start == pytest.approx(scale.place(0.0)) and bar.value == pytest.approx(BAR_WIDTH / 2)
    assert 0 <= bar.low < bar.value < bar.high <= BAR_WIDTH
    assert Scale.of([], (2.0, 2.0)).place(2.0) >= 0


def test_names_in_the_scatter_plot_do_not_cover_each_other_and_stay_inside() -> None:
    points = [Point(f"agent {n}", 0.5 + 0.001 * n, 0.9 + 0.001 * n, 0.8, 1.0, n) for n in range(8)]
    drawn = scatter(points, "seconds", "score")
    assert drawn is not None and len(drawn.dots) == 8
    heights = sorted(dot.label_y for dot in drawn.dots)
    assert min(b - a for a, b in pairwise(heights)) > 11
    assert heights[0] > 0 and heights[-1] < SCATTER_HEIGHT
    assert all(0 <= dot.x <= SCATTER_WIDTH for dot in drawn.dots)
    assert 2 <= len(drawn.up) <= 7
    assert [tick.text for tick in drawn.across] == ["0.1", "0.2", "0.5", "1"]


def test_cheaper_is_left_and_better_is_up_and_what_has_no_cost_is_left_out() -> None:
    points = [Point("a", 1.0, 0.2, 0.1, 0.3, 0), Point("b", 100.0, 0.8, 0.7, 0.9, 1), Point("free", 0.0, 1, 1, 1, 2)]
    drawn = scatter(points, "seconds", "score")
    assert drawn is not None and [dot.name for dot in drawn.dots] == ["a", "b"]
    a, b = drawn.dots
    assert a.x < b.x and a.y > b.y and a.high_y < a.y < a.low_y
    assert scatter(points[2:], "seconds", "score") is None


def test_worst_cases_come_first_and_lost_ones_are_counted(tmp_path: Path) -> None:
    results = example_results(tmp_path)
    found = agent_cases(results, "influence", "overall", tmp_path, tmp_path)
    assert [case.gold_id for case in found.worst[:2]] == ["case-00", "case-01"] and len(found.worst) == N_WORST
    assert found.kinds == (("crash", 1),) and found.failed[0].message.startswith("ended with status 1")
    turned = agent_cases(results, "influence", "overall", tmp_path, tmp_path, higher_is_better=False)
    assert turned.worst[0].gold_id == "case-10"


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "bench"
    inside.mkdir()
    (tmp_path / "secret.json").write_text("{}", encoding="utf-8")
    (inside / "link.json").symlink_to(tmp_path / "secret.json")
    for name in ("../secret.json", str(tmp_path / "secret.json"), "link.json", "absent.json", None):
        assert report_links(name, inside, tmp_path) == ()
    (inside / "javascript:alert(1).json").write_text("{}", encoding="utf-8")
    ((_, address),) = report_links("javascript:alert(1).json", inside, inside)
    assert address == "./javascript%3Aalert%281%29.json"


def test_shades_and_words_of_the_views() -> None:
    board = read_board(example_board())
    view = suite_view(board, board.suites[0])
    shades = [shade for table in view.confusions for _, line in table.rows for _, shade in line]
    assert max(shades) == SHADES and min(shades) == 0
    by_metric = {table.metric.name: table for table in view.comparisons}
    assert by_metric["overall"].pairs[0].says == "first ahead"
    assert by_metric["labels.exact"].pairs[0].says == "not told apart"
    rates = by_metric["causal.false_discoveries"].pairs
    assert rates[0].says == "second ahead", "a larger error rate is worse"
    assert rates[-1].says == "not told apart", "its corrected p value is above .05"
    document: Any = example_board()
    gap = document["suites"][0]["comparisons"][0]["differences"]["overall"]
    gap |= {"value": 0.24, "low": 0.14, "high": 0.36, "p_value": 0.031, "p_holm": 0.312}
    board = read_board(document)
    lone = {table.metric.name: table for table in suite_view(board, board.suites[0]).comparisons}["overall"].pairs[0]
    assert lone.says == "first ahead alone, not among all comparisons" and not lone.told_apart
    assert by_metric["overall"].pairs[0].told_apart
    assert by_metric["overall"].pairs[0].p == "< 0.001" and by_metric["overall"].power == "0.060"
    assert [row.mark for row in view.board] == list(range(len(AGENTS)))


# -- in a browser ------------------------------------------------------------------------------------------------------

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--hide-scrollbars", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--enable-logging=stderr",
)  # fmt: skip
MEASURE = """
const frames = [...document.querySelectorAll('iframe')];
const measure = frame => {
  const page = frame.contentDocument, root = page.documentElement;
  page.querySelectorAll('details').forEach(item => { item.open = true; });
  const clipped = [...page.querySelectorAll('td, th, p, li, dd, dt, h1, h2, h3, summary, svg')].filter(item => {
    const own = item.getBoundingClientRect();
    return own.width > 1 && own.right > root.clientWidth + 1 && !item.closest('.scroller') && !item.closest('.sr');
  }).map(item => item.tagName + ' ' + item.textContent.slice(0, 40));
  const out = [...page.querySelectorAll('details table')].filter(table =>
    !table.closest('.scroller')
    && table.getBoundingClientRect().right > table.closest('details').getBoundingClientRect().right + 1);
  const drawn = [...page.querySelectorAll('.scatter text')];
  const sizes = drawn.map(text => parseFloat(frame.contentWindow.getComputedStyle(text).fontSize)
    * text.getScreenCTM().a);
  const plain = [...page.querySelectorAll('body *')].filter(item => item.childElementCount === 0
    && item.textContent.trim() && item.getClientRects().length && !item.closest('.scatter'))
    .map(item => parseFloat(frame.contentWindow.getComputedStyle(item).fontSize));
  const table = page.querySelector('table.sortable');
  const order = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent.trim());
  const before = order();
  const head = table.tHead.rows[0].cells[1];
  head.querySelector('button').click();
  const down = order();
  head.querySelector('button').click();
  return {width: root.clientWidth, needed: root.scrollWidth, clipped, out: out.length,
          smallest: Math.min(...sizes), smallestText: Math.min(...plain), before, down, up: order(),
          sorted: head.getAttribute('aria-sort'), title: page.title,
          font: frame.contentWindow.getComputedStyle(page.querySelector('h1')).fontSize};
};
addEventListener('load', () => {
  document.body.textContent = 'MEASURED' + JSON.stringify(frames.map(measure)) + 'END';
});
"""


@pytest.fixture(scope="module")
def browser() -> str:
    """A Chromium on this machine."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium on this machine; install the package `chromium` to run these tests")


def test_the_page_in_a_browser(browser: str, page: str, hostile: str, tmp_path: Path) -> None:
    frames = "".join(
        f'<iframe srcdoc="{html.escape(text, quote=True)}" width="{width}" height="800" style="border:0"></iframe>'
        for text in (page, hostile)
        for width in (390, 1280)
    )
    file = tmp_path / "measure.html"
    file.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frames}<script>{MEASURE}</script>", encoding="utf-8")
    command = [browser, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, timeout=300, check=True)
    found = re.search(r"MEASURED(.*)END", done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr, re.findall(r".*CONSOLE.*", done.stderr)[:5]
    measured = json.loads(html.unescape(found[1]))
    assert [item["width"] for item in measured] == [390, 1280] * 2
    for item in measured:
        assert item["needed"] <= item["width"], f"scrolls sideways at {item['width']} px"
        assert item["clipped"] == [] and item["out"] == 0
        assert item["smallest"] >= 10.5 and item["smallestText"] >= 11
        assert item["title"] == "Leaderboard of interpretation agents"
        assert item["down"] == item["before"] and item["up"] == item["before"][::-1]
        assert item["sorted"] == "ascending"
    assert measured[0]["font"] != measured[1]["font"], "styles did not apply"
