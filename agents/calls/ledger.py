"""What stands in a call log, in numbers: what was asked, what came of it, and what it cost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import Field

from tracescribe.agents.calls.call_events import (
    CallAnswer,
    CallEvent,
    CallFailure,
    CallIntent,
    CallReuse,
    event_of_line,
)
from tracescribe.agents.claims import Frozen
from tracescribe.tracer.errors import InputError


class ModelUse(Frozen):
    """What one model was asked, and what it cost.

    Attributes:
        provider, base_url, model: who was asked.
        calls: different requests.
        answered: of these, those with an answer.
        input_tokens, output_tokens, seconds: of all answers.
        usd: of the answers with a known price; None where there is none.
    """

    provider: str
    base_url: str
    model: str
    calls: int = Field(ge=0)
    answered: int = Field(ge=0)
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    usd: float | None
    seconds: float = Field(ge=0)


class LedgerSummary(Frozen):
    """A call log in numbers.

    Attributes:
        calls: different requests; answered + failed + unfinished + reused.
        sendings: attempts, retries and resendings included.
        answered: requests with an answer on record; none of them is ever sent again.
        failed: requests without an answer whose last attempt failed.
        unfinished: requests that were on their way when their process died, and were not sent again since.
        resent: requests that were on their way when a process died and were sent again under the same idempotency key.
        reused: requests whose answer another interpretation had paid for; nothing was sent.
        paid_twice: requests with two answers, recorded by processes that ran at the same time.
        retried: attempts after the first, of one process.
        input_tokens, output_tokens: of all answers.
        usd: of the answers with a known price; None where there is none.
        unpriced: answers whose price was unknown.
        estimated: answers whose tokens the server did not tell.
        seconds: from sending to answer, over all answers; calls that ran at once are counted each.
        lines_put_aside: torn or foreign lines.
        templates: requests by prompt template and version.
        models: by who was asked, most calls first.
    """

    calls: int
    sendings: int
    answered: int
    failed: int
    unfinished: int
    resent: int
    reused: int = 0
    paid_twice: int
    retried: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    unpriced: int
    estimated: int
    seconds: float
    lines_put_aside: int
    templates: dict[str, int]
    models: tuple[ModelUse, ...]


def summarize_ledger(path: Path) -> LedgerSummary:
    """The call log of one file, in numbers. The file is read only.

    Raises:
        InputError: no such file, one that cannot be read, or one that is no call log: it holds lines, and none of one.
    """
    events: list[CallEvent] = []
    put_aside = 0
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                event = event_of_line(line, path, number)
                if event is not None:
                    events.append(event)
                elif line.strip():
                    put_aside += 1
    except OSError as error:
        raise InputError(f"cannot read call log {path}: {error.strerror}; give the file llm_calls.jsonl") from None
    if put_aside and not events:
        raise InputError(
            f"{path} is no call log: none of its {put_aside} lines is of one; give the file llm_calls.jsonl"
        )
    return summary_of(events, put_aside)


def summary_of(events: list[CallEvent], lines_put_aside: int = 0) -> LedgerSummary:
    """Events in numbers; also of a log that lives in memory."""
    intents = [event for event in events if isinstance(event, CallIntent)]
    answers = [event for event in events if isinstance(event, CallAnswer)]
    first = {event.request_sha256: event for event in reversed(intents)}
    answered = Counter(event.request_sha256 for event in answers)
    last = {event.request_sha256: event for event in events}
    reused = {event.request_sha256 for event in events if isinstance(event, CallReuse)} - set(answered)
    failed = {sha256 for sha256, event in last.items() if isinstance(event, CallFailure) and sha256 not in answered}
    failed -= reused
    calls = set(last)
    return LedgerSummary(
        calls=len(calls),
        sendings=len(intents),
        answered=len(answered),
        failed=len(failed),
        unfinished=len(calls - failed - reused - set(answered)),
        resent=len({event.request_sha256 for event in intents if event.resent}),
        reused=len(reused),
        paid_twice=sum(count > 1 for count in answered.values()),
        retried=sum(event.attempt > 1 for event in intents),
        input_tokens=sum(event.completion.usage.input_tokens for event in answers),
        output_tokens=sum(event.completion.usage.output_tokens for event in answers),
        usd=_sum_of_known([event.usd for event in answers]),
        unpriced=sum(event.usd is None for event in answers),
        estimated=sum(event.completion.usage.estimated for event in answers),
        seconds=sum(event.completion.seconds for event in answers),
        lines_put_aside=lines_put_aside,
        templates=dict(sorted(Counter(event.template for event in first.values()).items())),
        models=_models(first, answers),
    )


def _models(first: dict[str, CallIntent], answers: list[CallAnswer]) -> tuple[ModelUse, ...]:
    whom = {sha256: (event.provider, event.base_url, event.model) for sha256, event in first.items()}
    rows: list[ModelUse] = []
    for key in sorted(set(whom.values())):
        own = [event for event in answers if whom.get(event.request_sha256) == key]
        rows.append(
            ModelUse(
                provider=key[0],
                base_url=key[1],
                model=key[2],
                calls=sum(asked == key for asked in whom.values()),
                answered=len({event.request_sha256 for event in own}),
                input_tokens=sum(event.completion.usage.input_tokens for event in own),
                output_tokens=sum(event.completion.usage.output_tokens for event in own),
                usd=_sum_of_known([event.usd for event in own]),
                seconds=sum(event.completion.seconds for event in own),
            )
        )
    return tuple(sorted(rows, key=lambda row: -row.calls))


def _sum_of_known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
