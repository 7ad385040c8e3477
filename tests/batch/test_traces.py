"""A real job's spans at a real collector: one trace, job over cases over steps over calls and experiments, every worker."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.agents.fake_server import Question, Reply, Script, serving
from tests.agents.fake_thinker import think
from tests.batch.job_site import Site, prompts, wait_until
from tests.batch.outcome import look
from tests.runs.telemetry.otlp_receiver import Collector, Received, collecting
from tracescribe.runs.store.tables import cases as case_rows
from tracescribe.runs.telemetry.pipeline import trace_id_of

pytestmark = pytest.mark.batch
N = 6
AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
"""Nothing is kept for the end of a process, which waits a few seconds for its last words and no longer."""
BELOW = {"job": None, "case": "job", "step": "case", "chat": "step", "experiment": "step"}
"""Kind of a span's parent by the kind of the span."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that listens."""
    with collecting() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder to work in."""
    made = Site(tmp_path / "site", str(tmp_path / "site" / "store"))
    yield made
    made.kill_all()


def when_both_work(site: Site) -> Script:
    """Answers once both workers of a job have begun a case: else one that is slow to start may find nothing left to do."""
    begun = select(func.count(case_rows.c.worker_id.distinct()))

    def script(question: Question) -> Reply:
        wait_until(lambda: next(iter(look(site).rows(begun)[0].values())) >= 2, "both workers have a case")
        return think(question)

    return script


def kind(span: Received) -> str:
    """The first word of a span's name."""
    return span.name.partition(" ")[0]


def check_hierarchy(spans: list[Received], job_id: str, *, whole: bool) -> None:
    """One trace, and every parent of the right kind; with `whole`, none that did not arrive."""
    assert {span.span.trace_id for span in spans} == {trace_id_of(job_id).to_bytes(16, "big")}
    ids = {span.span.span_id: span for span in spans}
    assert len(ids) == len(spans)
    for span in spans:
        parent = ids.get(span.span.parent_span_id)
        if BELOW[kind(span)] is None:
            assert not span.span.parent_span_id
        elif parent is not None:
            assert kind(parent) == BELOW[kind(span)], span.name
            assert span.span.start_time_unix_nano >= parent.span.start_time_unix_nano
            assert span.span.end_time_unix_nano <= parent.span.end_time_unix_nano
        else:
            assert not whole and span.span.parent_span_id, f"{span.name} has lost its parent"


def test_the_whole_hierarchy_arrives_from_every_worker(site: Site, collector: Collector) -> None:
    with serving(when_both_work(site)) as server:
        job = site.write_job(server, prompts(N))
        site.run("jobs", "submit", str(job), "--yes")
        site.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.address
        site.environment |= AT_ONCE
        site.run("jobs", "resume", "last", "--telemetry", "otlp")
    (row,) = site.json("jobs", "list")["jobs"]
    job_id = row["job_id"]
    check_hierarchy(collector.spans, job_id, whole=True)
    counts = Counter(kind(span) for span in collector.spans)
    assert (counts["job"], counts["case"], counts["chat"]) == (1, N, server.calls)
    cases = [span for span in collector.spans if kind(span) == "case"]
    assert {span.attributes["tracescribe.case.id"] for span in cases} == {f"{job_id}.{number}" for number in range(N)}
    assert len({span.resource["service.instance.id"] for span in cases}) == 2
    ids = {span.span.span_id: span for span in collector.spans}
    inside: defaultdict[bytes, Counter[str]] = defaultdict(Counter)
    for span in collector.spans:
        if kind(span) in ("chat", "experiment"):
            step = ids[span.span.parent_span_id]
            inside[step.span.parent_span_id][kind(span)] += 1
    for case in cases:
        below = inside[case.span.span_id]
        assert below["experiment"] >= case.attributes["tracescribe.case.experiments"] > 0
        assert below["chat"] <= case.attributes["tracescribe.case.llm_calls"]
    names = {name for name, _, _ in collector.metrics}
    assert {"tracescribe.cases", "tracescribe.case.duration", "tracescribe.queue.cases"} <= names
    assert {"gen_ai.client.token.usage", "gen_ai.client.operation.duration"} <= names
    done = [
        point.as_int
        for name, _, metric in collector.metrics
        if name == "tracescribe.cases"
        for point in metric.sum.data_points
    ]
    assert max(done) <= N


def test_a_killed_job_goes_on_in_the_same_trace(site: Site, collector: Collector) -> None:
    with serving(think) as server:
        job = site.write_job(server, prompts(N))
        site.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.address
        site.environment |= AT_ONCE
        running = site.start("jobs", "run", str(job), "--yes", "--telemetry", "otlp")
        wait_until(lambda: any(kind(span) == "case" for span in collector.spans), "a case's span", by=running)
        site.kill_all()
        finished = select(case_rows.c.case_id).where(case_rows.c.status == "done")
        before = {str(found["case_id"]) for found in look(site).rows(finished)}
        site.run("jobs", "resume", "last", "--telemetry", "otlp")
    (row,) = site.json("jobs", "list")["jobs"]
    assert row["status"] == "done"
    check_hierarchy(collector.spans, row["job_id"], whole=False)
    told = {span.attributes["tracescribe.case.id"] for span in collector.spans if kind(span) == "case"}
    every = {f"{row['job_id']}.{number}" for number in range(N)}
    assert told <= every
    # a case that ended just before the kill may have taken the news of it along: they leave a moment after the case
    assert every - told <= before


def test_a_collector_that_is_down_changes_no_result(site: Site) -> None:
    job = site.write_job(None, prompts(2))
    site.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    said = site.run("jobs", "run", str(job), "--yes", "--telemetry", "otlp")
    assert "done" in said and "opentelemetry" not in said.lower() and "Traceback" not in said


def test_console_shows_spans_of_workers(site: Site) -> None:
    job = site.write_job(None, prompts(1))
    said = site.run("jobs", "run", str(job), "--yes", "--telemetry", "console")
    for name in ('"name": "job"', '"name": "case"', '"name": "step survey"', '"name": "experiment"'):
        assert name in said
