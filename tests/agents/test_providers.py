"""The real SDKs against a real HTTP server on loopback: every outcome, in every wire format, whole and streamed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.agents.fake_server import INPUT_TOKENS, OUTPUT_TOKENS, Question, Reply, good, in_turn, serving
from tests.agents.provider_rig import LIMIT_NAMES, PROMPT, SECRET, TEXAS, WAYS, Rig, RigMaker, Way, Word, rigs
from tracescribe.agents.budget import Budget, Meter
from tracescribe.agents.calls.call_log import CallAnswer, CallIntent, MemoryCallLog
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.providers import transport
from tracescribe.agents.providers.errors import (
    EmptyAnswerError,
    MalformedAnswerError,
    ProviderAccessError,
    ProviderConnectionError,
    ProviderCreditError,
    ProviderOverloadError,
    ProviderRateLimitError,
    ProviderRequestError,
    ProviderTimeoutError,
    RefusedAnswerError,
    TruncatedAnswerError,
)
from tracescribe.agents.providers.sdk_client import SdkClient
from tracescribe.agents.providers.settings import ProviderSettings, make_client
from tracescribe.tracer.errors import BudgetExceededError, ProviderError

CHAT, RESPONSES, MESSAGES = (Way("openai", False), Way("openai-responses", False), Way("anthropic", False))
every = pytest.mark.parametrize("way", WAYS, ids=str)
streamed = pytest.mark.parametrize("way", [way for way in WAYS if way.stream], ids=str)
whole = pytest.mark.parametrize("way", [way for way in WAYS if not way.stream], ids=str)
NEVER = 600.0
"""Seconds: an answer does not come while a test runs."""


def seen_by(made: Rig, calls: int) -> None:
    """The server has got so many requests, the last ones perhaps a moment after they were given up."""
    end = time.monotonic() + 300
    while made.server.calls < calls and time.monotonic() < end:
        time.sleep(0.005)
    assert made.server.calls == calls


@pytest.fixture
def rig() -> Iterator[RigMaker]:
    with rigs() as maker:
        yield maker


# -- success ----------------------------------------------------------------------------------------------------------


@every
def test_a_good_answer_is_validated_metered_and_on_record(rig: RigMaker, way: Way) -> None:
    made = rig(way, in_turn([TEXAS]), price_input=2.0, price_output=10.0)
    assert made.ask() == "Texas"
    assert (made.meter.llm_calls, made.meter.input_tokens, made.meter.output_tokens) == (1, INPUT_TOKENS, OUTPUT_TOKENS)
    usd = (INPUT_TOKENS * 2.0 + OUTPUT_TOKENS * 10.0) / 1e6
    assert made.meter.usd == pytest.approx(usd)
    assert made.ledger == ["intent 1", "answer stop"]
    intent, answer = made.log.events
    assert isinstance(intent, CallIntent) and isinstance(answer, CallAnswer)
    assert (intent.provider, intent.model, intent.template) == (way.wire, "fake-1", "sample@1.0.0")
    assert answer.usd == pytest.approx(usd) and answer.completion.seconds > 0
    assert json.loads(answer.completion.text) == {"word": "Texas"}
    question = made.server.questions[0]
    assert question.system == "Be brief." and question.user == "Which word?"
    assert question.headers["authorization"] == f"Bearer {SECRET}"
    assert question.headers["idempotency-key"] == intent.idempotency_key
    assert bool(question.body.get("stream")) == way.stream
    assert question.headers["accept-encoding"] == "identity"


@every
def test_a_recorded_answer_is_never_paid_for_again(rig: RigMaker, way: Way) -> None:
    made = rig(way, in_turn([TEXAS]))
    assert [made.ask(), made.ask(), made.ask()] == ["Texas"] * 3
    assert made.server.calls == 1 and made.ledger == ["intent 1", "answer stop"]
    assert made.meter.llm_calls == 1, "nor is it billed twice to one run"
    other = Meter(Budget())
    assert made.session.ask(PROMPT, Word, other).word == "Texas"
    assert other.llm_calls == 1, "a report tells what it cost to make, whichever run paid"


@every
def test_the_intent_is_on_record_before_the_request_arrives(rig: RigMaker, way: Way) -> None:
    log = MemoryCallLog()
    seen: list[list[str]] = []

    def script(_: object) -> Reply:
        seen.append([event.event for event in log.events])
        return TEXAS

    rig(way, script, log=log).ask()
    assert seen == [["intent"]]


@every
def test_a_server_that_tells_no_tokens_is_billed_by_an_estimate(rig: RigMaker, way: Way) -> None:
    made = rig(way, in_turn([Reply(text='{"word": "Texas"}', usage=None)]), price_input=1.0, price_output=1.0)
    if way.wire == "anthropic" and way.stream:
        return  # its streams always tell
    assert made.ask() == "Texas"
    answer = made.log.events[-1]
    assert isinstance(answer, CallAnswer) and answer.completion.usage.estimated
    assert made.meter.input_tokens > 0 and made.meter.output_tokens > 0 and (made.meter.usd or 0) > 0


# -- faults that may pass ---------------------------------------------------------------------------------------------


@every
def test_a_rate_limit_waits_as_long_as_it_is_told(rig: RigMaker, way: Way) -> None:
    busy = Reply(status=429, text="slow down", headers={"retry-after": "7"})
    made = rig(way, in_turn([busy, Reply(status=429, headers={"retry-after-ms": "250"}), TEXAS]))
    assert made.ask() == "Texas"
    assert made.waits == [7.0, 0.25] and made.server.calls == 3
    assert made.ledger == ["intent 1", "intent 2", "intent 3", "answer stop"]
    assert list(made.server.sent.values()) == [3], "one key for every attempt"
    assert made.meter.llm_calls == 1 and made.meter.doubtful_tokens == 0


@every
def test_a_wait_beyond_all_patience_is_given_up_at_once(rig: RigMaker, way: Way) -> None:
    made = rig(way, in_turn([Reply(status=429, text="come back tomorrow", headers={"retry-after": "86400"})]))
    with pytest.raises(ProviderRateLimitError, match=r"come back tomorrow \(it asks to wait 86400 s, and at most 60 s"):
        made.ask()
    assert made.waits == [] and made.server.calls == 1
    assert made.ledger == ["intent 1", "failure ProviderRateLimitError"]


@every
@pytest.mark.parametrize("status", [500, 529])
def test_a_server_fault_passes(rig: RigMaker, way: Way, status: int) -> None:
    made = rig(way, in_turn([Reply(status=status, text="oops"), TEXAS]))
    assert made.ask() == "Texas"
    assert made.waits == [1.0] and made.server.calls == 2
    assert made.ledger == ["intent 1", "intent 2", "answer stop"]


@every
def test_a_server_that_stays_broken_is_a_failure_after_four_attempts(rig: RigMaker, way: Way) -> None:
    made = rig(way, lambda _: Reply(status=500, text="oops"))
    with pytest.raises(ProviderOverloadError, match=r"status 500: oops \(given up after 4 attempts\)"):
        made.ask()
    assert made.waits == [1.0, 2.0, 4.0] and made.server.calls == 4
    assert made.ledger == ["intent 1", "intent 2", "intent 3", "intent 4", "failure ProviderOverloadError"]
    assert (made.meter.llm_calls, made.meter.input_tokens, made.meter.output_tokens) == (1, 0, 0)


@every
def test_a_slow_answer_is_a_timeout_that_may_have_been_billed(rig: RigMaker, way: Way) -> None:
    made = rig(way, lambda _: Reply(text="{}", delay=NEVER), timeout_seconds=0.3, max_attempts=2)
    with pytest.raises(ProviderTimeoutError, match=r"no answer within 0\.[0-9]+ s"):
        made.ask()
    seen_by(made, 2)
    assert made.ledger == ["intent 1", "intent 2", "failure ProviderTimeoutError"]
    assert made.meter.input_tokens == 0 and made.meter.doubtful_tokens >= 2 * made.settings.max_tokens


@every
def test_an_answer_that_trickles_in_ends_with_the_time(rig: RigMaker, way: Way) -> None:
    made = rig(way, lambda _: Reply(text='{"word": "Texas"}', trickle=0.15), max_attempts=1)
    now = [0.0]
    made.meter = Meter(Budget(seconds=0.4), clock=lambda: now[0])
    with pytest.raises(ProviderTimeoutError):
        made.ask()
    assert made.ledger == ["intent 1", "failure ProviderTimeoutError"]
    now[0] = 1.0
    with pytest.raises(BudgetExceededError, match="seconds"):
        made.ask("Another?")
    seen_by(made, 1)


@every
def test_a_server_that_only_keeps_the_line_open_is_given_up_without_any_limit_on_the_run(
    rig: RigMaker, way: Way
) -> None:
    slow = Reply(text='{"word": "Texas"}', trickle=0.2)
    made = rig(way, lambda _: slow, timeout_seconds=0.3, max_attempts=1, budget=Budget(seconds=None))
    with pytest.raises(ProviderTimeoutError):  # a silence of 0.3 s never comes, yet the attempt ends
        made.ask()
    assert made.ledger == ["intent 1", "failure ProviderTimeoutError"] and made.meter.doubtful_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_headers_that_trickle_in_end_with_the_attempt_too(rig: RigMaker, stream: bool) -> None:
    slow = Reply(text='{"word": "Texas"}', trickle=0.2, trickle_head=20)
    made = rig(Way("openai", stream), lambda _: slow, timeout_seconds=0.3, max_attempts=1, budget=Budget(seconds=None))
    with pytest.raises(ProviderTimeoutError, match="no answer within"):
        made.ask()
    assert made.ledger == ["intent 1", "failure ProviderTimeoutError"] and made.meter.doubtful_tokens > 0


@every
def test_an_attempt_waits_no_longer_than_the_time_that_is_left(rig: RigMaker, way: Way) -> None:
    made = rig(way, lambda _: Reply(text="{}", delay=NEVER), timeout_seconds=300, max_attempts=1)
    made.meter = Meter(Budget(seconds=0.1), clock=lambda: 0.0)
    with pytest.raises(ProviderTimeoutError, match="no answer within 0.1 s"):
        made.ask()
    assert made.ledger == ["intent 1", "failure ProviderTimeoutError"]


@whole
def test_a_wait_beyond_the_time_that_is_left_is_not_waited(rig: RigMaker, way: Way) -> None:
    busy = Reply(status=429, text="slow down", headers={"retry-after": "40"})
    made = rig(way, lambda _: busy, budget=Budget(seconds=30))
    with pytest.raises(BudgetExceededError, match="40 s to wait before the next attempt"):
        made.ask()
    assert made.waits == [] and made.ledger == ["intent 1", "failure BudgetExceededError"]


@every
def test_a_connection_that_breaks_off_is_tried_again(rig: RigMaker, way: Way) -> None:
    made = rig(way, in_turn([Reply(text='{"word": "Nevada"}', drop=True), TEXAS]))
    assert made.ask() == "Texas", "never half an answer"
    assert made.server.calls == 2 and list(made.server.sent.values()) == [2]
    assert made.ledger == ["intent 1", "intent 2", "answer stop"]
    assert made.meter.llm_calls == 1 and made.meter.doubtful_tokens > 0
    never = rig(way, lambda _: Reply(text='{"word": "Nevada"}', drop=True), max_attempts=2)
    with pytest.raises(ProviderConnectionError):
        never.ask()
    assert never.ledger == ["intent 1", "intent 2", "failure ProviderConnectionError"]


@streamed
def test_a_stream_that_ends_early_without_a_word_is_no_answer(rig: RigMaker, way: Way) -> None:
    first = {
        "openai": b'data: {"id": "1", "choices": [{"index": 0, "delta": {"content": "{\\"word\\": \\"Texas\\"}"}}]}\n\n',
        "openai-responses": b'event: response.created\ndata: {"type": "response.created", "response": {}}\n\n',
        "anthropic": b'event: ping\ndata: {"type": "ping"}\n\n',
    }[way.wire]
    made = rig(way, in_turn([Reply(raw=first, headers={"content-type": "text/event-stream"}), TEXAS]))
    assert made.ask() == "Texas"
    assert made.ledger == ["intent 1", "intent 2", "answer stop"]
    cut = rig(way, lambda _: Reply(raw=first), max_attempts=1)
    with pytest.raises(ProviderConnectionError, match="the stream broke off before the answer ended"):
        cut.ask()


@streamed
@pytest.mark.parametrize(
    ("fault", "kind"),
    [("server_error", ProviderOverloadError), ("overloaded_error", ProviderOverloadError),
     ("rate_limit_exceeded", ProviderRateLimitError), ("something_else", ProviderConnectionError)],
)  # fmt: skip
def test_a_fault_told_in_mid_stream_is_tried_again(
    rig: RigMaker, way: Way, fault: str, kind: type[ProviderError]
) -> None:
    broken = Reply(text='{"word": "Nevada"}', fault=fault)
    made = rig(way, in_turn([broken, TEXAS]))
    assert made.ask() == "Texas" and made.ledger == ["intent 1", "intent 2", "answer stop"]
    never = rig(way, lambda _: broken, max_attempts=1)
    with pytest.raises(kind, match="a fault in mid-stream"):
        never.ask()


@every
def test_nobody_there_is_a_connection_error_that_cost_nothing(way: Way) -> None:
    with serving(lambda _: TEXAS) as server:
        url = server.url(way.wire)
    settings = ProviderSettings.of(
        environment={}, provider=way.wire, model="m", base_url=url, max_attempts=1, stream=way.stream
    )
    client, log, meter = make_client(settings, {}), MemoryCallLog(), Meter(Budget())
    with pytest.raises(ProviderConnectionError, match="connection failed"):
        LlmSession(settings, client, log).ask(PROMPT, Word, meter)
    client.close()
    assert [event.event for event in log.events] == ["intent", "failure"] and meter.doubtful_tokens == 0


# -- answers that cannot be used --------------------------------------------------------------------------------------


@every
def test_a_truncated_answer_is_asked_once_more_with_twice_the_room(rig: RigMaker, way: Way) -> None:
    cut = Reply(text='{"wor', finish="length")
    made = rig(way, in_turn([cut, TEXAS]), max_tokens=100)
    assert made.ask() == "Texas"
    assert [question.body[LIMIT_NAMES[way.wire]] for question in made.server.questions] == [100, 200]
    assert made.ledger == ["intent 1", "answer length", "intent 1", "answer stop"]
    assert len(made.server.sent) == 2, "another request has another key"
    never = rig(way, in_turn([cut, cut]), max_tokens=100)
    with pytest.raises(TruncatedAnswerError, match="cut off by the token limit"):
        never.ask()
    assert never.server.calls == 2 and never.ledger == ["intent 1", "answer length"] * 2


@every
def test_a_refusal_is_a_failure_at_once(rig: RigMaker, way: Way) -> None:
    made = rig(way, in_turn([Reply(text="I would rather not.", finish="refusal")]))
    with pytest.raises(RefusedAnswerError, match="declined to answer: I would rather not"):
        made.ask()
    assert made.server.calls == 1 and made.ledger == ["intent 1", "answer refusal"]
    assert made.meter.output_tokens == OUTPUT_TOKENS, "a refusal is paid for"


@every
def test_an_empty_answer_is_asked_for_again(rig: RigMaker, way: Way) -> None:
    made = rig(way, in_turn([Reply(), Reply(), TEXAS]))
    assert made.ask() == "Texas" and made.ledger == ["intent 1", "answer stop"] * 3
    empty = rig(way, lambda _: Reply())
    with pytest.raises(EmptyAnswerError, match="after 2 repairs"):
        empty.ask()
    assert empty.server.calls == 3


@every
def test_malformed_json_is_repaired_with_the_fault_shown(rig: RigMaker, way: Way) -> None:
    made = rig(way, in_turn([Reply(text='{"word": "Tex'), TEXAS]))
    assert made.ask() == "Texas" and made.ledger == ["intent 1", "answer stop"] * 2
    turns = made.server.questions[1].turns
    assert turns[0] == "Which word?" and turns[1] == '{"word": "Tex'
    assert "does not fit Word" in turns[2] and "<<<DATA-" in turns[2] and "repair 1 of at most 2" in turns[2]


@every
def test_a_wrong_schema_three_times_is_a_failure(rig: RigMaker, way: Way) -> None:
    made = rig(way, lambda _: good({"word": "far too long a word", "mood": 1}))
    with pytest.raises(
        MalformedAnswerError, match=r"word: String should have at most 10.*mood: Extra.*after 2 repairs"
    ):
        made.ask()
    assert made.server.calls == made.meter.llm_calls == 3
    assert made.ledger == ["intent 1", "answer stop"] * 3


@pytest.mark.parametrize(
    "text",
    [
        'Sure!\n```json\n{"word": "Texas"}\n```\nAnything else?',
        '<think>perhaps {"word": "Nevada"}? {no}</think>\n{"word": "Texas"}',
        'Of the form {"n": 1}: {"word": "Texas"} and {} to end',
        '{"word": "Texas"} {"word": "Utah"}',
    ],
)
def test_json_between_words_is_found(rig: RigMaker, text: str) -> None:
    assert rig(CHAT, in_turn([Reply(text=text)])).ask() == "Texas"


@pytest.mark.parametrize(
    "text",
    ["{" * 100_000, '{"a":' * 50_000, "[" * 100_000, "{}" * 50_000, "null", "NaN", '{"broken": [{"word": "Texas"}'],
)
def test_hostile_json_is_malformed_and_no_crash(rig: RigMaker, text: str) -> None:
    made = rig(CHAT, lambda _: Reply(text=text), max_repairs=0)
    with pytest.raises(MalformedAnswerError):
        made.ask()
    assert made.ledger == ["intent 1", "answer stop"]


# -- requests that are refused, servers that speak otherwise ----------------------------------------------------------


@whole
@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_told_without_the_servers_words(rig: RigMaker, way: Way, status: int) -> None:
    made = rig(way, in_turn([Reply(status=status, text=f"bad key {SECRET}")]))
    with pytest.raises(ProviderAccessError, match="check the key"):
        made.ask()
    assert made.server.calls == 1 and made.ledger == ["intent 1", "failure ProviderAccessError"]


@whole
@pytest.mark.parametrize("status", [307, 400, 404, 422])
def test_a_refused_request_is_not_sent_again(rig: RigMaker, way: Way, status: int) -> None:
    there = {"location": "http://127.0.0.1:9/elsewhere"} if status == 307 else {}
    made = rig(way, lambda _: Reply(status=status, text="no such model", headers=there))
    with pytest.raises(ProviderRequestError, match=f"status {status}, the request was refused: no such model"):
        made.ask()
    assert made.server.calls == 1 and made.waits == []
    kind = "ProviderModelError" if status == 404 else "ProviderRequestError"
    assert made.ledger == ["intent 1", f"failure {kind}"]


NO_CREDIT = [
    (402, {"message": "pay first", "type": "x"}),
    (429, {"message": "You exceeded your current quota", "type": "q", "code": "insufficient_quota"}),
    (400, {"message": "Your credit balance is too low to access the API", "type": "invalid_request_error"}),
]


@whole
@pytest.mark.parametrize(("status", "told"), NO_CREDIT)
def test_an_account_without_credit_is_not_asked_again(
    rig: RigMaker, way: Way, status: int, told: dict[str, str]
) -> None:
    made = rig(way, lambda _: Reply(status=status, raw=json.dumps({"error": told}).encode()))
    with pytest.raises(ProviderCreditError, match="credit or quota is used up"):
        made.ask()
    assert made.server.calls == 1 and made.ledger == ["intent 1", "failure ProviderCreditError"]


NO_ANSWERS = [
    b"<html>gateway</html>", b"{}", b'"text"', b"null", b'{"choices": []}', b'{"choices": [null]}', b"", b"\x00\xff",
    b'{"choices": null, "content": null, "output": null, "status": "completed", "usage": null, "model": null}',
    b'{"choices": [{"message": {"content": [{"a": 1}]}}], "content": [1], "output": [1], "status": "completed"}',
]  # fmt: skip
PYTHON = ("object has no attribute", "NoneType", "not supported between", "validation error", "Traceback", "Expecting")


@every
def test_a_200_that_is_no_answer_is_tried_again_in_every_format(rig: RigMaker, way: Way) -> None:
    made = rig(way, in_turn([Reply(raw=raw) for raw in NO_ANSWERS for _ in range(4)]))
    for number in range(len(NO_ANSWERS)):
        before = made.meter.doubtful_tokens
        with pytest.raises(ProviderConnectionError, match="given up after 4 attempts") as caught:
            made.ask(str(number))
        said = str(caught.value)
        assert "\n" not in said and "fake-1" in said and not any(word in said for word in PYTHON), said
        assert made.meter.doubtful_tokens - before >= 4 * made.settings.max_tokens, "it may have been billed"
    outcome = ["intent 1", "intent 2", "intent 3", "intent 4", "failure ProviderConnectionError"]
    assert made.ledger == outcome * len(NO_ANSWERS)


@pytest.mark.parametrize("way", [CHAT, MESSAGES], ids=str)
def test_a_list_of_models_that_is_none_is_told_in_plain_words(rig: RigMaker, way: Way) -> None:
    made = rig(way, in_turn([]))
    assert isinstance(made.client, SdkClient) and made.client.models() == ("fake-1",)
    for raw in NO_ANSWERS:
        made.server.models_raw = raw
        said = ""
        try:
            assert made.client.models() == (), "an empty list is one, too"
        except ProviderConnectionError as error:
            said = str(error)
        assert not any(word in said for word in PYTHON), said
        assert said or not raw.startswith(b"<"), "a page is no list"


@every
def test_one_page_of_a_proxy_does_not_end_a_round_of_questions(rig: RigMaker, way: Way) -> None:
    page = Reply(raw=b"<html>gateway</html>")
    made = rig(way, lambda question: page if question.user == "1" else TEXAS, max_attempts=1, concurrency=1)
    prompts = [PROMPT.model_copy(update={"user": str(number)}) for number in range(4)]
    answers = made.session.ask_all(prompts, Word, made.meter)
    assert [isinstance(answer, Word) for answer in answers] == [True, False, True, True]


ODD_USAGE: list[object] = ["many", -5, [1], {"a": 1}, 1.5, 10**30, None]


@every
def test_nonsense_in_the_bill_never_costs_the_answer(rig: RigMaker, way: Way) -> None:
    replies = [Reply(text='{"word": "Texas"}', usage=(odd, odd)) for odd in ODD_USAGE]
    made = rig(way, in_turn(replies), price_input=1.0, price_output=1.0)
    for number, odd in enumerate(ODD_USAGE):
        assert made.ask(str(number)) == "Texas"
        answer = made.log.events[-1]
        assert isinstance(answer, CallAnswer) and answer.completion.usage.estimated, odd
        assert answer.completion.usage.output_tokens == 6 and 0 < answer.completion.usage.input_tokens < 100
    assert made.ledger == ["intent 1", "answer stop"] * len(ODD_USAGE)


@every
def test_an_html_error_page_is_one_short_line(rig: RigMaker, way: Way) -> None:
    page = b"<html><body><h1>502 Bad Gateway</h1>" + b"<p>\n</p>" * 500 + b"</body></html>"
    made = rig(way, lambda _: Reply(status=502, raw=page), max_attempts=1)
    with pytest.raises(ProviderOverloadError, match="status 502") as caught:
        made.ask()
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


@every
def test_a_huge_body_is_not_read_on(rig: RigMaker, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 1 << 20)
    made = rig(way, lambda _: Reply(text="x" * (3 << 20)), max_attempts=1)
    with pytest.raises(ProviderConnectionError, match="the answer is larger than 1 MiB and was not read on"):
        made.ask()
    assert made.ledger == ["intent 1", "failure ProviderConnectionError"]


@whole
def test_a_compressed_answer_is_refused_before_it_is_unpacked(rig: RigMaker, way: Way) -> None:
    made = rig(way, lambda _: Reply(raw=b"\x1f\x8b", headers={"content-encoding": "gzip"}), max_attempts=1)
    with pytest.raises(ProviderConnectionError, match="compressed"):
        made.ask()


# -- what each format asks, and what it gives up ----------------------------------------------------------------------


def test_every_format_is_asked_in_its_schema_mode(rig: RigMaker) -> None:
    schema = {
        "type": "object",
        "properties": {"word": {"type": "string"}},
        "required": ["word"],
        "additionalProperties": False,
        "description": "The answer that these tests ask for.",
    }
    bodies = {}
    for way in (CHAT, RESPONSES, MESSAGES):
        made = rig(way, in_turn([TEXAS]))
        made.ask()
        bodies[way.wire] = made.server.questions[0].body
    chat = bodies["openai"]["response_format"]["json_schema"]
    assert chat == {"name": "Word", "schema": schema, "strict": True} and bodies["openai"]["temperature"] == 0
    shape = bodies["openai-responses"]["text"]["format"]
    assert shape == {"type": "json_schema", "name": "Word", "schema": schema, "strict": True}
    assert bodies["openai-responses"]["store"] is False and bodies["openai-responses"]["temperature"] == 0
    assert bodies["anthropic"]["output_config"]["format"] == {"type": "json_schema", "schema": schema}
    assert "temperature" not in bodies["anthropic"] and "tool_choice" not in bodies["anthropic"]


@pytest.mark.parametrize("stream", [False, True])
def test_openai_servers_that_refuse_parameters_are_met_half_way(rig: RigMaker, stream: bool) -> None:
    def script(question: Question) -> Reply:
        body = question.body
        if "stream_options" in body:
            return Reply(status=400, text="unknown field: stream_options")
        if "temperature" in body:
            return Reply(status=400, text="Unsupported value: 'temperature' does not support 0 with this model.")
        if "max_tokens" in body:
            return Reply(status=400, text="'max_tokens' is not supported. Use 'max_completion_tokens' instead.")
        kind = body.get("response_format", {}).get("type")
        if kind == "json_schema":
            return Reply(status=400, text="response_format json_schema is not supported")
        return TEXAS

    made = rig(Way("openai", stream), script)
    assert made.ask() == "Texas"
    last = made.server.questions[-1]
    assert last.body["response_format"] == {"type": "json_object"} and "max_completion_tokens" in last.body
    assert '"additionalProperties": false' in last.system, "without a schema mode the schema stands in the prompt"
    forms = 5 if stream else 4
    assert made.server.calls == forms and made.meter.llm_calls == 1 and made.ledger == ["intent 1", "answer stop"]
    assert len(made.server.sent) == forms, "a changed body does not go under the key of the refused one"
    made.ask("Another?")
    assert made.server.calls == forms + 1, "what a server refuses is learnt once"


def test_responses_servers_that_refuse_parameters_are_met_half_way(rig: RigMaker) -> None:
    def script(question: Question) -> Reply:
        if "temperature" in question.body:
            return Reply(status=400, text="Unsupported parameter: 'temperature'")
        if question.body.get("text", {}).get("format", {}).get("type") == "json_schema":
            return Reply(status=400, text="Invalid 'text.format': json_schema is not supported with this model")
        return TEXAS

    made = rig(RESPONSES, script)
    assert made.ask() == "Texas" and made.server.calls == 3
    assert made.server.questions[-1].body["text"] == {"format": {"type": "json_object"}}
    assert '"additionalProperties": false' in made.server.questions[-1].system


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_models_without_output_formats_get_a_tool_and_then_words(rig: RigMaker, stream: bool) -> None:
    def script(question: Question) -> Reply:
        refused = "output_config" in question.body
        return Reply(status=400, text="output_config: Extra inputs are not permitted") if refused else TEXAS

    way = Way("anthropic", stream)
    made = rig(way, script)
    assert made.ask() == "Texas"
    assert made.server.questions[-1].body["tool_choice"] == {"type": "tool", "name": "Word"}

    def stricter(question: Question) -> Reply:
        refused = "tools" in question.body
        return Reply(status=400, text="tool_choice: forced tool use is not supported") if refused else script(question)

    worded = rig(way, stricter)
    assert worded.ask() == "Texas" and worded.server.calls == 3
    assert '"additionalProperties": false' in worded.server.questions[-1].system


def test_a_request_hash_tells_servers_models_formats_and_words_apart(rig: RigMaker) -> None:
    log = MemoryCallLog()
    first = rig(CHAT, lambda _: TEXAS, log=log)
    second = rig(CHAT, lambda _: TEXAS, log=log)
    url = first.server.url("openai")
    third = rig(CHAT, lambda _: TEXAS, log=log, model="fake-2", base_url=url)
    fourth = rig(RESPONSES, lambda _: TEXAS, log=log, base_url=url)
    for made in (first, second, third, fourth):
        made.ask()
    first.session.ask(PROMPT.model_copy(update={"system": "Be long."}), Word, first.meter)
    assert (first.server.calls, second.server.calls) == (4, 1)
    assert len(first.server.sent) == 4
    streaming = rig(Way("openai", True), lambda _: TEXAS, log=log, base_url=url)
    streaming.ask()
    assert first.server.calls == 4, "a recorded answer is the same answer, streamed or not"
