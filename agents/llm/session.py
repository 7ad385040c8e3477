"""One conversation partner for structured answers: record, send, meter, validate, repair.

Every question goes the same way: look it up in the call log; else reserve its cost, record the intent, send it, record
the answer; then validate. What can go wrong, and what follows, is drawn in `agents.providers.errors`.
"""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from pydantic import BaseModel

from tracescribe.agents.budget import Cost, Hold, Meter
from tracescribe.agents.calls.call_log import CallLog
from tracescribe.agents.llm.parsing import parse_answer
from tracescribe.agents.llm.provider_watch import ProviderWatch
from tracescribe.agents.providers.answer_schema import strict_schema
from tracescribe.agents.providers.completion import (
    ChatMessage,
    Completion,
    CompletionRequest,
    LanguageModelClient,
    Usage,
)
from tracescribe.agents.providers.errors import (
    EmptyAnswerError,
    MalformedAnswerError,
    TransientProviderError,
    TruncatedAnswerError,
)
from tracescribe.agents.providers.estimates import FRAMING_TOKENS
from tracescribe.agents.providers.prices import Price, price_of, require_price
from tracescribe.agents.providers.retries import complete_with_retries
from tracescribe.agents.providers.settings import ProviderSettings
from tracescribe.agents.spans import Call, chat_span
from tracescribe.prompts.library import render
from tracescribe.prompts.template import RenderedPrompt
from tracescribe.tracer.errors import BudgetExceededError, ProviderError, WorkError
from tracescribe.tracer.redaction import current_redactor

Answer = TypeVar("Answer", bound=BaseModel)

WIDEST_ANSWER = 20_000
"""Most room that a second try gets after a truncated answer; beyond it the SDKs want streaming."""
REPAIR_TOKENS = 4_000
"""Room for the words of one repair: the fault is cut at 1,500 characters, and stands in a short message."""
ANSWER_BYTES_PER_TOKEN = 8
"""Bytes that a token of an answer takes when it is sent back; English runs at about four."""
_NO_TEXT = "(no text)"


class LlmSession:
    """Asks one language model for structured answers. Safe to use from several threads.

    Attributes:
        settings: how the model is reached.
        client: one attempt at one completion.
        log: what was asked and answered.
        price: of the model; None where it is unknown.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        client: LanguageModelClient,
        log: CallLog,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self.client = client
        self.log = log
        self.price: Price | None = price_of(settings, client.endpoint)
        self._sleep = sleep
        self._lock = threading.Lock()
        self._asking: dict[str, tuple[threading.Lock, int]] = {}

    def ask(self, prompt: RenderedPrompt, answer_type: type[Answer], meter: Meter) -> Answer:
        """Ask one question and return a valid answer.

        Args:
            prompt: the filled template.
            answer_type: the schema that the answer must fit.
            meter: what the question is charged to. A recorded answer is charged like a new one, once per run: a report
                tells what it cost to make, whichever run paid, and a resumed run stops where the first would have.

        Raises:
            BudgetExceededError: the question would pass a limit.
            UnknownPriceError: there is a limit in USD, and the model's price is unknown.
            ProviderError: no usable answer, after every retry and repair that its kind allows.
        """
        messages = [ChatMessage(role="user", text=prompt.user)]
        room, repairs = self.settings.max_tokens, 0
        while True:
            request = self._request(prompt, answer_type, messages, room)
            completion = self._answered(request, meter)
            try:
                return parse_answer(completion, answer_type)
            except TruncatedAnswerError:
                wider = min(2 * self.settings.max_tokens, WIDEST_ANSWER)
                if wider <= room:
                    raise
                room = wider
            except (EmptyAnswerError, MalformedAnswerError) as error:
                if repairs == self.settings.max_repairs:
                    raise type(error)(f"{error} (after {repairs} repairs)") from None
                repairs += 1
                repair = render("repair_answer", attempt=repairs, fault=str(error))
                messages += [
                    ChatMessage(role="assistant", text=completion.text.strip() or _NO_TEXT),
                    ChatMessage(role="user", text=repair.user),
                ]

    def ask_all(
        self, prompts: Sequence[RenderedPrompt], answer_type: type[Answer], meter: Meter
    ) -> tuple[Answer | WorkError, ...]:
        """Ask many questions, `settings.concurrency` at once; the answers come in the order of the questions.

        A question that fails gives its error in place of an answer. Where the provider itself fails (it refuses a
        request, it failed a few questions running, the budget is used up), the questions not yet sent are not sent.

        Only as many go out together as the budget allows with every repair that each may need; the next ones wait until
        those are settled. So what a limit refuses depends on the questions and their bills, never on which was faster.
        """
        trouble = ProviderWatch()

        # threads take over what is in force here: the redactor, and the span that calls belong to
        contexts = [contextvars.copy_context() for _ in prompts]

        def ask_one(prompt: RenderedPrompt) -> Answer | WorkError:
            if trouble.reason is not None:
                return ProviderError(f"not asked: {trouble.reason}")
            try:
                answer = self.ask(prompt, answer_type, meter)
            except (ProviderError, BudgetExceededError) as error:
                trouble.note(error)
                return error
            trouble.note(None)
            return answer

        answers: list[Answer | WorkError] = []
        with ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="llm") as pool:
            while len(answers) < len(prompts):
                rest = prompts[len(answers) :]
                together = rest[: self._together(rest, answer_type, meter)]
                inside = contexts[len(answers) :]
                answers += pool.map(lambda prompt, there: there.run(ask_one, prompt), together, inside)
        return tuple(answers)

    def _together(self, prompts: Sequence[RenderedPrompt], answer_type: type[BaseModel], meter: Meter) -> int:
        """How many of the first questions fit the budget together, at least one."""
        calls = tokens = 0
        usd = 0.0
        for number, prompt in enumerate(prompts):
            most = self._most_in_all(prompt, answer_type)
            calls, tokens, usd = calls + most.llm_calls, tokens + most.tokens, usd + (most.usd or 0.0)
            if not meter.fits(Cost(llm_calls=calls, input_tokens=tokens, usd=usd)):
                return max(1, number)
        return len(prompts)

    def _most_in_all(self, prompt: RenderedPrompt, answer_type: type[BaseModel]) -> Cost:
        """About the most that a question costs with every repair, each of which sends all before it once more."""
        first = ChatMessage(role="user", text=prompt.user)
        once = most_it_costs(self._request(prompt, answer_type, [first], self.settings.max_tokens), self.price)
        sendings = self.settings.max_repairs + 2  # one more with twice the room, where an answer was cut off
        again = self.settings.max_repairs * (REPAIR_TOKENS + ANSWER_BYTES_PER_TOKEN * self.settings.max_tokens)
        usage = Usage(input_tokens=once.input_tokens + again, output_tokens=2 * self.settings.max_tokens)
        return Cost(
            llm_calls=sendings,
            input_tokens=sendings * usage.input_tokens,
            output_tokens=sendings * usage.output_tokens,
            usd=None if self.price is None else sendings * self.price.usd(usage),
        )

    def _request(
        self, prompt: RenderedPrompt, answer_type: type[BaseModel], messages: Sequence[ChatMessage], room: int
    ) -> CompletionRequest:
        return CompletionRequest(
            endpoint=self.client.endpoint,
            system=prompt.system,
            messages=tuple(messages),
            schema_name=prompt.output_schema,
            answer_schema=strict_schema(answer_type),
            max_tokens=room,
            temperature=self.settings.temperature,
            template=prompt.template,
            template_sha256=prompt.template_sha256,
        )

    def _answered(self, request: CompletionRequest, meter: Meter) -> Completion:
        """The answer to one request: the recorded one, or a new one that is recorded first."""
        sha256 = request.sha256
        require_price(self.price, meter.budget.usd, request.endpoint)
        with self._one_at_a_time(sha256):
            completion = self.log.recorded(sha256)
            if completion is not None and meter.is_billed(sha256):
                return completion
            hold = meter.hold(most_it_costs(request, self.price))
            try:
                if completion is None:
                    completion = self._sent(request, sha256, meter, hold)
                hold.settle(self._bill(completion.usage), sha256)
            finally:
                hold.settle(Cost(llm_calls=1))  # a failure: the call is counted, and costs nothing that is known of
        return completion

    def _sent(self, request: CompletionRequest, sha256: str, meter: Meter, hold: Hold) -> Completion:
        redactor = current_redactor().with_secrets(str(getattr(self.client, "key", "")))
        with chat_span(request) as call:
            try:
                completion = self._tried(request, meter, hold, call)
            except _AnsweredMeanwhile as answered:
                return answered.completion
            except (ProviderError, BudgetExceededError) as error:
                error.args = tuple(redactor.value(list(error.args)))
                self.log.fail(sha256, f"{type(error).__name__}: {error}")
                raise
            usd = self._bill(completion.usage).usd
            clean = completion.redacted(redactor)
            call.answered(clean, usd)
        self.log.answer(sha256, clean, usd)
        return clean

    def _tried(self, request: CompletionRequest, meter: Meter, hold: Hold, call: Call) -> Completion:
        """Send a request, several times if need be; each sending is on record before."""

        def before_attempt(attempt: int) -> float | None:
            call.attempts = attempt
            hold.renew()  # The time may be up by now, waits between attempts included.
            found = self.log.intend(request, attempt)
            if found is not None:
                raise _AnsweredMeanwhile(found)
            return meter.seconds_left

        def after_fault(error: TransientProviderError) -> None:
            if error.maybe_billed:
                hold.doubt()

        def sleep(seconds: float) -> None:
            left = meter.seconds_left
            if left is not None and seconds >= left:
                raise BudgetExceededError(
                    f"budget for seconds is used up: {left:g} s left, and {seconds:g} s to wait before the next attempt; "
                    "raise the seconds limit to go on"
                )
            self._sleep(seconds)

        return complete_with_retries(
            self.client, request, self.settings, before_attempt=before_attempt, sleep=sleep, after_fault=after_fault
        )

    def _bill(self, usage: Usage) -> Cost:
        usd = None if self.price is None else self.price.usd(usage)
        return Cost(llm_calls=1, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, usd=usd)

    @contextmanager
    def _one_at_a_time(self, sha256: str) -> Iterator[None]:
        """Two threads with the same question: the second finds the answer of the first on record."""
        with self._lock:
            lock, waiting = self._asking.get(sha256, (threading.Lock(), 0))
            self._asking[sha256] = (lock, waiting + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                _, waiting = self._asking[sha256]
                if waiting == 1:
                    del self._asking[sha256]
                else:
                    self._asking[sha256] = (lock, waiting - 1)


def most_it_costs(request: CompletionRequest, price: Price | None) -> Cost:
    """The most that a request can cost: no token is shorter than a byte, and no answer longer than its limit."""
    texts = [request.system, json.dumps(request.answer_schema), *(message.text for message in request.messages)]
    framing = FRAMING_TOKENS * (len(request.messages) + 2)
    usage = Usage(
        input_tokens=sum(len(text.encode()) for text in texts) + framing,
        output_tokens=request.max_tokens,
    )
    usd = None if price is None else price.usd(usage)
    return Cost(llm_calls=1, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, usd=usd)


class _AnsweredMeanwhile(Exception):
    """Another process has recorded the answer to a request that was about to be sent."""

    def __init__(self, completion: Completion) -> None:
        super().__init__()
        self.completion = completion
