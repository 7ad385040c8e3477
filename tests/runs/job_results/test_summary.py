"""The summary: equal to what a slow second way gives, complete in every form, and inert whatever the cases say."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import random
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evals.test_page import BROWSERS, FLAGS
from tests.runs.job_results.stored_jobs import HOSTILE, CaseSpec, add_job
from tracescribe.runs.job_results import figures
from tracescribe.runs.job_results.averaging import BOOTSTRAP_UP_TO, mean_of
from tracescribe.runs.job_results.case_rows import case_records
from tracescribe.runs.job_results.failure_groups import ADVICE, MAX_GROUPS, FailureGroups, normalised
from tracescribe.runs.job_results.markdown import cell, summary_markdown
from tracescribe.runs.job_results.page import summary_page
from tracescribe.runs.job_results.summary import JobSummary
from tracescribe.runs.job_results.summing import sum_up
from tracescribe.runs.job_results.tables import write_parquet
from tracescribe.runs.jobs.changing import FAILURE_KINDS
from tracescribe.runs.store.database import Store
from tracescribe.tracer.errors import UnknownIdError


def drawn(n: int = 60, said: str = "") -> list[CaseSpec]:
    """Cases of all kinds; every prompt is run with three seeds."""
    rng = random.Random(n)
    specs = []
    for i in range(n):
        status = rng.choice(("done", "done", "done", "failed", "cancelled"))
        scores = {
            "overall": rng.random(),
            "calibration.ece": rng.random(),
            "edges.f1": rng.choice((None, rng.random())),
        }
        specs.append(
            CaseSpec(
                f"prompt {i // 3}{said}",
                status,
                seed=i % 3,
                scores=scores if status == "done" else {},
                verdicts={"supported": rng.randrange(5), "refuted" + said: 1},
                seconds=rng.expovariate(0.2),
                paid_usd=rng.random() if i % 2 else 0.0,
                usd=0.125,
                failure=("timeout", f"ended after {i} s in /tmp/x{i}{said}") if status == "failed" else None,
                family=("states", "sums")[i // 3 % 2] + said,
                tags=("t" + said,),
                worker_id=f"w{i % 4}",
            )
        )
    return specs


@pytest.fixture
def summary(store: Store) -> JobSummary:
    add_job(store, "aaaa", drawn(), model_sha256="ab" * 32, name="the job")
    return sum_up(store, "aaaa")


def test_the_summary_is_what_a_slow_second_way_gives(any_store: Store) -> None:
    specs = drawn()
    add_job(any_store, "aaaa", specs)
    found = sum_up(any_store, "aaaa")
    done = [spec for spec in specs if spec.status == "done"]
    finished = [spec for spec in specs if spec.status in ("done", "failed")]
    assert {k: n for k, n in found.cases.items() if n} == dict(Counter(spec.status for spec in specs))
    assert found.final and found.n_cases == len(specs)
    for name in ("overall", "calibration.ece", "edges.f1"):
        by_prompt: dict[str, list[float]] = {}
        for spec in done:
            value = spec.scores[name]
            if value is not None:
                by_prompt.setdefault(spec.prompt, []).append(value)
        one = found.score(name)
        means = [float(np.mean(values)) for values in by_prompt.values()]
        assert one.mean.value == pytest.approx(np.mean(means)) and one.mean.n == len(means)
        assert one.mean.low <= one.mean.value <= one.mean.high
        assert sum(one.histogram) == one.n_cases == sum(map(len, by_prompt.values()))
    assert not found.score("calibration.ece").higher_is_better
    worst = sorted((s.scores["overall"] or 0.0, place) for place, s in enumerate(specs) if s.status == "done")
    assert [case.case_id for case in found.worst] == [f"aaaa.{place}" for _, place in worst[:20]]
    slowest = sorted(finished, key=lambda spec: -(spec.seconds or 0.0))[:20]
    assert [case.value for case in found.slowest] == [spec.seconds for spec in slowest]
    assert found.verdicts["supported"] == sum(spec.verdicts["supported"] for spec in done)
    assert found.cost.paid_usd == pytest.approx(sum(spec.paid_usd for spec in specs))
    assert found.cost.over_time[-1][1] == pytest.approx(sum(spec.paid_usd for spec in finished))
    assert found.cost.usd == pytest.approx(0.125 * len(done))
    assert found.time.worker_seconds == pytest.approx(sum(spec.seconds or 0.0 for spec in finished))
    assert sum(found.time.histogram) == len(finished) and found.time.workers == 4
    (group,) = found.failures
    assert (group.kind, group.message) == ("timeout", "ended after … s in …")
    assert group.n_cases == len(finished) - len(done) and len(group.examples) == 3
    assert {one.name: one.n_cases for one in found.families} == dict(Counter(spec.family for spec in done))


def test_what_a_budget_ended_is_told_by_its_limit(store: Store) -> None:
    ended = "budget for {} is used up: {:g} spent, 1.5 more needed, limit 1; raise the {} limit to go on"
    specs = [CaseSpec(f"p{i}", cut_short=ended.format("usd", i, "usd"), llm_calls=i) for i in range(3)]
    specs += [CaseSpec(f"q{i}", cut_short=ended.format("experiments", i, "experiments"), llm_calls=0) for i in range(2)]
    specs += [CaseSpec("r", llm_calls=0), CaseSpec("s", cut_short="stopped after 7 turns", llm_calls=1)]
    add_job(store, "aaaa", specs)
    found = sum_up(store, "aaaa")
    assert found.cut_short == {"usd": 3, "experiments": 2, "stopped after … turns": 1}
    assert found.unasked == 1, "its experiments may be used up without a language model"
    assert "language model never asked: 1 case:" in summary_markdown(found)


def test_pages_of_cases_miss_none_and_repeat_none(store: Store) -> None:
    add_job(store, "aaaa", drawn(31))
    add_job(store, "bbbb", drawn(7))
    for page in (1, 2, 30, 31, 32, 1000):
        assert [case.position for case in case_records(store, "aaaa", page)] == list(range(31))
    with pytest.raises(UnknownIdError, match="there is no job 'zzzz'"):
        sum_up(store, "zzzz")


def test_the_normal_interval_of_many_is_the_bootstrap_one_of_fewer() -> None:
    values = np.random.default_rng(1).random(BOOTSTRAP_UP_TO + 1)
    normal, resampled = mean_of(values), mean_of(values[:-1])
    width = resampled.high - resampled.low
    assert normal.high - normal.low == pytest.approx(width, rel=0.1)
    assert normal.low == pytest.approx(resampled.low, abs=width / 10)


def test_a_job_with_nothing_in_it_has_a_summary(store: Store) -> None:
    add_job(store, "aaaa", [], status="waiting")
    add_job(store, "bbbb", [CaseSpec("x", "waiting"), CaseSpec("y", "running")], status="running")
    for job in ("aaaa", "bbbb"):
        found = sum_up(store, job)
        assert found.scores == () and found.worst == () and found.final == (job == "aaaa")
        assert "Provenance" in summary_markdown(found) and "Provenance" in summary_page(found)
        json.dumps(found.as_json(), allow_nan=False)


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("status 429 after 3 tries", "status 500 after 12 tries"),
        ("unknown word 'Dallas' at 3", "unknown word 'its' at 17"),
        ("cannot read /tmp/a b", "cannot read ~/x/y.json b"),
        ("artefact 00ff00ff00ff is gone", "artefact 1234567890abcdef is gone"),
        ("took 1.5e-3 s", "took -2,000.25 s"),
    ],
)
def test_failures_that_differ_in_figures_and_names_are_one_group(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    assert normalised(one) != normalised("something else")


@given(st.text(max_size=300), st.integers(0, 10**9))
def test_normal_messages_are_short_lines_and_stay_as_they_are(text: str, number: int) -> None:
    once = normalised(f"{text} failed with {number}")
    assert "\n" not in once and str(number) not in once.split() and len(once) <= 240
    assert normalised(once) == normalised(normalised(once))


def test_however_many_messages_there_are_the_groups_are_few_and_count_all() -> None:
    groups = FailureGroups("aaaa")
    words = [a + b + c for a in "abcdefgh" for b in "klmn" for c in "xyz"]
    for word in words:
        groups.add(word, "error", f"it was {word}")
        groups.add(word, "provider", "down")
    found = groups.groups()
    assert len(found) <= MAX_GROUPS + 2 and sum(one.n_cases for one in found) == 2 * len(words)
    assert found[0].message == "down" and "jobs retry aaaa --failed-kind provider" in found[0].advice
    assert set(ADVICE) == set(FAILURE_KINDS), "each kind of failure says what to do"


# -- forms -------------------------------------------------------------------------------------------------------------


def test_the_table_holds_every_case_with_its_types(store: Store, tmp_path: Path) -> None:
    specs = drawn()
    add_job(store, "aaaa", specs)
    file = tmp_path / "cases.parquet"
    assert write_parquet(store, "aaaa", file, ["overall", "edges.f1"]) == len(specs)
    found = pq.read_table(file).to_pylist()
    assert [row["case_id"] for row in found] == [f"aaaa.{i}" for i in range(len(specs))]
    for row, spec in zip(found, specs, strict=True):
        assert (row["status"], row["seed"], row["family"]) == (
            spec.status, spec.seed, spec.family if spec.status == "done" else None,
        )  # fmt: skip
        assert row["score.overall"] == spec.scores.get("overall") and row["score.edges.f1"] == spec.scores.get(
            "edges.f1"
        )
        assert row["verdict.supported"] == (spec.verdicts["supported"] if spec.status == "done" else None)
        assert row["failure_message"] == (spec.failure[1] if spec.failure else None)
    assert found[0]["started_at"].timestamp() == 1_700_000_000.0


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


def test_every_form_tells_everything(summary: JobSummary) -> None:
    page, text = " ".join(Tags(summary_page(summary)).text), summary_markdown(summary)
    for words in ("the job", "Scores", "Verdicts", "Slowest cases", "Dearest cases", "ended after … s in …", "abab"):
        assert words in page and words in text, words
    assert "By family" in page and "### By family" in text
    for value in (summary.score("overall").mean.value, summary.worst[0].value):
        assert f"{value:.3f}" in page and f"{value:.3f}" in text
    assert json.loads(json.dumps(summary.as_json(), allow_nan=False))["ranked_by"] == "overall"


def test_a_page_runs_nothing_fetches_nothing_and_shows_hostile_text_as_text(store: Store) -> None:
    name = HOSTILE[:200]
    add_job(store, "aaaa", drawn(said=HOSTILE), name=name, agent=name, message=HOSTILE, specification={"x": HOSTILE})
    found = sum_up(store, "aaaa")
    page = summary_page(found)
    tags = Tags(page).tags
    assert {tag for tag, _ in tags}.isdisjoint(
        {"script", "img", "iframe", "link", "object", "embed", "base", "form", "a"}
    )
    for tag, attributes in tags:
        assert not [n for n in attributes if n.startswith("on") or n in ("style", "src", "srcset", "href")], tag
    policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in policy
    assert "\x1b" not in page and "\u202e" not in page and "{{7*7}}" in page and "url(" not in style
    text = summary_markdown(found)
    assert "\x1b" not in text and "<img" not in text and "\n## h" not in text
    rows = [row for row in text.splitlines() if row.startswith("|")]
    width = 0
    for first, second in pairwise(rows):
        if second.startswith("| ---"):
            width = len(re.findall(r"(?<!\\)\|", first))
        assert len(re.findall(r"(?<!\\)\|", first)) == width or second.startswith("| ---"), first


@given(st.text())
def test_no_text_ends_a_cell(text: str) -> None:
    found = cell(text)
    assert not re.search(r"(?<!\\)(\\\\)*\|", found) and "\n" not in found and "<" not in found and "`" not in found


def test_plots_stay_inside_and_say_what_they_show() -> None:
    drawn_plot = figures.histogram_plot("t", "seconds", [0, 5, 100_000, 1], 0.0, 8.0, 3.0)
    assert drawn_plot is not None and "most between 4 and 6" in drawn_plot.description
    for column in drawn_plot.columns:
        assert figures.LEFT <= column.x and column.x + column.width <= figures.RIGHT + 1
        assert figures.TOP - 1e-9 <= column.y and column.y + column.height == pytest.approx(figures.BOTTOM)
    assert [tick.text for tick in drawn_plot.up][-1] == "100k"
    assert figures.histogram_plot("t", "x", [0, 0], 0.0, 1.0) is None
    assert figures.line_plot("t", "x", "y", [(0.0, 0.0), (1.0, 0.0)]) is None


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_round_values_cover_the_range_and_are_few(bottom: float, width: float) -> None:
    found = figures.round_values(bottom, bottom + width)
    assert 1 <= len(found) <= 8 and found == sorted(found)


MEASURE = """
addEventListener('load', () => {
  const measured = [...document.querySelectorAll('iframe')].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    page.querySelectorAll('details').forEach(item => { item.open = true; });
    const clipped = [...page.querySelectorAll('p, li, dd, dt, h1, h2, h3, summary, svg, pre, .scroller')].filter(item => {
      const own = item.getBoundingClientRect();
      return own.width > 1 && own.right > root.clientWidth + 1 && !item.closest('.scroller table');
    }).map(item => item.tagName + ' ' + item.textContent.slice(0, 40));
    return {width: root.clientWidth, needed: root.scrollWidth, clipped,
      font: frame.contentWindow.getComputedStyle(page.querySelector('h1')).fontSize};
  });
  document.body.textContent = 'MEASURED' + JSON.stringify(measured) + 'END';
});
"""


def test_the_page_in_a_browser(store: Store, tmp_path: Path) -> None:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium on this machine; install the package `chromium` to run these tests")
    add_job(store, "aaaa", drawn(said=HOSTILE), name="x" * 200)
    page = html.escape(summary_page(sum_up(store, "aaaa")), quote=True)
    frames = "".join(
        f'<iframe srcdoc="{page}" width="{width}" height="800" style="border:0"></iframe>' for width in (390, 1280)
    )
    file = tmp_path / "measure.html"
    file.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frames}<script>{MEASURE}</script>", encoding="utf-8")
    command = [path, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, timeout=300, check=True)
    found = re.search(r"MEASURED(.*)END", done.stdout, re.DOTALL)
    assert found and "CONSOLE" not in done.stderr, done.stderr[-2000:]
    measured = json.loads(html.unescape(found[1]))
    assert [item["width"] for item in measured] == [390, 1280]
    for item in measured:
        assert item["needed"] <= item["width"] and item["clipped"] == []
    assert measured[0]["font"] != measured[1]["font"], "styles did not apply"
