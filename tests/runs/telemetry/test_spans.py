"""Spans and metrics of steps, calls and experiments: names as agreed, parents right across threads, and no content."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import opentelemetry.metrics
import opentelemetry.trace
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, server_attributes

from tests.agents.fake_server import Question, Reply, good, in_turn
from tests.agents.provider_rig import PROMPT, SECRET, TEXAS, WAYS, RigMaker, Word
from tests.runs.telemetry.otlp_receiver import collecting
from tracescribe.agents import spans
from tracescribe.agents.spans import CAPTURE, span, step_span
from tracescribe.runs.telemetry import measures
from tracescribe.runs.telemetry.pipeline import trace_id_of
from tracescribe.runs.telemetry.redacted_export import RedactedSpanExporter
from tracescribe.tracer.errors import ProviderError
from tracescribe.tracer.redaction import redacting, redactor_of

MAIL = "eve@example.org"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Where spans go, as a pipeline sends them: redacted once more."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(RedactedSpanExporter(exporter, redactor_of(("email",), None, {}))))
    monkeypatch.setattr(opentelemetry.trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


@pytest.fixture
def read_metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """Where metrics go."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(opentelemetry.metrics, "get_meter", provider.get_meter)
    for made in (spans._instruments, measures._instruments):
        made.cache_clear()
    yield reader
    provider.shutdown()
    for made in (spans._instruments, measures._instruments):
        made.cache_clear()


@pytest.fixture
def rigs() -> Iterator[RigMaker]:
    """Makes sessions on fake servers."""
    maker = RigMaker()
    yield maker
    maker.stop()


def parent_of(child: ReadableSpan, spans: tuple[ReadableSpan, ...]) -> str | None:
    """Name of a span's parent."""
    ids = {one.context.span_id: one.name for one in spans if one.context is not None}
    return None if child.parent is None else ids[child.parent.span_id]


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """Data points by metric."""
    data = reader.get_metrics_data()
    assert data is not None
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
    return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


@pytest.mark.parametrize("way", WAYS[::2], ids=str)
def test_a_call_has_the_agreed_attributes_and_no_content(
    way: Any, exported: InMemorySpanExporter, read_metrics: InMemoryMetricReader, rigs: RigMaker
) -> None:
    rig = rigs(way, in_turn([Reply(status=503, text=f"busy {MAIL}"), TEXAS]), price_input=1.0, price_output=2.0)
    assert rig.ask(f"of {MAIL}") == "Texas"
    assert rig.ask(f"of {MAIL}") == "Texas"  # recorded: nothing is sent, and no span made
    (chat,) = exported.get_finished_spans()
    told = dict(chat.attributes or {})
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    known |= {server_attributes.SERVER_ADDRESS, server_attributes.SERVER_PORT, error_attributes.ERROR_TYPE}
    assert {name for name in told if not name.startswith("tracescribe.")} <= known
    assert chat.name == "chat fake-1" and chat.kind is opentelemetry.trace.SpanKind.CLIENT
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == ("anthropic" if way.wire == "anthropic" else "openai")
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (120, 30)
    assert told["gen_ai.response.finish_reasons"] == ("stop",) and told["server.address"] == "127.0.0.1"
    assert told["gen_ai.response.id"] and told["tracescribe.llm.attempts"] == 2
    assert told["tracescribe.llm.usd"] == pytest.approx((120 + 2 * 30) / 1e6)
    whole = chat.to_json()
    assert "Which word" not in whole and "Texas" not in whole and MAIL not in whole and SECRET not in whole
    found = points(read_metrics)
    tokens = {point.attributes["gen_ai.token.type"]: point.sum for point in found["gen_ai.client.token.usage"]}
    assert tokens == {"input": 120, "output": 30}
    assert [point.count for point in found["gen_ai.client.operation.duration"]] == [1]
    assert sum(point.value for point in found["tracescribe.llm.usd"]) == pytest.approx(180 / 1e6)


def test_a_failed_call_says_why(
    exported: InMemorySpanExporter, read_metrics: InMemoryMetricReader, rigs: RigMaker
) -> None:
    rig = rigs(WAYS[0], lambda _: Reply(status=400, text=f"{MAIL} may not, key {SECRET}"))
    with pytest.raises(ProviderError) as raised, redacting(redactor_of(("email",), None, {})), step_span("label"):
        rig.ask()
    assert MAIL not in str(raised.value) and "[redacted email]" in str(raised.value)
    chat, step = exported.get_finished_spans()
    assert chat.attributes and chat.attributes["error.type"] == "ProviderRequestError"
    assert not chat.status.is_ok and not step.status.is_ok and step.name == "step label"
    assert MAIL not in chat.to_json() + step.to_json() and SECRET not in chat.to_json() + step.to_json()
    (duration,) = points(read_metrics)["gen_ai.client.operation.duration"]
    assert duration.attributes["error.type"] == "ProviderRequestError"


def test_questions_asked_at_once_stand_below_their_step(exported: InMemorySpanExporter, rigs: RigMaker) -> None:
    def answer(question: Question) -> Reply:
        return good({"word": f"w{question.user[-1]} {MAIL}"[:10]})

    rig = rigs(WAYS[0], answer, concurrency=4)
    prompts = [PROMPT.model_copy(update={"user": f"word {number}"}) for number in range(6)]
    with redacting(redactor_of(("email",), None, {})), step_span("test_labels"):
        answers = rig.session.ask_all(prompts, Word, rig.meter)
    assert [one.word for one in answers if isinstance(one, Word)] == [f"w{number} eve@exa" for number in range(6)]
    found = exported.get_finished_spans()
    assert Counter((one.name, parent_of(one, found)) for one in found) == {
        ("chat fake-1", "step test_labels"): 6,
        ("step test_labels", None): 1,
    }


def test_content_only_where_it_is_asked_for_and_redacted(
    exported: InMemorySpanExporter, rigs: RigMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CAPTURE, "true")
    rig = rigs(WAYS[0], in_turn([TEXAS]))
    rig.ask(f"Which word of {MAIL} for {SECRET}?")
    (chat,) = exported.get_finished_spans()
    told = dict(chat.attributes or {})
    (turn,) = json.loads(str(told["gen_ai.input.messages"]))
    assert turn["parts"][0]["content"] == "Which word of [redacted email] for [redacted api_key]?"
    (said,) = json.loads(str(told["gen_ai.output.messages"]))
    assert json.loads(said["parts"][0]["content"]) == {"word": "Texas"}


def test_an_error_that_passes_through_is_told_redacted(exported: InMemorySpanExporter) -> None:
    with pytest.raises(RuntimeError), span(f"of {MAIL}", {"who": (MAIL, "x"), "n": 3}) as started:
        started.add_event("met", {"whom": MAIL})
        started.record_exception(ValueError(MAIL))
        raise RuntimeError(f"no {MAIL}")
    (one,) = exported.get_finished_spans()
    assert MAIL not in one.to_json() and one.attributes
    assert one.attributes["error.type"] == "RuntimeError" and one.attributes["who"] == ("[redacted email]", "x")


def test_cases_and_the_queue_are_counted(read_metrics: InMemoryMetricReader) -> None:
    measures.case_ended("done", 2.0)
    measures.case_ended("done", 4.0)
    measures.case_ended("failed", 1.0, failure_kind="input")
    measures.lease_lost()
    measures.store_retried("StoreBusyError")
    measures.watch_queue(lambda: {"waiting": 7, "running": 2})
    measures.watch_queue(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    found = points(read_metrics)
    assert {p.attributes["tracescribe.case.status"]: p.value for p in found["tracescribe.cases"]} == {
        "done": 2,
        "failed": 1,
    }
    assert {p.sum for p in found["tracescribe.case.duration"]} == {6.0, 1.0}
    assert [p.value for p in found["tracescribe.leases.lost"]] == [1]
    assert [p.value for p in found["tracescribe.store.retries"]] == [1]
    queue = {p.attributes["tracescribe.case.status"]: p.value for p in found["tracescribe.queue.cases"]}
    assert queue == {"waiting": 7, "running": 2}


PROGRAM = """
import sys
from tracescribe.agents.spans import step_span
from tracescribe.runs.jobs.specification import Privacy
from tracescribe.runs.telemetry.observing import observe_job
from tracescribe.runs.telemetry.settings import ObservabilitySettings
before = {name for name in sys.modules if name.startswith("opentelemetry.sdk")}
for turn in range(2):
    with observe_job(ObservabilitySettings.of(sys.argv[1]), "job7", Privacy()):
        with step_span("survey") as span:
            span.set_attribute("who", "eve@example.org")
            recording = span.is_recording()
    if turn or sys.argv[1] == "off":
        break
after = {name for name in sys.modules if name.startswith("opentelemetry.sdk")}
print(recording, bool(before), bool(after))
"""


def observed(mode: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process that records one span, twice."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, mode],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )


def test_off_imports_no_sdk() -> None:
    assert observed("off").stdout.split() == ["False", "False", "False"]
    assert observed("otlp", OTEL_SDK_DISABLED="true").stdout.split() == ["False", "False", "False"]


def test_console_and_collector_get_the_same_span() -> None:
    shown = observed("console")
    lines = [json.loads(line) for line in shown.stderr.splitlines()]
    traces = [line for line in lines if "context" in line]
    assert traces[0]["name"] == "step survey" and traces[0]["attributes"]["who"] == "[redacted email]"
    with collecting() as collector:
        done = observed("otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.address)
    assert done.stderr == ""
    first = collector.spans[0]
    assert first.attributes["who"] == "[redacted email]"
    assert first.span.trace_id == trace_id_of("job7").to_bytes(16, "big")
    assert traces[0]["context"]["trace_id"] == f"0x{trace_id_of('job7'):032x}"
    assert (first.resource["service.name"], first.resource["tracescribe.job.id"]) == ("tracescribe", "job7")


@pytest.mark.parametrize("fault", ["refused", "failing"])
def test_a_collector_that_is_down_disturbs_nobody(fault: str) -> None:
    with collecting() as collector:
        collector.status = 503
        address = collector.address if fault == "failing" else "http://127.0.0.1:9"
        done = observed("otlp", OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    assert done.stdout.split()[0] == "True"
    assert done.stderr.splitlines() == ["1 batches of spans could not be exported; the job is none the worse for it"]
