"""The real SDKs against a real HTTP server on loopback: every outcome that a provider can have."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ConfigDict, Field

from tests.agents.fake_server import (
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    FakeServer,
    Question,
    Reply,
    Script,
    Wire,
    good,
    in_turn,
    serving,
)
from tracescribe.agents.budget import Budget, Meter
from tracescribe.agents.call_log import CallFailure, CallIntent, MemoryCallLog
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.providers.errors import (
    EmptyAnswerError,
    MalformedAnswerError,
    ProviderAccessError,
    ProviderConnectionError,
    ProviderOverloadError,
    ProviderRateLimitError,
    ProviderRequestError,
    ProviderSetupError,
    ProviderTimeoutError,
    RefusedAnswerError,
    TruncatedAnswerError,
)
from tracescribe.agents.providers.settings import ProviderSettings, make_client
from tracescribe.prompts.template import RenderedPrompt
from tracescribe.tracer.errors import BudgetExceededError, ProviderError

SECRET = "sk-test-0123456789abcdefSECRET"
WIRES: tuple[Wire, ...] = ("openai", "anthropic")
both = pytest.mark.parametrize("wire", WIRES)


class Word(BaseModel):
    """The answer that these tests ask for."""

    model_config = ConfigDict(extra="forbid")
    word: str = Field(min_length=1, max_length=10)


PROMPT = RenderedPrompt(
    template="sample@1.0.0", template_sha256="0" * 64, output_schema="Word", system="Be brief.", user="Which word?"
)
TEXAS = good({"word": "Texas"})


class Rig:
    """A session on a fake server, which sleeps in name only."""

    def __init__(self, server: FakeServer, wire: Wire, budget: Budget, log: MemoryCallLog | None, **given: object):
        self.server = server
        self.waits: list[float] = []
        self.log = log or MemoryCallLog()
        self.meter = Meter(budget)
        fields: dict[str, object] = {"provider": wire, "model": "fake-1", "base_url": server.url(wire), **given}
        self.settings = ProviderSettings.of(environment={}, **fields)
        self.client = make_client(self.settings, {"TRACESCRIBE_LLM_API_KEY": SECRET})
        self.session = LlmSession(self.settings, self.client, self.log, sleep=self.waits.append)

    def ask(self) -> str:
        """The word that the model answers with."""
        return self.session.ask(PROMPT, Word, self.meter).word


class RigMaker:
    """Makes rigs, and stops their servers when the test ends."""

    def __init__(self) -> None:
        self._stack: list[FakeServer] = []
        self._rigs: list[Rig] = []

    def __call__(
        self,
        wire: Wire,
        script: Script,
        *,
        budget: Budget | None = None,
        log: MemoryCallLog | None = None,
        **given: object,
    ) -> Rig:
        server = FakeServer(script)
        server.start()
        self._stack.append(server)
        rig = Rig(server, wire, budget or Budget(), log, **given)
        self._rigs.append(rig)
        return rig

    def stop(self) -> None:
        """End all servers and clients."""
        for rig in self._rigs:
            rig.client.close()
        for server in self._stack:
            server.stop()


@pytest.fixture
def rig() -> Iterator[RigMaker]:
    maker = RigMaker()
    yield maker
    maker.stop()


@both
def test_a_good_answer_is_validated_metered_and_on_record(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, in_turn([TEXAS]))
    assert made.ask() == "Texas"
    assert (made.meter.llm_calls, made.meter.input_tokens, made.meter.output_tokens) == (1, INPUT_TOKENS, OUTPUT_TOKENS)
    assert [event.event for event in made.log.events] == ["intent", "answer"]
    question = made.server.questions[0]
    assert question.system == "Be brief." and question.user == "Which word?"
    assert question.headers["authorization"] == f"Bearer {SECRET}"


def test_openai_is_asked_in_schema_mode(rig: RigMaker) -> None:
    made = rig("openai", in_turn([TEXAS]))
    made.ask()
    body = made.server.questions[0].body
    shape = body["response_format"]["json_schema"]
    assert body["temperature"] == 0 and shape["strict"] is True and shape["name"] == "Word"
    assert shape["schema"] == {
        "type": "object",
        "properties": {"word": {"type": "string"}},
        "required": ["word"],
        "additionalProperties": False,
        "description": "The answer that these tests ask for.",
    }


def test_anthropic_is_asked_in_schema_mode_and_without_temperature(rig: RigMaker) -> None:
    made = rig("anthropic", in_turn([TEXAS]))
    made.ask()
    body = made.server.questions[0].body
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert "temperature" not in body and "tool_choice" not in body


@both
def test_a_recorded_answer_is_never_paid_for_again(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, in_turn([TEXAS]))
    assert [made.ask(), made.ask(), made.ask()] == ["Texas"] * 3
    assert made.server.calls == 1
    assert made.meter.llm_calls == 1, "nor is it billed twice to one run"
    other = Meter(Budget())
    assert made.session.ask(PROMPT, Word, other).word == "Texas"
    assert other.llm_calls == 1, "a report tells what it cost to make, whichever run paid"


@both
def test_the_intent_is_on_record_before_the_request_arrives(rig: RigMaker, wire: Wire) -> None:
    log = MemoryCallLog()
    seen: list[list[str]] = []

    def script(_: object) -> Reply:
        seen.append([event.event for event in log.events])
        return TEXAS

    rig(wire, script, log=log).ask()
    assert seen == [["intent"]]


@both
def test_a_rate_limit_waits_as_long_as_it_is_told(rig: RigMaker, wire: Wire) -> None:
    busy = Reply(status=429, text="slow down", headers={"retry-after": "7"})
    made = rig(wire, in_turn([busy, Reply(status=429, headers={"retry-after-ms": "250"}), TEXAS]))
    assert made.ask() == "Texas"
    assert made.waits == [7.0, 0.25] and made.server.calls == 3
    assert [event.attempt for event in made.log.events if isinstance(event, CallIntent)] == [1, 2, 3]


@both
def test_a_wait_beyond_all_patience_is_given_up_at_once(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, in_turn([Reply(status=429, text="come back tomorrow", headers={"retry-after": "86400"})]))
    with pytest.raises(ProviderRateLimitError, match=r"come back tomorrow \(it asks to wait 86400 s, and at most 60 s"):
        made.ask()
    assert made.waits == [] and made.server.calls == 1


@both
@pytest.mark.parametrize("status", [500, 503, 529])
def test_a_server_fault_passes(rig: RigMaker, wire: Wire, status: int) -> None:
    made = rig(wire, in_turn([Reply(status=status, text="oops"), TEXAS]))
    assert made.ask() == "Texas"
    assert made.waits == [1.0] and made.server.calls == 2


@both
def test_a_server_that_stays_broken_is_a_failure_after_four_attempts(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, lambda _: Reply(status=500, text="oops"))
    with pytest.raises(ProviderOverloadError, match=r"status 500: oops \(given up after 4 attempts\)"):
        made.ask()
    assert made.waits == [1.0, 2.0, 4.0] and made.server.calls == 4
    assert isinstance(made.log.events[-1], CallFailure)
    assert (made.meter.llm_calls, made.meter.input_tokens, made.meter.output_tokens) == (1, 0, 0)


@both
def test_a_slow_answer_is_a_timeout(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, lambda _: Reply(text="{}", delay=1.0), timeout_seconds=0.1, max_attempts=2)
    started = time.monotonic()
    with pytest.raises(ProviderTimeoutError, match="no answer within 0.1 s"):
        made.ask()
    assert made.server.calls == 2 and time.monotonic() - started < 5


@both
def test_a_connection_that_breaks_off_is_tried_again(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, in_turn([Reply(text='{"word": "Texas"}', drop=True), TEXAS]))
    assert made.ask() == "Texas"
    assert made.server.calls == 2


@both
def test_nobody_there_is_a_connection_error(wire: Wire) -> None:
    with serving(lambda _: TEXAS) as server:
        url = server.url(wire)
    settings = ProviderSettings.of(environment={}, provider=wire, model="m", base_url=url, max_attempts=1)
    client = make_client(settings, {})
    with pytest.raises(ProviderConnectionError, match="connection failed"):
        LlmSession(settings, client, MemoryCallLog()).ask(PROMPT, Word, Meter(Budget()))
    client.close()


@both
def test_a_truncated_answer_is_asked_once_more_with_twice_the_room(rig: RigMaker, wire: Wire) -> None:
    cut = Reply(text='{"wor', finish="length")
    made = rig(wire, in_turn([cut, TEXAS]), max_tokens=100)
    assert made.ask() == "Texas"
    limits = [question.body["max_tokens"] for question in made.server.questions]
    assert limits == [100, 200]
    never = rig(wire, in_turn([cut, cut]), max_tokens=100)
    with pytest.raises(TruncatedAnswerError, match="cut off by the token limit"):
        never.ask()
    assert never.server.calls == 2


@both
def test_a_refusal_is_a_failure_at_once(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, in_turn([Reply(text="I would rather not.", finish="refusal")]))
    with pytest.raises(RefusedAnswerError, match="declined to answer: I would rather not"):
        made.ask()
    assert made.server.calls == 1
    assert made.meter.output_tokens == OUTPUT_TOKENS, "a refusal is paid for"


@both
def test_an_empty_answer_is_asked_for_again(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, in_turn([Reply(), Reply(), TEXAS]))
    assert made.ask() == "Texas"
    empty = rig(wire, lambda _: Reply())
    with pytest.raises(EmptyAnswerError, match="after 2 repairs"):
        empty.ask()
    assert empty.server.calls == 3


@both
def test_malformed_json_is_repaired_with_the_fault_shown(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, in_turn([Reply(text='{"word": "Tex'), TEXAS]))
    assert made.ask() == "Texas"
    turns = made.server.questions[1].turns
    assert turns[0] == "Which word?" and turns[1] == '{"word": "Tex'
    assert "does not fit Word" in turns[2] and "<<<DATA-" in turns[2] and "repair 1 of at most 2" in turns[2]


@both
def test_a_wrong_schema_three_times_is_a_failure(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, lambda _: good({"word": "far too long a word", "mood": 1}))
    with pytest.raises(
        MalformedAnswerError, match=r"word: String should have at most 10.*mood: Extra.*after 2 repairs"
    ):
        made.ask()
    assert made.server.calls == 3 and made.meter.llm_calls == 3


@both
def test_json_between_words_is_found(rig: RigMaker, wire: Wire) -> None:
    made = rig(wire, in_turn([Reply(text='Sure!\n```json\n{"word": "Texas"}\n```\nAnything else?')]))
    assert made.ask() == "Texas"


@both
@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_told_without_the_servers_words(rig: RigMaker, wire: Wire, status: int) -> None:
    made = rig(wire, in_turn([Reply(status=status, text=f"bad key {SECRET}")]))
    with pytest.raises(ProviderAccessError, match="check the key"):
        made.ask()
    assert made.server.calls == 1


@both
@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refused_request_is_not_sent_again(rig: RigMaker, wire: Wire, status: int) -> None:
    made = rig(wire, lambda _: Reply(status=status, text="no such model"))
    with pytest.raises(ProviderRequestError, match=f"status {status}, the request was refused: no such model"):
        made.ask()
    assert made.server.calls == 1 and made.waits == []


@both
@pytest.mark.parametrize("raw", [b"<html>gateway</html>", b"{}", b'"text"', b"null", b'{"choices": []}'])
def test_a_reply_of_another_protocol_is_a_provider_error(rig: RigMaker, wire: Wire, raw: bytes) -> None:
    made = rig(wire, lambda _: Reply(raw=raw), max_attempts=1)
    with pytest.raises(ProviderError) as caught:
        made.ask()
    assert "\n" not in str(caught.value) and "fake-1" in str(caught.value)


def test_openai_servers_that_refuse_parameters_are_met_half_way(rig: RigMaker) -> None:
    def script(question: Question) -> Reply:
        body = question.body
        if "temperature" in body:
            return Reply(status=400, text="Unsupported value: 'temperature' does not support 0 with this model.")
        if "max_tokens" in body:
            return Reply(status=400, text="'max_tokens' is not supported. Use 'max_completion_tokens' instead.")
        kind = body.get("response_format", {}).get("type")
        if kind == "json_schema":
            return Reply(status=400, text="response_format json_schema is not supported")
        return TEXAS

    made = rig("openai", script)
    assert made.ask() == "Texas"
    last = made.server.questions[-1]
    assert last.body["response_format"] == {"type": "json_object"} and "max_completion_tokens" in last.body
    assert '"additionalProperties": false' in last.system, "without a schema mode the schema stands in the prompt"
    assert made.server.calls == 4 and made.meter.llm_calls == 1
    made.session.ask(PROMPT.model_copy(update={"user": "Another?"}), Word, made.meter)
    assert made.server.calls == 5, "what a server refuses is learnt once"


def test_anthropic_models_without_output_formats_get_a_tool(rig: RigMaker) -> None:
    def script(question: Question) -> Reply:
        refused = "output_config" in question.body
        return Reply(status=400, text="output_config: Extra inputs are not permitted") if refused else TEXAS

    made = rig("anthropic", script)
    assert made.ask() == "Texas"
    assert made.server.questions[-1].body["tool_choice"] == {"type": "tool", "name": "Word"}


def test_the_budget_stops_the_next_call(rig: RigMaker) -> None:
    made = rig("openai", lambda _: TEXAS, budget=Budget(llm_calls=1))
    made.ask()
    with pytest.raises(BudgetExceededError, match="llm_calls"):
        made.session.ask(PROMPT.model_copy(update={"user": "Another?"}), Word, made.meter)
    dear = rig("openai", lambda _: TEXAS, budget=Budget(tokens=1000), max_tokens=2000)
    with pytest.raises(BudgetExceededError, match="tokens"):
        dear.ask()
    assert dear.server.calls == 0, "what a call may cost at most is reserved before it is sent"


@both
def test_no_key_in_any_message_log_or_record(rig: RigMaker, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    for status in (400, 401, 404, 429, 500):
        reply = Reply(
            status=status, text=f"your key {SECRET} and Bearer {SECRET} are odd", headers={"retry-after": "1"}
        )
        made = rig(wire, lambda _, reply=reply: reply, max_attempts=2)  # type: ignore[misc]
        try:
            made.ask()
        except ProviderError as error:
            said.append("".join(traceback.format_exception(error)))
            chained: BaseException | None = error
            while chained is not None:
                said.append(f"{chained} {chained!r} {vars(chained)}")
                chained = chained.__cause__ or chained.__context__
        said += [repr(made.client), repr(made.settings), made.settings.model_dump_json()]
        said += [event.model_dump_json() for event in made.log.events]
    assert len(said) > 10
    assert SECRET not in "\n".join(said) + caplog.text


def test_keys_come_from_the_environment_and_go_to_their_owner_alone() -> None:
    keys = {"OPENAI_API_KEY": "sk-openai-000000", "ANTHROPIC_API_KEY": "sk-ant-000000"}
    elsewhere = ProviderSettings.of(environment={}, provider="openai", model="m", base_url="http://127.0.0.1:9/v1")
    at_home = ProviderSettings.of(environment={}, provider="openai", model="m")
    assert vars(make_client(at_home, keys))["key"] == "sk-openai-000000"
    assert vars(make_client(elsewhere, keys))["key"] == "no-key-needed"
    assert vars(make_client(elsewhere, {**keys, "TRACESCRIBE_LLM_API_KEY": "mine"}))["key"] == "mine"
    paired = {**keys, "OPENAI_BASE_URL": "https://gateway.example/v1"}
    client = make_client(at_home, paired)
    assert client.endpoint.base_url == "https://gateway.example/v1" and vars(client)["key"] == "sk-openai-000000"
    with pytest.raises(ProviderSetupError, match="set ANTHROPIC_API_KEY") as caught:
        make_client(ProviderSettings.of(environment={}, provider="anthropic", model="m"), {})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "localhost:8000/v1", "http://user:hunter2@host/v1", "http://host/v1?key=hunter2"]
)
def test_a_base_url_holds_host_and_path_alone(url: str) -> None:
    settings = ProviderSettings.of(environment={}, provider="openai", model="m", base_url=url)
    with pytest.raises(ProviderSetupError, match="base URL") as caught:
        make_client(settings, {})
    assert "hunter2" not in str(caught.value)


def test_settings_come_from_call_or_environment() -> None:
    environment = {"TRACESCRIBE_LLM_PROVIDER": "anthropic", "TRACESCRIBE_LLM_MODEL": "a-model"}
    assert ProviderSettings.of(environment=environment).model == "a-model"
    assert ProviderSettings.of(environment=environment, model="b-model", base_url=None).model == "b-model"
    with pytest.raises(ProviderSetupError, match="set TRACESCRIBE_LLM_PROVIDER and TRACESCRIBE_LLM_MODEL"):
        ProviderSettings.of(environment={})
    with pytest.raises(ProviderSetupError, match="temperature"):
        ProviderSettings.of(environment=environment, temperature=9)


def test_a_request_hash_tells_servers_models_and_words_apart(rig: RigMaker) -> None:
    log = MemoryCallLog()
    first = rig("openai", lambda _: TEXAS, log=log)
    second = rig("openai", lambda _: TEXAS, log=log)
    third = rig("openai", lambda _: TEXAS, log=log, model="fake-2", base_url=first.server.url("openai"))
    first.ask()
    second.ask()
    third.ask()
    first.session.ask(PROMPT.model_copy(update={"system": "Be long."}), Word, first.meter)
    assert (first.server.calls, second.server.calls) == (3, 1)
