"""Agents by name or spec, with their settings checked before anything is loaded; budgets by what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.agents.baselines import BASELINES, TRIVIAL_BASELINES
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.agents.agent import DurableAgent
    from tracescribe.agents.budget import Budget
    from tracescribe.agents.calls.call_log import CallLog
    from tracescribe.agents.llm.settings import LlmAgentSettings
    from tracescribe.agents.loop import LoopAgent
    from tracescribe.agents.loop_settings import LoopSettings
    from tracescribe.agents.providers.settings import ProviderSettings
    from tracescribe.agents.providers.spec import AgentSpec

__all__ = [
    "AGENTS",
    "BASELINES",
    "LLM",
    "OFFLINE",
    "TRIVIAL_BASELINES",
    "AgentChoice",
    "PreparedAgent",
    "budget_with",
    "make_agent",
    "prepare_agent",
    "price_for",
]

OFFLINE = "offline"
LLM = "llm"
AGENTS = (OFFLINE, LLM, *BASELINES)
"""Every agent that one word names; see `agents.providers.spec` for those that name a language model or a program too."""
_UNNAMED = "(the first that the server lists)"


@dataclass(frozen=True)
class AgentChoice:
    """Which agent, and how it works; None leaves a value to its default or, for the `llm` agent, to the environment.

    Attributes:
        spec: as `--agent` takes it.
        seed: of every random draw.
        agent_env: names of environment variables that an agent from outside may see beside the few that it needs.
        max_rounds: rounds of revision.
        paraphrases: the prompt in other words, for the intervals of claims.
        style: `pipeline`, `one-shot` or `investigator`.
        judge_labels: False leaves the judging of labels to code; None is the style's default.
        provider, model, base_url: of the `llm` agent, where its spec does not name them.
        stream: whether answers are streamed.
        concurrency: requests in flight at once.
        price_input, price_output: USD per million tokens.
    """

    spec: str = OFFLINE
    seed: int = 0
    agent_env: tuple[str, ...] = ()
    max_rounds: int | None = None
    paraphrases: tuple[str, ...] = ()
    style: str | None = None
    judge_labels: bool | None = None
    provider: str | None = None
    model: str | None = None
    base_url: str | None = None
    stream: bool | None = None
    concurrency: int | None = None
    price_input: float | None = None
    price_output: float | None = None

    def named(self) -> dict[str, object]:
        """Options that belong to agents with a language model, as they were given."""
        options: dict[str, object] = {
            "--style": self.style,
            "--no-judge-labels": self.judge_labels,
            "--provider": self.provider,
            "--llm-model": self.model,
            "--base-url": self.base_url,
            "--stream": self.stream,
            "--concurrency": self.concurrency,
            "--price-input": self.price_input,
            "--price-output": self.price_output,
        }
        return {option: value for option, value in options.items() if value is not None}


@dataclass(frozen=True)
class PreparedAgent:
    """An agent that could be made: its settings hold, its key and address are there. Nothing is opened yet.

    Attributes:
        name: what people call it.
        loop: settings of the loop.
        settings: every setting that decides its result, as plain JSON values.
        llm: settings of its language model; None where it asks none.
        enter: opens it with a file for the record of its calls, or with a log of the caller's own; leaving it closes its
            connections.
    """

    name: str
    loop: LoopSettings
    settings: Mapping[str, object]
    llm: LlmAgentSettings | None
    enter: Callable[[Path | CallLog], AbstractContextManager[DurableAgent]]


def make_agent(name: str, *, seed: int) -> DurableAgent:
    """An agent that asks no language model, by any spec that names one.

    Raises:
        InputError: one that needs a language model.
        AgentSpecError: no such agent.
    """
    from tracescribe.agents.loop_settings import LoopSettings
    from tracescribe.agents.providers.spec import parse_agent_spec

    spec = parse_agent_spec(name)
    if spec.kind == LLM:
        raise InputError(f"agent {LLM!r} costs money on every case; it runs with 'tracescribe interpret --agent llm'")
    return _own_agent(spec, LoopSettings(seed=seed), ())


def prepare_agent(choice: AgentChoice, *, max_usd: float | None, plan_only: bool = False) -> PreparedAgent:
    """Check a choice as far as that is possible without loading a model: names, options, key, address, price.

    Args:
        choice: what was asked for.
        max_usd: limit of the budget; it can only be kept where the price is known.
        plan_only: nothing will be sent, so that no server is asked which models it has, and no key is needed.

    Raises:
        InputError: options that do not belong together, or a value outside its range.
        ProviderSetupError: no such agent, no key, a bad address, or no price to keep the budget by.
        ProviderError: a server that does not say which models it has.
    """
    from tracescribe.agents.providers.spec import parse_agent_spec

    spec = parse_agent_spec(choice.spec)
    loop = _loop_settings(choice)
    if spec.kind != LLM:
        if choice.named():
            options = " and ".join(choice.named())
            raise InputError(
                f"--agent {spec.kind} asks no language model, found {options}; choose another agent or leave out"
            )
        agent = _own_agent(spec, loop, choice.agent_env)
        settings = {**agent.proposer.settings(), "loop": loop.as_json()}
        return PreparedAgent(agent.name, loop, settings, None, lambda _: nullcontext(agent))
    if choice.agent_env:
        raise InputError("--agent-env names variables for exec: and python: agents alone; leave it out")
    _refuse_twice_named(choice, spec)
    provider = spec.settings(
        provider=choice.provider,
        model=choice.model,
        base_url=choice.base_url,
        stream=choice.stream,
        concurrency=choice.concurrency,
        price_input=choice.price_input,
        price_output=choice.price_output,
    )
    if not plan_only:
        provider = _reachable(provider)
    _require_price(provider, max_usd)
    llm = _llm_settings(provider, spec.style or choice.style, choice)
    name = f"llm-{llm.style}:{provider.model or _UNNAMED}"  # as its reports say
    settings = {**llm.as_json(), "loop": loop.as_json()}
    return PreparedAgent(name, loop, settings, llm, lambda log: _llm_agent(llm, loop, log))


def budget_with(**given: float | None) -> Budget:
    """The default budget with the limits that were given; None leaves a limit as it is.

    Args:
        given: fields of `Budget`.
    """
    from tracescribe.agents.budget import Budget

    return Budget.model_validate({name: limit for name, limit in given.items() if limit is not None})


def _own_agent(spec: AgentSpec, settings: LoopSettings, environment: tuple[str, ...]) -> LoopAgent:
    """An agent without a language model; one from outside is checked as far as that is possible without running it."""
    if spec.kind == "exec" or spec.kind == "python":
        from tracescribe.agents.external.agent import external_agent

        return external_agent(spec, settings, environment=environment)
    if environment:
        raise InputError("--agent-env names variables for exec: and python: agents alone; leave it out")
    assert spec.kind != "llm", "an agent that asks a language model is made where its settings are"
    if spec.kind == "offline":
        from tracescribe.agents.offline import offline_agent

        return offline_agent(settings)
    from tracescribe.agents.baselines import baseline_agent

    return baseline_agent(spec.kind, settings)


@contextmanager
def _llm_agent(settings: LlmAgentSettings, loop: LoopSettings, call_log: Path | CallLog) -> Iterator[DurableAgent]:
    from tracescribe.agents.llm.agent import make_llm_agent

    with make_llm_agent(settings, loop, call_log) as agent:
        yield agent


def _loop_settings(choice: AgentChoice) -> LoopSettings:
    from tracescribe.agents.loop_settings import LoopSettings
    from tracescribe.agents.testing.experiment_settings import ExperimentSettings

    empty = [number for number, text in enumerate(choice.paraphrases, start=1) if not text.strip()]
    if empty:
        raise InputError(f"paraphrase {empty[0]} is empty; give the prompt in other words")
    given: dict[str, Any] = {} if choice.max_rounds is None else {"max_rounds": choice.max_rounds}
    return LoopSettings(seed=choice.seed, experiments=ExperimentSettings(paraphrases=choice.paraphrases), **given)


def _llm_settings(provider: ProviderSettings, style: str | None, choice: AgentChoice) -> LlmAgentSettings:
    from tracescribe.agents.llm.settings import LlmAgentSettings

    given: dict[str, Any] = {} if style is None else {"style": style}
    return LlmAgentSettings(provider, judge_labels=choice.judge_labels, **given)


def _refuse_twice_named(choice: AgentChoice, spec: AgentSpec) -> None:
    """A spec that names a language model or a style leaves nothing for the older options to name."""
    if spec.style is not None and choice.style is not None:
        raise InputError(f"--agent {spec.style}@... names its style already, found --style too; leave it out")
    if spec.provider is None:
        return
    older = [option for option in ("--provider", "--llm-model", "--base-url") if option in choice.named()]
    if older:
        shown = choice.spec.partition(":")[0]
        raise InputError(
            f"--agent {shown}:... names its model already, found {' and '.join(older)} too; leave them out"
        )


def _reachable(provider: ProviderSettings) -> ProviderSettings:
    """The same settings with the model's name, once key and address have been found to be there."""
    if provider.provider == "local":
        _check_local(provider.model or "")
        return provider
    from tracescribe.agents.providers.settings import make_client, with_model

    named = with_model(provider)
    make_client(named).close()
    return named


def _check_local(name: str) -> None:
    """A folder that is written as one must be there; whether a hub id exists is found out when it is loaded."""
    if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        raise InputError(f"no folder {name}; --agent local: takes the folder of a model, or its hub id")


def _require_price(provider: ProviderSettings, max_usd: float | None) -> None:
    from tracescribe.agents.providers.prices import require_price

    require_price(price_for(provider), max_usd, _endpoint(provider))


def price_for(provider: ProviderSettings) -> Any:
    """The `Price` of a language model, or None where it is not known."""
    from tracescribe.agents.providers.prices import price_of

    return price_of(provider, _endpoint(provider))


def _endpoint(provider: ProviderSettings) -> Any:
    import os

    from tracescribe.agents.providers.completion import Endpoint

    url = "" if provider.provider == "local" else provider.address(os.environ)[0]
    return Endpoint(provider=provider.provider, base_url=url, model=provider.model or _UNNAMED)
