"""`--agent` in one word: which agent, and which language model it asks.

offline | random | top-influence | token-position        no language model
llm                                                      the language model of the other options or the environment
openai:MODEL                                             OpenAI, Chat Completions
openai-responses:MODEL                                   OpenAI, Responses
anthropic:MODEL                                          Anthropic, Messages
openai-compatible:URL[#MODEL]                            any server of that wire format
local:FOLDER_OR_HUB_ID                                   a Hugging Face model in this process
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Literal

from tracescribe.agents.claims import Frozen
from tracescribe.agents.providers.completion import ProviderName
from tracescribe.agents.providers.errors import AgentSpecError
from tracescribe.agents.providers.secrets import checked_url
from tracescribe.agents.providers.settings import ProviderSettings

AgentKind = Literal["offline", "random", "top-influence", "token-position", "llm"]
PLAIN: tuple[AgentKind, ...] = ("offline", "random", "top-influence", "token-position", "llm")
"""Agents that are named by one word."""
PREFIXES = ("openai", "openai-responses", "anthropic", "openai-compatible", "local")
"""Words before the colon."""
_WANTED = {
    "openai": "a model, as in openai:gpt-5-mini",
    "openai-responses": "a model, as in openai-responses:gpt-5-mini",
    "anthropic": "a model, as in anthropic:claude-haiku-4-5",
    "openai-compatible": "a base URL, as in openai-compatible:http://localhost:8000/v1#MODEL",
    "local": "a folder or a hub id, as in local:org/name",
}
_MAX_SHOWN = 60


class AgentSpec(Frozen):
    """Which agent, and which language model it asks.

    Attributes:
        kind: `llm` for every agent that asks a language model.
        provider: its wire format; None leaves it to other options or the environment.
        model: its name; None asks the server, or leaves it to other options or the environment.
        base_url: None for the provider's own server.
    """

    kind: AgentKind
    provider: ProviderName | None = None
    model: str | None = None
    base_url: str | None = None

    def settings(self, *, environment: Mapping[str, str] | None = None, **given: object) -> ProviderSettings:
        """Provider settings of an `llm` agent.

        Args:
            environment: None reads `os.environ`.
            given: further fields of `ProviderSettings`; None counts as not given. The spec's own go first.

        Raises:
            ProviderSetupError: no provider or model, or a value outside its range.
            AgentSpecError: an agent that asks no language model.
        """
        if self.kind != "llm":
            raise AgentSpecError(f"agent {self.kind!r} asks no language model; it has no provider settings")
        named = {"provider": self.provider, "model": self.model, "base_url": self.base_url}
        values = {**given, **{name: value for name, value in named.items() if value is not None}}
        # What names its own provider does not take the model or address of another from the environment.
        source = {} if self.provider is not None else environment
        return ProviderSettings.of(environment=source, **values)


def parse_agent_spec(text: str) -> AgentSpec:
    """What an agent spec stands for.

    Raises:
        AgentSpecError: no such agent or provider (the nearest names are told), or a part that is missing.
        ProviderSetupError: a base URL that cannot be used.
    """
    for kind in PLAIN:
        if text == kind:
            return AgentSpec(kind=kind)
    prefix, colon, rest = text.partition(":")
    if not colon or prefix not in PREFIXES:
        raise AgentSpecError(_unknown(text, prefix, bool(colon)))
    if not rest.strip():
        raise AgentSpecError(f"agent {prefix!r} needs {_WANTED[prefix]}")
    if rest != rest.strip() or not rest.isprintable():
        raise AgentSpecError(f"agent {prefix!r}: spaces or control characters around {_WANTED[prefix].split(',')[0]}")
    match prefix:
        case "openai-compatible":
            address, hash_sign, model = rest.partition("#")
            if hash_sign and not model:
                raise AgentSpecError(f"agent {prefix!r} has '#' without a model; needs {_WANTED[prefix]}")
            return AgentSpec(kind="llm", provider="openai", base_url=checked_url(address), model=model or None)
        case "openai" | "openai-responses" | "anthropic" | "local":
            return AgentSpec(kind="llm", provider=prefix, model=rest)
        case _:
            raise AssertionError(prefix)


def _unknown(text: str, prefix: str, has_colon: bool) -> str:
    """What to say of an unknown name; what follows a colon may hold a secret and is not repeated."""
    shown = prefix if len(prefix) <= _MAX_SHOWN else f"{prefix[:_MAX_SHOWN]}..."
    choices = (*PLAIN, *(f"{name}:..." for name in PREFIXES))
    if not has_colon and text in PREFIXES:
        return f"agent {text!r} needs {_WANTED[text]}"
    near = difflib.get_close_matches(prefix.lower(), (*PLAIN, *PREFIXES), n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"no agent {shown!r}{hint}; choose one of {', '.join(choices)}"
