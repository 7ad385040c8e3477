"""Whole interpretations by each style of language-model agent, over real HTTP, for the tests of the styles."""

from __future__ import annotations

from pathlib import Path

from tests.agents.fake_server import FakeServer
from tracescribe.agents.budget import Budget
from tracescribe.agents.calls.call_log import CallLog
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.durable.run_store import RunStore
from tracescribe.agents.llm.agent import LlmAgentSettings, make_llm_agent
from tracescribe.agents.llm.settings import Style
from tracescribe.agents.loop import LoopSettings
from tracescribe.agents.providers.settings import ProviderSettings
from tracescribe.agents.report import CircuitReport
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.toolbox import Toolbox

DALLAS = "the capital of the state containing Dallas is"
QUICK = LoopSettings(experiments=ExperimentSettings(n_controls=50, n_paraphrases=0))
"""As few controls as the rule allows: these tests are about the agent."""


def interpret(
    server: FakeServer,
    toolbox: Toolbox,
    style: Style,
    *,
    budget: Budget | None = None,
    call_log: CallLog | Path | None = None,
    loop: LoopSettings = QUICK,
    case: InterpretationCase | None = None,
    store: RunStore | None = None,
    prices: tuple[float, float] | None = None,
    **settings: object,
) -> CircuitReport:
    """One interpretation of the best-known prompt, labels judged by code alone unless asked otherwise."""
    price_input, price_output = prices or (None, None)
    provider = ProviderSettings.of(
        environment={},
        provider="openai",
        model="fake-1",
        base_url=server.url("openai"),
        max_attempts=1,
        concurrency=1,
        price_input=price_input,
        price_output=price_output,
    )
    given: dict[str, object] = {"judge_labels": False} | settings
    chosen = LlmAgentSettings(provider, style, **given)  # type: ignore[arg-type]
    with make_llm_agent(chosen, loop, call_log, environment={}) as agent:
        asked = case or InterpretationCase("dallas", prompt=DALLAS)
        return agent.interpret(asked, toolbox, budget or Budget(), store=store)


def timeless(report: CircuitReport) -> str:
    """A report as JSON without its seconds."""
    cost = report.cost.model_copy(update={"seconds": 0.0, "seconds_by_step": {}})
    return report.model_copy(update={"cost": cost}).model_dump_json()


def told(report: CircuitReport, step: str) -> str:
    """Everything that went wrong in a step, on one line."""
    return " | ".join(failure.error for failure in report.failures if failure.step == step)
