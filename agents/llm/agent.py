"""The language-model agent: the same loop, the same tests, the same rule; only the thinking is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tracescribe.agents.agent import Proposer
from tracescribe.agents.calls.call_log import CallLog, FileCallLog, MemoryCallLog
from tracescribe.agents.llm.base import LlmProposerBase
from tracescribe.agents.llm.investigator import InvestigatorProposer
from tracescribe.agents.llm.one_shot import OneShotProposer
from tracescribe.agents.llm.pipeline import PipelineProposer
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.llm.settings import LlmAgentSettings, Style
from tracescribe.agents.loop import LoopAgent, LoopSettings
from tracescribe.agents.providers.settings import make_client, with_model

__all__ = ["LlmAgent", "LlmAgentSettings", "make_llm_agent"]

PROPOSERS: Mapping[Style, Callable[[LlmAgentSettings, LlmSession], Proposer]] = {
    "pipeline": PipelineProposer,
    "one-shot": OneShotProposer,
    "investigator": InvestigatorProposer,
}
"""What thinks, by style."""


@dataclass(frozen=True)
class LlmAgent(LoopAgent):
    """A `LoopAgent` that holds connections, and perhaps an open call log, until it is closed.

    Attributes:
        own_log: the log to close with the agent; None where somebody else keeps it.
    """

    own_log: FileCallLog | None = None

    def close(self) -> None:
        """Give back the connections, and close the call log that this agent opened."""
        assert isinstance(self.proposer, LlmProposerBase)
        self.proposer.session.client.close()
        if self.own_log is not None:
            self.own_log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def make_llm_agent(
    settings: LlmAgentSettings,
    loop: LoopSettings | None = None,
    call_log: CallLog | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> LlmAgent:
    """A language-model agent, ready to interpret.

    Args:
        settings: who is asked, and what for.
        loop: seed and experiments; the same defaults as every agent's.
        call_log: a file for the record of calls, or a log of your own; None keeps it in memory.
        environment: where the key is read from; None reads `os.environ`.

    Raises:
        ProviderSetupError: no key where one is needed, a bad base URL, or no model and none to be found.
        ProviderError: a server that does not say which models it has.
        OutputError: the call log cannot be opened.
    """
    settings = replace(settings, provider=with_model(settings.provider, environment))
    client = make_client(settings.provider, environment)
    own_log = FileCallLog(call_log) if isinstance(call_log, Path) else None
    log: CallLog = MemoryCallLog() if call_log is None or isinstance(call_log, Path) else call_log
    session = LlmSession(settings.provider, client, own_log or log)
    return LlmAgent(PROPOSERS[settings.style](settings, session), loop or LoopSettings(), own_log)
