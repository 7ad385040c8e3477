"""Which language model is asked, and how: settings, and the client they lead to."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, model_validator

from tracescribe.agents.claims import Frozen
from tracescribe.agents.providers.completion import Endpoint, LanguageModelClient, ProviderName
from tracescribe.agents.providers.errors import ProviderSetupError
from tracescribe.agents.providers.secrets import checked_url, find_key, stored_key

if TYPE_CHECKING:
    from tracescribe.agents.providers.sdk_client import SdkClient

logger = logging.getLogger(__name__)

ENVIRONMENT = {
    "provider": "TRACESCRIBE_LLM_PROVIDER",
    "model": "TRACESCRIBE_LLM_MODEL",
    "base_url": "TRACESCRIBE_LLM_BASE_URL",
}
"""Settings that the environment may give where a call does not; keys are in `secrets.py`."""
OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"
_SDK_URLS = {
    "openai": "OPENAI_BASE_URL",
    "openai-responses": "OPENAI_BASE_URL",
    "anthropic": "ANTHROPIC_BASE_URL",
}


class ProviderSettings(Frozen):
    """How a language model is reached.

    Attributes:
        provider: the wire format: `openai` (Chat Completions: every OpenAI-compatible server), `openai-responses`,
            `anthropic`; or `local` for a Hugging Face model in this process.
        model: its name at that server; for `local`, a folder or hub id. None asks a server with a base URL of its own
            which models it has, and takes the first.
        base_url: None for the provider's own server.
        stream: whether answers are streamed; a long answer then never looks like a connection that has gone silent.
        temperature: 0 for the steadiest answers; not sent to Anthropic, and dropped where a server refuses it. A local
            model always takes its likeliest token.
        price_input, price_output: USD per million tokens, both or neither; None takes the price list.
        max_tokens: room for one answer, hidden reasoning included; doubled once where an answer is cut off.
        timeout_seconds: of silence, after which an attempt is given up; reasoning models think for a minute or more. A
            whole attempt ends after three times as long, whatever arrives.
        concurrency: requests in flight at once; providers' lowest tiers allow a few.
        max_attempts: sendings of one request before a timeout, rate limit or overload counts as a failure.
        first_wait_seconds: before the second attempt; doubles with each further one.
        longest_wait_seconds: a server that asks for more patience than this is given up at once.
        max_repairs: times that an unusable answer is sent back with the validator's words.
    """

    provider: ProviderName
    model: str | None = Field(default=None, min_length=1, max_length=4000)
    base_url: str | None = None
    stream: bool = False
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=4096, ge=16, le=10_000)
    timeout_seconds: float = Field(default=120.0, gt=0, le=600)
    concurrency: int = Field(default=4, ge=1, le=32)
    max_attempts: int = Field(default=4, ge=1, le=10)
    first_wait_seconds: float = Field(default=1.0, ge=0, le=60)
    longest_wait_seconds: float = Field(default=60.0, ge=0, le=600)
    max_repairs: int = Field(default=2, ge=0, le=2)
    price_input: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_output: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _prices_come_in_pairs(self) -> Self:
        if (self.price_input is None) != (self.price_output is None):
            raise ValueError("price_input and price_output belong together; give both or neither")
        return self

    @classmethod
    def of(cls, *, environment: Mapping[str, str] | None = None, **given: object) -> ProviderSettings:
        """Settings from what is given, and from `TRACESCRIBE_LLM_PROVIDER`, `_MODEL` and `_BASE_URL` where it is not.

        Args:
            environment: None reads `os.environ`.
            given: fields of this class; None counts as not given.

        Raises:
            ProviderSetupError: no provider or model, or a value outside its range.
        """
        source = os.environ if environment is None else environment
        values: dict[str, object] = {name: source[key] for name, key in ENVIRONMENT.items() if source.get(key)}
        values |= {name: value for name, value in given.items() if value is not None}
        asks = "base_url" in values and values.get("provider") != "local"
        needed = ("provider",) if asks else ("provider", "model")
        missing = [name for name in needed if name not in values]
        if missing:
            keys = " and ".join(ENVIRONMENT[name] for name in missing)
            raise ProviderSetupError(f"no language-model {' and no '.join(missing)} given; name it, or set {keys}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ProviderSetupError(f"language-model setting {where or 'prices'}: {first['msg']}") from None

    @property
    def shown_model(self) -> str:
        """The model's name for reports: without the folders that a local model lies in."""
        if self.model is None:
            return ""
        return Path(self.model).resolve().name if self.provider == "local" and Path(self.model).is_dir() else self.model

    def address(self, environment: Mapping[str, str]) -> tuple[str, bool]:
        """The server's base URL, and whether the provider's own key belongs there.

        The SDKs' own variables (`OPENAI_BASE_URL`, `ANTHROPIC_BASE_URL`) are honoured, together with the provider's
        key: whoever set one beside the other meant them for each other.

        Returns:
            For a local model the word `local`.

        Raises:
            ProviderSetupError: a base URL that cannot be used.
        """
        if self.provider == "local":
            return "local", False
        own = environment.get(_SDK_URLS[self.provider]) or official_url(self.provider)
        url = checked_url(self.base_url or own)
        return url, url == checked_url(own)


def official_url(provider: ProviderName) -> str:
    """The base URL of the provider's own server."""
    return ANTHROPIC_URL if provider == "anthropic" else OPENAI_URL


def make_client(settings: ProviderSettings, environment: Mapping[str, str] | None = None) -> LanguageModelClient:
    """The client for these settings; a key comes from the environment or the keyring alone.

    Without a model's name the server is asked for one; a `local` model is loaded.

    Args:
        environment: None reads `os.environ`, and the keyring after it.

    Raises:
        ProviderSetupError: no key where one is needed, a bad base URL, or a local model that cannot be loaded.
        ProviderError: a server that does not say which models it has.
    """
    if settings.provider == "local":
        from tracescribe.agents.providers.local_model import LocalModelClient

        if settings.model is None:
            raise ProviderSetupError("no local model given; name a folder or a hub id, as in local:org/name")
        return LocalModelClient.load(settings.model, settings.timeout_seconds)
    named = with_model(settings, environment)
    return _sdk_client(named, named.model or "", environment)


def with_model(settings: ProviderSettings, environment: Mapping[str, str] | None = None) -> ProviderSettings:
    """The same settings with the model's name; where there is none, the first that the server lists.

    Args:
        environment: as for `make_client`.

    Raises:
        ProviderSetupError: as for `make_client`; or a server that lists no model.
        ProviderError: a server that does not say which models it has.
    """
    if settings.model is not None:
        return settings
    if settings.provider == "local" or settings.base_url is None:
        raise ProviderSetupError(f"no model given for {settings.provider}; name it, as in {settings.provider}:MODEL")
    client = _sdk_client(settings, "(not named yet)", environment)
    try:
        names = client.models()
    finally:
        client.close()
    if not names:
        raise ProviderSetupError(f"the server at {client.endpoint.base_url} lists no model; start it with one")
    first, others = names[0], names[1:]
    if others:
        logger.warning(
            "the server at %s has %d models; taking the first, %r", client.endpoint.base_url, len(names), first
        )
    try:
        return ProviderSettings.model_validate({**settings.model_dump(), "model": first})
    except ValidationError:
        raise ProviderSetupError(
            f"the server at {client.endpoint.base_url} lists a model without a usable name; name one yourself"
        ) from None


def _sdk_client(settings: ProviderSettings, model: str, environment: Mapping[str, str] | None) -> SdkClient[Any]:
    from tracescribe.agents.providers.anthropic_messages import AnthropicMessagesClient
    from tracescribe.agents.providers.openai_chat import OpenAIChatClient
    from tracescribe.agents.providers.openai_responses import OpenAIResponsesClient

    kinds: dict[str, type[SdkClient[Any]]] = {
        "openai": OpenAIChatClient,
        "openai-responses": OpenAIResponsesClient,
        "anthropic": AnthropicMessagesClient,
    }
    source = os.environ if environment is None else environment
    url, official = settings.address(source)
    key = find_key(
        settings.provider,
        official=official,
        environment=source,
        base_url=url,
        stored=stored_key if environment is None else None,
    )
    return kinds[settings.provider](
        endpoint=Endpoint(provider=settings.provider, base_url=url, model=model),
        key=key,
        timeout_seconds=settings.timeout_seconds,
        stream=settings.stream,
        official=official,
    )
