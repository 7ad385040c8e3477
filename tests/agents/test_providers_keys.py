"""Keys come from the environment or a keyring, go to their owner alone, and are written down nowhere."""

from __future__ import annotations

import logging
import sys
import traceback
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.fake_server import Question, Reply, good, in_turn
from tests.agents.provider_rig import PROMPT, SECRET, TEXAS, WAYS, RigMaker, Way, Word, rigs
from tracescribe.agents.budget import Budget, Meter
from tracescribe.agents.calls.call_log import FileCallLog, MemoryCallLog
from tracescribe.agents.calls.ledger import summary_of
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.providers.errors import ProviderSetupError
from tracescribe.agents.providers.secrets import find_key, stored_key
from tracescribe.agents.providers.settings import ProviderSettings, make_client, with_model
from tracescribe.tracer.errors import TracescribeError

ECHO = f"your key {SECRET} and Bearer {SECRET} are odd"
FAULTS: dict[str, Reply] = {
    **{f"status {status}": Reply(status=status, text=ECHO) for status in (307, 400, 401, 403, 404, 429, 500, 529)},
    "retry-after": Reply(status=429, text=ECHO, headers={"retry-after": "99999"}),
    "html": Reply(status=502, raw=f"<html>{ECHO}</html>".encode()),
    "garbage": Reply(raw=ECHO.encode()),
    "another protocol": Reply(raw=f'{{"echo": "{SECRET}"}}'.encode()),
    "drop": Reply(text=ECHO, drop=True),
    "mid-stream fault": Reply(text=ECHO, fault=SECRET),
    "refusal": Reply(text=ECHO, finish="refusal"),
    "truncation": Reply(text=ECHO, finish="length"),
    "not JSON": Reply(text=ECHO),
    "wrong schema": good({"word": ECHO, "mood": SECRET}),
    "empty": Reply(),
    "slow": Reply(text=ECHO, delay=0.2),
    "good": TEXAS,
}


@pytest.fixture
def rig() -> Iterator[RigMaker]:
    with rigs() as maker:
        yield maker


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_no_key_in_any_message_log_or_record(
    rig: RigMaker, way: Way, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One answer after another goes wrong in every way, and the server says the key each time."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    now = ["good"]
    log = FileCallLog(tmp_path / "calls.jsonl")
    made = rig(way, lambda _: FAULTS[now[0]], log=log, max_attempts=1, timeout_seconds=0.1)
    for name in FAULTS:
        now[0] = name
        try:
            made.ask(f"question {name}")
        except TracescribeError as error:
            said += [traceback.format_exc(), "".join(traceback.format_exception(error))]
            chained: BaseException | None = error
            while chained is not None:
                said.append(f"{chained} {chained!r} {vars(chained)}")
                chained = chained.__cause__ or chained.__context__
    log.close()
    things = (made.client, made.settings, made.session, made.log, made.meter, made.meter.snapshot(), made.session.price)
    said += [repr(thing) for thing in things] + [str(thing) for thing in things]
    said += [made.settings.model_dump_json(), summary_of(list(made.log.events)).model_dump_json()]
    said += [event.model_dump_json() for event in made.log.events]
    said += [(tmp_path / "calls.jsonl").read_text(), caplog.text]
    assert len(made.log.events) > 2 * len(FAULTS), "every fault was met"
    assert SECRET not in "\n".join(said)
    assert made.server.questions[0].headers["authorization"] == f"Bearer {SECRET}", "it was sent all the same"


def test_no_key_where_the_models_are_asked_for(rig: RigMaker) -> None:
    made = rig(WAYS[0], in_turn([]))
    made.server.models = (f"model-{SECRET}",)
    settings = ProviderSettings.of(environment={}, provider="openai", base_url=made.server.url("openai"))
    named = with_model(settings, {"TRACESCRIBE_LLM_API_KEY": SECRET})
    assert named.model == "model-[redacted secret]"


def test_keys_go_to_their_owner_alone() -> None:
    keys = {"OPENAI_API_KEY": "sk-openai-000000", "ANTHROPIC_API_KEY": "sk-ant-000000"}
    elsewhere = ProviderSettings.of(environment={}, provider="openai", model="m", base_url="http://127.0.0.1:9/v1")
    at_home = ProviderSettings.of(environment={}, provider="openai-responses", model="m")
    assert vars(make_client(at_home, keys))["key"] == "sk-openai-000000"
    assert vars(make_client(elsewhere, keys))["key"] == "no-key-needed"
    assert vars(make_client(elsewhere, {**keys, "TRACESCRIBE_LLM_API_KEY": "mine"}))["key"] == "mine"
    paired = {**keys, "OPENAI_BASE_URL": "https://gateway.example/v1"}
    client = make_client(at_home, paired)
    assert client.endpoint.base_url == "https://gateway.example/v1" and vars(client)["key"] == "sk-openai-000000"
    with pytest.raises(ProviderSetupError, match="set ANTHROPIC_API_KEY .*'keyring set tracescribe") as caught:
        make_client(ProviderSettings.of(environment={}, provider="anthropic", model="m"), {})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_the_sdks_read_from_the_environment_goes_to_no_other_server(
    rig: RigMaker, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET", "AUTH_TOKEN", "WEBHOOK_SIGNING_KEY"]
    for company in ("OPENAI", "ANTHROPIC"):
        for name in names:
            monkeypatch.setenv(f"{company}_{name}", f"canary-{name}")
        monkeypatch.setenv(f"{company}_CUSTOM_HEADERS", "x-secret: canary-header\nAuthorization: Bearer canary-auth")
    made = rig(way, in_turn([TEXAS]))
    assert made.ask() == "Texas"
    headers = made.server.questions[0].headers
    assert "canary" not in str(headers) and headers["authorization"] == f"Bearer {SECRET}"
    assert headers["idempotency-key"] and ("anthropic-version" in headers) == (way.wire == "anthropic")


def test_a_redirect_is_not_followed_with_the_key(rig: RigMaker) -> None:
    other = rig(WAYS[0], lambda _: TEXAS)

    def script(_: Question) -> Reply:
        return Reply(status=307, text="over there", headers={"location": f"{other.server.url('openai')}/responses"})

    for way in WAYS:
        with pytest.raises(TracescribeError, match="status 307"):
            rig(way, script).ask()
    assert other.server.calls == 0


# -- the keyring ------------------------------------------------------------------------------------------------------


class FakeKeyring(types.ModuleType):
    """A module in the place of `keyring`."""

    def __init__(self, kept: dict[str, str], fault: Exception | None = None) -> None:
        super().__init__("keyring")
        self.kept = kept
        self.fault = fault
        self.asked: list[tuple[str, str]] = []

    def get_password(self, service: str, name: str) -> str | None:
        """As the real one."""
        self.asked.append((service, name))
        if self.fault is not None:
            raise self.fault
        return self.kept.get(name)


def _with_keyring(monkeypatch: pytest.MonkeyPatch, module: types.ModuleType | None) -> None:
    monkeypatch.setitem(sys.modules, "keyring", module)
    for name in ("TRACESCRIBE_LLM_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_key_may_lie_in_a_keyring_and_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = FakeKeyring({"OPENAI_API_KEY": " sk-kept-000000\n"})
    _with_keyring(monkeypatch, ring)
    settings = ProviderSettings.of(environment={}, provider="openai", model="m")
    assert vars(make_client(settings))["key"] == "sk-kept-000000"
    assert ring.asked == [("tracescribe", "TRACESCRIBE_LLM_API_KEY"), ("tracescribe", "OPENAI_API_KEY")]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment-0")
    ring.asked.clear()
    assert vars(make_client(settings))["key"] == "sk-environment-0" and ring.asked == []
    elsewhere = ProviderSettings.of(environment={}, provider="openai", model="m", base_url="https://other.example/v1")
    assert vars(make_client(elsewhere))["key"] == "no-key-needed", "a kept key goes to its owner alone, too"
    ring.asked.clear()
    here = ProviderSettings.of(environment={}, provider="openai", model="m", base_url="http://localhost:8000/v1")
    assert vars(make_client(here))["key"] == "no-key-needed" and ring.asked == []


@pytest.mark.parametrize("ring", [None, FakeKeyring({}), FakeKeyring({}, RuntimeError(f"locked, {SECRET}"))])
def test_a_keyring_that_is_absent_empty_or_locked_is_no_key(
    monkeypatch: pytest.MonkeyPatch, ring: FakeKeyring | None
) -> None:
    _with_keyring(monkeypatch, ring)
    assert stored_key("OPENAI_API_KEY") is None
    with pytest.raises(ProviderSetupError, match="no key for openai: set OPENAI_API_KEY") as caught:
        make_client(ProviderSettings.of(environment={}, provider="openai", model="m"))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_given_environment_stands_for_all_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_keyring(monkeypatch, FakeKeyring({"OPENAI_API_KEY": "sk-kept-000000"}))
    with pytest.raises(ProviderSetupError, match="no key"):
        make_client(ProviderSettings.of(environment={}, provider="openai", model="m"), {})
    key = find_key("openai", official=True, environment={}, base_url="https://x.example", stored=stored_key)
    assert key == "sk-kept-000000"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "localhost:8000/v1",
        "http://user:hunter2@host/v1",
        "http://host/v1?key=hunter2",
        "http://host/sk-hunter2hunter2/v1",
        "http://host:hunter2/v1",
        "http://[hunter2/v1",
    ],
)
def test_a_base_url_holds_host_and_path_alone(url: str) -> None:
    settings = ProviderSettings.of(environment={}, provider="openai", model="m", base_url=url)
    with pytest.raises(ProviderSetupError, match="base URL") as caught:
        make_client(settings, {})
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).split("ProviderSetupError")[-1]


def test_a_session_without_a_key_asks_all_the_same(rig: RigMaker) -> None:
    made = rig(WAYS[0], in_turn([TEXAS]))
    client = make_client(made.settings, {})
    assert LlmSession(made.settings, client, MemoryCallLog()).ask(PROMPT, Word, Meter(Budget())).word == "Texas"
    client.close()
    assert made.server.questions[0].headers["authorization"] == "Bearer no-key-needed"


@pytest.mark.parametrize("key", ["e", "Texas", "test", "EMPTY"])
def test_a_word_given_for_a_key_spoils_no_answer(rig: RigMaker, key: str) -> None:
    made = rig(WAYS[0], in_turn([TEXAS]))
    client = make_client(made.settings, {"TRACESCRIBE_LLM_API_KEY": key})
    assert LlmSession(made.settings, client, MemoryCallLog()).ask(PROMPT, Word, Meter(Budget())).word == "Texas"
    client.close()
    assert made.server.questions[0].headers["authorization"] == f"Bearer {key}"
