"""A specification's agent and budget as the rooms below take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracescribe.runs.agent_choice import AgentChoice, PreparedAgent, budget_with, prepare_agent, price_for

if TYPE_CHECKING:
    from tracescribe.agents.budget import Budget
    from tracescribe.runs.jobs.specification import Agent, CaseBudget, JobSpecification

LLM_FIELDS = ("style", "judge_labels", "concurrency", "stream", "price_input", "price_output")
"""Fields of `agent` that belong to agents with a language model."""


def choice_of(agent: Agent, seed: int) -> AgentChoice:
    """The agent of one case."""
    return AgentChoice(
        spec=agent.spec,
        seed=seed,
        agent_env=agent.agent_env,
        max_rounds=agent.max_rounds,
        paraphrases=agent.paraphrases,
        style=agent.style,
        judge_labels=agent.judge_labels,
        stream=agent.stream,
        concurrency=agent.concurrency,
        price_input=agent.price_input,
        price_output=agent.price_output,
    )


def budget_of(limits: CaseBudget) -> Budget:
    """The budget of one case."""
    return budget_with(**limits.model_dump(exclude={"kill_after"}))


def planned_agent(job: JobSpecification) -> PreparedAgent:
    """The agent, checked as far as that is possible without a key or a server.

    Raises:
        InputError: options that do not belong together, or a value outside its range.
        ProviderSetupError: no such agent, a bad address, or no price to keep the budget by.
    """
    return prepare_agent(choice_of(job.agent, job.seeds[0]), max_usd=job.budget.case.usd, plan_only=True)


def may_cost(agent: PreparedAgent) -> bool:
    """Whether it asks a language model whose answers may have to be paid for."""
    if agent.llm is None:
        return False
    from tracescribe.agents.providers.completion import Usage

    price = price_for(agent.llm.provider)
    return price is None or price.usd(Usage(input_tokens=1_000, output_tokens=1_000)) > 0
