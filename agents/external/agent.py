"""An agent from outside, ready to interpret."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracescribe.agents.external.answers import ToldCost
from tracescribe.agents.external.program import find_program
from tracescribe.agents.external.proposer import ExternalProposer
from tracescribe.agents.loop import LoopAgent
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.agents.providers.spec import AgentSpec


@dataclass(frozen=True)
class ExternalAgent(LoopAgent):
    """A `LoopAgent` around a program; `interpret` raises `ExternalAgentError` where the program loses its case."""

    def told_cost(self) -> ToldCost | None:
        """What the program said that the last case cost; None where it said nothing."""
        assert isinstance(self.proposer, ExternalProposer)
        return self.proposer.told_cost()


def external_agent(
    spec: AgentSpec, settings: LoopSettings | None = None, *, environment: Iterable[str] = ()
) -> ExternalAgent:
    """The agent of an `exec` or `python` spec; nothing of it runs yet.

    Args:
        environment: names of variables that it may see beside the few that every program needs.

    Raises:
        InputError: no such program or module, one that cannot be run, or a variable that is not set.
    """
    return ExternalAgent(ExternalProposer(find_program(spec, environment=environment)), settings or LoopSettings())
