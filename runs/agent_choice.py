"""Agents by name, and budgets by what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.agents.agent import InterpretationAgent
    from tracescribe.agents.budget import Budget
    from tracescribe.agents.providers.settings import ProviderSettings

OFFLINE = "offline"
LLM = "llm"
BASELINES = ("random", "top-influence", "token-position")
AGENTS = (OFFLINE, LLM, *BASELINES)
"""Every name that `--agent` takes."""


@dataclass(frozen=True)
class LlmChoice:
    """Which language model the `llm` agent asks; None leaves a value to the environment.

    Attributes:
        provider: `openai` for every OpenAI-compatible server, or `anthropic`.
        model: its name at that server.
        base_url: another server than the provider's own.
        call_log: file of what was asked and answered; what it holds is not asked again.
    """

    provider: str | None
    model: str | None
    base_url: str | None
    call_log: Path


def make_agent(name: str, *, seed: int) -> InterpretationAgent:
    """An agent that needs no language model.

    Raises:
        InputError: no such agent, or one that needs a language model.
    """
    from tracescribe.agents.loop import LoopSettings
    from tracescribe.agents.offline import offline_agent

    settings = LoopSettings(seed=seed)
    if name == OFFLINE:
        return offline_agent(settings)
    if name in BASELINES:
        from tracescribe.agents.baselines import BaselineName, baseline_agent

        return baseline_agent(cast(BaselineName, name), settings)
    if name == LLM:
        raise InputError(f"agent {LLM!r} costs money on every case; it runs with 'tracescribe interpret --agent llm'")
    raise InputError(f"no agent {name!r}; choose one of {', '.join(AGENTS)}")


def agent_for_use(name: str, *, seed: int, llm: LlmChoice) -> AbstractContextManager[InterpretationAgent]:
    """An agent by name, to be entered when it is needed; leaving it closes its connections.

    Nothing is opened or written before it is entered, but a wrong choice is told at once.

    Raises:
        InputError: no such agent, or a language model that is not configured.
    """
    if name != LLM:
        _refuse_llm_options(name, llm)
        return nullcontext(make_agent(name, seed=seed))
    from tracescribe.agents.providers.settings import ProviderSettings

    provider = ProviderSettings.of(provider=llm.provider, model=llm.model, base_url=llm.base_url)
    return _llm_agent(provider, seed, llm.call_log)


@contextmanager
def _llm_agent(provider: ProviderSettings, seed: int, call_log: Path) -> Iterator[InterpretationAgent]:
    from tracescribe.agents.llm.agent import LlmAgentSettings, make_llm_agent
    from tracescribe.agents.loop import LoopSettings

    with make_llm_agent(LlmAgentSettings(provider=provider), LoopSettings(seed=seed), call_log) as agent:
        yield agent


def _refuse_llm_options(name: str, llm: LlmChoice) -> None:
    given = {"--provider": llm.provider, "--llm-model": llm.model, "--base-url": llm.base_url}
    named = [option for option, value in given.items() if value is not None]
    if named:
        raise InputError(f"{' and '.join(named)} belong to --agent llm, found --agent {name}; leave them out")


def budget_with(*, experiments: int | None, seconds: float | None, llm_calls: int | None, tokens: int | None) -> Budget:
    """The default budget with the limits that were given."""
    from tracescribe.agents.budget import Budget

    given = {"experiments": experiments, "seconds": seconds, "llm_calls": llm_calls, "tokens": tokens}
    return Budget.model_validate({name: limit for name, limit in given.items() if limit is not None})
