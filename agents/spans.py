"""Spans and metrics of an agent's work, through the OpenTelemetry API: recorded only where a program switches an SDK on.

The names of language-model calls are those of the GenAI semantic conventions. Prompts and answers are part of them only
where that is asked for, and redacted then, as the words of errors always are. The API is imported at the first span, so that nothing else waits for it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tracescribe.tracer.redaction import current_redactor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import Span

    from tracescribe.agents.claims import Claim
    from tracescribe.agents.findings import ExperimentPlan, Measurement, Verdict
    from tracescribe.agents.providers.completion import Completion, CompletionRequest

SCOPE = "tracescribe.agents"
"""Name of the tracer and of the meter."""
PROVIDERS = {"openai": "openai", "openai-responses": "openai", "anthropic": "anthropic", "local": "tracescribe.local"}
"""`gen_ai.provider.name` by wire format."""
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_MOST_WORDS = 300


@contextmanager
def span(name: str, attributes: dict[str, Any], *, client: bool = False) -> Iterator[Span]:
    """A span below the current one. An error that passes through marks it as failed, and goes on.

    Args:
        client: whether it waits for another machine.
    """
    from opentelemetry import trace

    kind = trace.SpanKind.CLIENT if client else trace.SpanKind.INTERNAL
    with trace.get_tracer(SCOPE).start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as started:
        try:
            yield started
        except BaseException as error:
            mark_failed(started, error)
            raise


def mark_failed(failed: Span, error: BaseException) -> None:
    """Say on a span what went wrong: the error's type, and its first words, redacted."""
    if failed.is_recording():
        from opentelemetry.trace import Status, StatusCode

        failed.set_attribute("error.type", type(error).__name__)
        failed.set_status(Status(StatusCode.ERROR, current_redactor().text(str(error))[:_MOST_WORDS]))


@contextmanager
def step_span(step: str) -> Iterator[Span]:
    """The span of one step of the loop."""
    with span(f"step {step}", {"tracescribe.step.name": step}) as started:
        yield started


@contextmanager
def experiment_span(claim: Claim) -> Iterator[Span]:
    """The span of one experiment; its verdict is told by the step that judges (`tell_verdicts`)."""
    told = {"tracescribe.claim.id": claim.claim_id, "tracescribe.claim.kind": claim.kind}
    with span("experiment", told) as started:
        yield started


def tell_measured(told: Span, plan: ExperimentPlan, measurement: Measurement) -> None:
    """Say on an experiment's span what was measured."""
    if told.is_recording():
        told.set_attribute("tracescribe.plan.id", plan.plan_id)
        told.set_attribute("tracescribe.experiment.controls", len(measurement.control_effects))
        if measurement.effect is not None:
            told.set_attribute("tracescribe.experiment.effect", float(measurement.effect))
        if measurement.failure is not None:
            told.set_attribute("error.type", "measurement failed")


def tell_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Add an event for each verdict to the current span, that of the step that judges."""
    from opentelemetry import trace

    judging = trace.get_current_span()
    if judging.is_recording():
        for verdict in verdicts:
            told = {"tracescribe.claim.id": verdict.claim_id, "tracescribe.verdict.outcome": verdict.outcome}
            judging.add_event("verdict", told)


class Call:
    """One language-model call as it is measured.

    Attributes:
        attempts: sendings so far.
    """

    def __init__(self, chat: Span, common: dict[str, str]) -> None:
        self.attempts = 0
        self._chat = chat
        self._common = common
        self._started = time.monotonic()

    def answered(self, completion: Completion, usd: float | None) -> None:
        """Record what came back, and what it cost."""
        usage = completion.usage
        if captures_content():
            said = [{"role": "assistant", "parts": [{"type": "text", "content": completion.text}]}]
            self._chat.set_attribute("gen_ai.output.messages", json.dumps(current_redactor().value(said)))
        if self._chat.is_recording():
            self._chat.set_attributes(
                {
                    "gen_ai.response.model": completion.model,
                    "gen_ai.response.finish_reasons": (completion.finish,),
                    "gen_ai.usage.input_tokens": usage.input_tokens,
                    "gen_ai.usage.output_tokens": usage.output_tokens,
                }
            )
            if completion.response_id:
                self._chat.set_attribute("gen_ai.response.id", completion.response_id)
            if usd is not None:
                self._chat.set_attribute("tracescribe.llm.usd", usd)
        metrics = _instruments()
        labels = {**self._common, "gen_ai.response.model": completion.model}
        metrics["tokens"].record(usage.input_tokens, {**labels, "gen_ai.token.type": "input"})
        metrics["tokens"].record(usage.output_tokens, {**labels, "gen_ai.token.type": "output"})
        metrics["duration"].record(time.monotonic() - self._started, labels)
        if usd is not None:
            metrics["usd"].add(usd, labels)

    def failed(self, error: BaseException) -> None:
        """Record that no answer came."""
        labels = {**self._common, "error.type": type(error).__name__}
        _instruments()["duration"].record(time.monotonic() - self._started, labels)

    def finish(self) -> None:
        """Record how often it was sent."""
        if self._chat.is_recording():
            self._chat.set_attribute("tracescribe.llm.attempts", self.attempts)


@contextmanager
def chat_span(request: CompletionRequest) -> Iterator[Call]:
    """The span of one request to a language model, all its attempts in it. Recorded answers have none: nothing is sent."""
    endpoint = request.endpoint
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDERS[endpoint.provider],
        "gen_ai.request.model": endpoint.model,
    }
    told: dict[str, Any] = {
        **common,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.output.type": "json",
        "tracescribe.prompt.template": request.template,
        "tracescribe.request.sha256": request.sha256,
    }
    if captures_content():
        told |= _content(request)
    if request.temperature is not None:
        told["gen_ai.request.temperature"] = request.temperature
    if endpoint.provider != "local":
        where = urlsplit(endpoint.base_url)
        told["server.address"] = where.hostname or ""
        told["server.port"] = where.port or (443 if where.scheme == "https" else 80)
    with span(f"chat {endpoint.model}", told, client=True) as chat:
        call = Call(chat, common)
        try:
            yield call
        except Exception as error:
            call.failed(error)
            raise
        finally:
            call.finish()


def captures_content() -> bool:
    """Whether prompts and answers are part of spans: only where OpenTelemetry's own variable asks for it."""
    return os.environ.get(CAPTURE, "").strip().lower() in {"true", "span_only", "span_and_event"}


def _content(request: CompletionRequest) -> dict[str, str]:
    """A request's texts, as the conventions write them; redacted."""
    turns = [{"role": m.role, "parts": [{"type": "text", "content": m.text}]} for m in request.messages]
    system = [{"type": "text", "content": request.system}]
    clean = current_redactor().value({"turns": turns, "system": system})
    return {
        "gen_ai.input.messages": json.dumps(clean["turns"]),
        "gen_ai.system_instructions": json.dumps(clean["system"]),
    }


@lru_cache(maxsize=1)
def _instruments() -> dict[str, Any]:
    from opentelemetry import metrics

    meter = metrics.get_meter(SCOPE)
    tokens = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
    seconds = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
    return {
        "tokens": meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=tokens,
        ),
        "duration": meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=seconds,
        ),
        "usd": meter.create_counter("tracescribe.llm.usd", unit="USD", description="Paid for answers."),
    }
