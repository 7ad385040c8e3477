"""Agents around scripted models: the language-model agent as it is, with a mind in the place of a provider."""

from __future__ import annotations

from tracescribe.agents.calls.call_log import MemoryCallLog
from tracescribe.agents.llm.agent import PROPOSERS
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.llm.settings import LlmAgentSettings
from tracescribe.agents.loop import LoopAgent
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.agents.providers.settings import ProviderSettings
from tracescribe.evals.scripted.client import Mind, ScriptedClient


def scripted_agent(name: str, mind: Mind, loop: LoopSettings | None = None) -> LoopAgent:
    """The language-model agent with a scripted model; code alone judges its labels.

    Args:
        name: of the agent and of the model.
        mind: what answers.
        loop: settings of the loop; None for every agent's.
    """
    provider = ProviderSettings.of(environment={}, provider="openai", model=name, concurrency=1)
    session = LlmSession(provider, ScriptedClient(mind, name), MemoryCallLog())
    settings = LlmAgentSettings(provider=provider, name=name, judge_labels=False)
    return LoopAgent(PROPOSERS[settings.style](settings, session), loop or LoopSettings())
