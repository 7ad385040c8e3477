"""Which language model is asked, and how: settings, and the client they lead to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, ValidationError

from tracescribe.agents.claims import Frozen
from tracescribe.agents.providers.completion import Endpoint, LanguageModelClient
from tracescribe.agents.providers.errors import ProviderSetupError
from tracescribe.agents.providers.secrets import checked_url, find_key

ENVIRONMENT = {
    "provider": "TRACESCRIBE_LLM_PROVIDER",
    "model": "TRACESCRIBE_LLM_MODEL",
    "base_url": "TRACESCRIBE_LLM_BASE_URL",
}
"""Settings that the environment may give where a call does not; keys are in `secrets.py`."""
_SDK_URLS = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL"}


class ProviderSettings(Frozen):
    """How a language model is reached.

    Attributes:
        provider: the wire format: `openai` for every OpenAI-compatible server, or `anthropic`.
        model: its name at that server.
        base_url: None for the provider's own server.
        temperature: 0 for the steadiest answers; not sent to Anthropic, and dropped where a server refuses it.
        max_tokens: room for one answer, hidden reasoning included; doubled once where an answer is cut off.
        timeout_seconds: for one attempt; reasoning models think for a minute or more.
        concurrency: requests in flight at once; providers' lowest tiers allow a few.
        max_attempts: sendings of one request before a timeout, rate limit or overload counts as a failure.
        first_wait_seconds: before the second attempt; doubles with each further one.
        longest_wait_seconds: a server that asks for more patience than this is given up at once.
        max_repairs: times that an unusable answer is sent back with the validator's words.
    """

    provider: Literal["openai", "anthropic"]
    model: str = Field(min_length=1, max_length=200)
    base_url: str | None = None
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=4096, ge=16, le=10_000)
    timeout_seconds: float = Field(default=120.0, gt=0, le=600)
    concurrency: int = Field(default=4, ge=1, le=32)
    max_attempts: int = Field(default=4, ge=1, le=10)
    first_wait_seconds: float = Field(default=1.0, ge=0, le=60)
    longest_wait_seconds: float = Field(default=60.0, ge=0, le=600)
    max_repairs: int = Field(default=2, ge=0, le=2)

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
        missing = [name for name in ("provider", "model") if name not in values]
        if missing:
            keys = " and ".join(ENVIRONMENT[name] for name in missing)
            raise ProviderSetupError(f"no language-model {' and no '.join(missing)} given; name it, or set {keys}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ProviderSetupError(f"language-model setting {where}: {first['msg']}") from None

    def endpoint(self, environment: Mapping[str, str]) -> tuple[Endpoint, bool]:
        """Who is asked, and whether the provider's own key belongs there.

        The SDKs' own variables (`OPENAI_BASE_URL`, `ANTHROPIC_BASE_URL`) are honoured, together with the provider's
        key: whoever set one beside the other meant them for each other.

        Raises:
            ProviderSetupError: a base URL that cannot be used.
        """
        from tracescribe.agents.providers import anthropic_messages, openai_chat

        official = openai_chat.OFFICIAL_URL if self.provider == "openai" else anthropic_messages.OFFICIAL_URL
        own = environment.get(_SDK_URLS[self.provider]) or official
        url = checked_url(self.base_url or own)
        endpoint = Endpoint(provider=self.provider, base_url=url, model=self.model)
        return endpoint, url == checked_url(own)


def make_client(settings: ProviderSettings, environment: Mapping[str, str] | None = None) -> LanguageModelClient:
    """The client for these settings; the key comes from the environment alone.

    Args:
        environment: None reads `os.environ`.

    Raises:
        ProviderSetupError: no key where one is needed, or a bad base URL.
    """
    from tracescribe.agents.providers.anthropic_messages import AnthropicMessagesClient
    from tracescribe.agents.providers.openai_chat import OpenAIChatClient

    source = os.environ if environment is None else environment
    endpoint, official = settings.endpoint(source)
    key = find_key(settings.provider, official=official, environment=source)
    kind = OpenAIChatClient if settings.provider == "openai" else AnthropicMessagesClient
    return kind(endpoint=endpoint, key=key, timeout_seconds=settings.timeout_seconds)
