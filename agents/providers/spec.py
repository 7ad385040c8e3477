"""`--agent` in one word: which agent, how it works, and which language model or program it asks.

offline                                                  no language model
random | influence | position | layer | profiles         baselines on the graph
acdc | eap-ig | probe                                    baselines that run the model
llm                                                      the language model of the other options or the environment
openai:MODEL                                             OpenAI, Chat Completions
openai-responses:MODEL                                   OpenAI, Responses
anthropic:MODEL                                          Anthropic, Messages
openai-compatible:URL[#MODEL]                            any server of that wire format
local:FOLDER_OR_HUB_ID                                   a Hugging Face model in this process
exec:PATH [ARGUMENTS]                                    a program that speaks JSON (`agents.external`)
python:MODULE:ATTRIBUTE                                  a Python callable, in a process of its own

`STYLE@SPEC` fixes the style in which a language model works, as in `one-shot@openai:MODEL`.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping
from typing import Literal, get_args

from tracescribe.agents.claims import Frozen
from tracescribe.agents.providers.completion import ProviderName
from tracescribe.agents.providers.errors import AgentSpecError
from tracescribe.agents.providers.secrets import checked_url
from tracescribe.agents.providers.settings import ProviderSettings

PlainKind = Literal["offline", "random", "influence", "position", "layer", "profiles", "acdc", "eap-ig", "probe", "llm"]
ExternalKind = Literal["exec", "python"]
AgentKind = Literal[PlainKind, ExternalKind]
StyleName = Literal["one-shot", "pipeline", "investigator"]
PLAIN: tuple[PlainKind, ...] = get_args(PlainKind)
"""Agents that are named by one word."""
EXTERNAL: tuple[ExternalKind, ...] = get_args(ExternalKind)
"""Words before the colon of agents from outside."""
PREFIXES = ("openai", "openai-responses", "anthropic", "openai-compatible", "local", *EXTERNAL)
"""Words before the colon."""
RENAMED: Mapping[str, PlainKind] = {"top-influence": "influence", "token-position": "position"}
"""Names of earlier versions, and what they are now."""
_STYLES: tuple[StyleName, ...] = get_args(StyleName)
_WANTED = {
    "openai": "a model, as in openai:gpt-5-mini",
    "openai-responses": "a model, as in openai-responses:gpt-5-mini",
    "anthropic": "a model, as in anthropic:claude-haiku-4-5",
    "openai-compatible": "a base URL, as in openai-compatible:http://localhost:8000/v1#MODEL",
    "local": "a folder or a hub id, as in local:org/name",
    "exec": "a program, as in exec:./my_agent.py",
    "python": "a module and a callable in it, as in python:my_agent:interpret",
}
_MAX_SHOWN = 60


class AgentSpec(Frozen):
    """Which agent, and which language model or program it asks.

    Attributes:
        kind: `llm` for every agent that asks a language model.
        provider: its wire format; None leaves it to other options or the environment.
        model: its name; None asks the server, or leaves it to other options or the environment.
        base_url: None for the provider's own server.
        style: in which a language model works; None leaves it to other options.
        command: of an `exec` agent, the program and its arguments.
        entry: of a `python` agent, module and attribute.
    """

    kind: AgentKind
    provider: ProviderName | None = None
    model: str | None = None
    base_url: str | None = None
    style: StyleName | None = None
    command: tuple[str, ...] = ()
    entry: tuple[str, str] | None = None

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
        AgentSpecError: no such agent, provider or style (the nearest names are told), or a part that is missing.
        ProviderSetupError: a base URL that cannot be used.
    """
    head, at, rest = text.partition("@")
    if at and head in _STYLES:
        spec = _unstyled(rest)
        if spec.kind != "llm":
            raise AgentSpecError(
                f"agent {spec.kind!r} asks no language model, so it has no style {head!r}; leave it out"
            )
        return spec.model_copy(update={"style": head})
    if at and ":" not in head:
        shown = head if len(head) <= _MAX_SHOWN else f"{head[:_MAX_SHOWN]}..."
        raise AgentSpecError(
            f"no agent style {shown!r}; choose one of {', '.join(_STYLES)}, as in one-shot@openai:MODEL"
        )
    return _unstyled(text)


def _unstyled(text: str) -> AgentSpec:
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
        case "exec":
            return AgentSpec(kind="exec", command=_command(rest))
        case "python":
            return AgentSpec(kind="python", entry=_entry(rest))
        case _:
            raise AssertionError(prefix)


def _command(text: str) -> tuple[str, ...]:
    """A program and its arguments, quoted as in a POSIX shell; no shell ever reads them."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise AgentSpecError(
            f"agent 'exec' has a command with a quotation mark that is never closed: {error}"
        ) from None
    if not words or not words[0]:
        raise AgentSpecError(f"agent 'exec' needs {_WANTED['exec']}")
    return words


def _entry(text: str) -> tuple[str, str]:
    module, colon, attribute = text.partition(":")
    named = [module.split("."), attribute.split(".")]
    if not colon or not all(part.isidentifier() for parts in named for part in parts):
        raise AgentSpecError(f"agent 'python' needs {_WANTED['python']}")
    return module, attribute


def _unknown(text: str, prefix: str, has_colon: bool) -> str:
    """What to say of an unknown name; what follows a colon may hold a secret and is not repeated."""
    shown = prefix if len(prefix) <= _MAX_SHOWN else f"{prefix[:_MAX_SHOWN]}..."
    choices = (*PLAIN, *(f"{name}:..." for name in PREFIXES))
    if not has_colon and text in PREFIXES:
        return f"agent {text!r} needs {_WANTED[text]}"
    if not has_colon and text in RENAMED:
        return f"agent {text!r} is called {RENAMED[text]!r} now"
    near = difflib.get_close_matches(prefix.lower(), (*PLAIN, *PREFIXES), n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"no agent {shown!r}{hint}; choose one of {', '.join(choices)}"
