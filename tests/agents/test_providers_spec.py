"""Who is asked: agent specs, settings, and the model's name from the server."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.fake_server import FakeServer
from tracescribe.agents.providers.errors import AgentSpecError, ProviderSetupError
from tracescribe.agents.providers.settings import ProviderSettings, make_client, with_model
from tracescribe.agents.providers.spec import PLAIN, AgentSpec, parse_agent_spec
from tracescribe.tracer.errors import ProviderError, TracescribeError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        *((kind, AgentSpec(kind=kind)) for kind in PLAIN),
        ("openai:gpt-5-mini", AgentSpec(kind="llm", provider="openai", model="gpt-5-mini")),
        ("openai-responses:gpt-5", AgentSpec(kind="llm", provider="openai-responses", model="gpt-5")),
        ("anthropic:claude-haiku-4-5", AgentSpec(kind="llm", provider="anthropic", model="claude-haiku-4-5")),
        ("openai:ft:gpt-4o:me::id", AgentSpec(kind="llm", provider="openai", model="ft:gpt-4o:me::id")),
        ("local:models/tiny", AgentSpec(kind="llm", provider="local", model="models/tiny")),
        (
            "openai-compatible:http://localhost:8000/v1/",
            AgentSpec(kind="llm", provider="openai", base_url="http://localhost:8000/v1"),
        ),
        (
            "openai-compatible:http://localhost:11434/v1#qwen3:8b",
            AgentSpec(kind="llm", provider="openai", base_url="http://localhost:11434/v1", model="qwen3:8b"),
        ),
    ],
)  # fmt: skip
def test_a_spec_names_agent_provider_model_and_server(text: str, spec: AgentSpec) -> None:
    assert parse_agent_spec(text) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("offlin", "no agent 'offlin'; did you mean offline?"),
        ("OpenAI:gpt-5", "did you mean openai"),
        ("antropic:claude", "did you mean anthropic"),
        ("zzz", "no agent 'zzz'; choose one of offline, random"),
        ("", "no agent ''"),
        ("openai", "agent 'openai' needs a model, as in openai:"),
        ("anthropic:", "agent 'anthropic' needs a model"),
        ("local: ", "agent 'local' needs a folder or a hub id"),
        ("openai-compatible:http://h/v1#", "has '#' without a model"),
        ("openai: gpt-5", "spaces or control characters"),
        ("openai:gpt\u202e5", "spaces or control characters"),
        ("mystery:hunter2", "no agent 'mystery'"),
    ],
)
def test_a_wrong_spec_is_told_with_near_names(text: str, words: str) -> None:
    with pytest.raises(AgentSpecError) as caught:
        parse_agent_spec(text)
    assert words in str(caught.value) and caught.value.exit_code == 2
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_spec_with_a_bad_url_is_refused() -> None:
    with pytest.raises(ProviderSetupError, match="base URL"):
        parse_agent_spec("openai-compatible:localhost:8000")


@given(st.text(max_size=40))
def test_any_text_is_a_spec_or_a_typed_error(text: str) -> None:
    for candidate in (text, f"openai-compatible:{text}", f"openai:{text}"):
        try:
            parse_agent_spec(candidate)
        except TracescribeError as error:
            assert "\n" not in str(error)


def test_a_spec_goes_before_other_options_and_keeps_the_environments_model_out() -> None:
    environment = {"TRACESCRIBE_LLM_PROVIDER": "anthropic", "TRACESCRIBE_LLM_MODEL": "a-model"}
    settings = parse_agent_spec("openai:b-model").settings(environment=environment, max_tokens=100)
    assert (settings.provider, settings.model, settings.max_tokens) == ("openai", "b-model", 100)
    plain = parse_agent_spec("llm").settings(environment=environment)
    assert (plain.provider, plain.model) == ("anthropic", "a-model")
    bare = parse_agent_spec("openai-compatible:http://h/v1").settings(environment=environment)
    assert bare.model is None and bare.base_url == "http://h/v1"
    with pytest.raises(AgentSpecError, match="asks no language model"):
        parse_agent_spec("offline").settings()


def test_settings_come_from_call_or_environment() -> None:
    environment = {"TRACESCRIBE_LLM_PROVIDER": "anthropic", "TRACESCRIBE_LLM_MODEL": "a-model"}
    assert ProviderSettings.of(environment=environment).model == "a-model"
    assert ProviderSettings.of(environment=environment, model="b-model", base_url=None).model == "b-model"
    with pytest.raises(ProviderSetupError, match="set TRACESCRIBE_LLM_PROVIDER and TRACESCRIBE_LLM_MODEL"):
        ProviderSettings.of(environment={})
    with pytest.raises(ProviderSetupError, match="temperature"):
        ProviderSettings.of(environment=environment, temperature=9)
    with pytest.raises(ProviderSetupError, match="price_input and price_output belong together"):
        ProviderSettings.of(environment=environment, price_input=1.0)


@pytest.mark.parametrize("models", [("only",), ("first", "second")])
def test_a_server_is_asked_which_model_it_has(models: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer(lambda _: pytest.fail("no question was due"), models)
    server.start()
    try:
        settings = ProviderSettings.of(environment={}, provider="openai", base_url=server.url("openai"))
        with caplog.at_level(logging.WARNING):
            named = with_model(settings, {})
        assert named.model == models[0] and make_client(settings, {}).endpoint.model == models[0]
        assert ("taking the first, 'first'" in caplog.text) == (len(models) > 1)
        server.models = ()
        with pytest.raises(ProviderSetupError, match="lists no model"):
            with_model(settings, {})
        server.models = ("x" * 5000,)
        with pytest.raises(ProviderSetupError, match="without a usable name"):
            with_model(settings, {})
    finally:
        server.stop()
    with pytest.raises(ProviderError, match="connection failed"):
        with_model(settings, {})
    with pytest.raises(ProviderSetupError, match="no model given for openai"):
        with_model(ProviderSettings(provider="openai"), {})


def test_reading_a_spec_loads_no_sdk_and_no_model_library() -> None:
    names = ("spec", "prices", "estimates", "errors")
    code = (
        "import sys\n"
        + "".join(f"import tracescribe.agents.providers.{name}\n" for name in names)
        + "import tracescribe.agents.calls.ledger, tracescribe.agents.budget\n"
        + "tracescribe.agents.providers.spec.parse_agent_spec('local:org/name').settings(environment={})\n"
        + "heavy = {'openai', 'anthropic', 'httpx2', 'torch', 'transformers', 'keyring', 'langgraph'}\n"
        + "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
