"""The agents of a benchmark: specs as the command line takes them, made into contestants that workers can open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs.agent_choice import AgentChoice, PreparedAgent, prepare_agent
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.agents.agent import InterpretationAgent
    from tracescribe.evals.benchmark.work import Contestant
    from tracescribe.evals.scorers.label_similarity import LabelRaters

DEFAULT_AGENTS = ("offline", "influence", "position", "random")
"""Who is run when nobody is named: the agent of this product, and what it has to beat."""


@dataclass(frozen=True)
class OpenChoice:
    """Opens an agent by its choice, in whatever process; see `evals.benchmark.work.OpenAgent`."""

    choice: AgentChoice
    max_usd: float | None

    def __call__(self, seed: int, calls: Path) -> AbstractContextManager[InterpretationAgent]:
        """Open it with a seed and a file for the record of its calls."""
        return prepare_agent(replace(self.choice, seed=seed), max_usd=self.max_usd).enter(calls)


def split_specs(given: Sequence[str]) -> tuple[str, ...]:
    """Specs from options that may hold several, with commas between them.

    A comma divides where a name or a spec follows; one inside a program's arguments stays.

    Raises:
        InputError: an empty name, or an agent that is named twice.
    """
    from tracescribe.agents.providers.spec import PLAIN, PREFIXES, RENAMED

    names = "|".join(map(re.escape, sorted((*PLAIN, *RENAMED), key=len, reverse=True)))
    prefixes = "|".join(map(re.escape, sorted(PREFIXES, key=len, reverse=True)))
    divide = re.compile(rf",(?=\s*(?:(?:{names})\s*(?:,|$)|(?:[a-z-]+@)?(?:{prefixes}):|[a-z-]+@llm))")
    specs: list[str] = []
    for text in given:
        plain = "exec:" not in text and "python:" not in text
        specs += [part.strip() for part in (text.split(",") if plain else divide.split(text))]
    if any(not spec for spec in specs):
        raise InputError("--agents holds an empty name; give names or specs with commas between them")
    twice = [spec for spec in specs if specs.count(spec) > 1]
    if twice:
        raise InputError(f"agent {twice[0]!r} is named twice; name each once")
    return tuple(specs)


def contestants(choices: Sequence[AgentChoice], *, max_usd: float | None) -> tuple[Contestant, ...]:
    """Check every choice as far as that is possible without loading a model.

    Args:
        max_usd: of one case; it can only be kept where the price is known.

    Raises:
        InputError: no such agent, options that do not belong together, no key, or no price to keep the budget by.
    """
    from tracescribe.evals.benchmark.work import Contestant

    prepared = [prepare_agent(choice, max_usd=max_usd) for choice in choices]
    shown = [choice.spec if one.llm is not None else one.name for choice, one in zip(choices, prepared, strict=True)]
    return tuple(
        Contestant(
            name=name if shown.count(name) == 1 else choice.spec,
            settings=_settings(one),
            open=OpenChoice(choice, max_usd),
            paid=_may_cost(one),
        )
        for choice, one, name in zip(choices, prepared, shown, strict=True)
    )


def _may_cost(prepared: PreparedAgent) -> bool:
    return prepared.llm is not None and prepared.llm.provider.provider != "local"


def _settings(prepared: PreparedAgent) -> Mapping[str, Any]:
    """All that decides an agent's results, but its seed."""
    from dataclasses import asdict

    loop = asdict(prepared.loop)
    loop.pop("seed", None)
    return {"agent": dict(prepared.settings), "loop": loop}


@contextmanager
def label_raters(
    spec: str | None, calls: Path, max_usd: float | None, prices: tuple[float | None, float | None] = (None, None)
) -> Iterator[LabelRaters]:
    """A language model that judges labels, calibrated on pairs that people decided; nobody where none was asked for.

    Args:
        calls: file for the record of its calls: what it holds is not asked, and not paid for, again.
        max_usd: of all its questions together.
        prices: USD per million tokens read and written, where the price list does not know them.

    Raises:
        InputError: the spec names no language model.
        WorkError: it gives too few usable answers to be trusted.
    """
    from tracescribe.evals.scorers.label_similarity import NO_RATERS, LabelRaters

    if spec is None:
        yield NO_RATERS
        return
    from tracescribe.agents.budget import Budget, Meter
    from tracescribe.agents.llm.base import LlmProposerBase
    from tracescribe.agents.providers.spec import parse_agent_spec
    from tracescribe.evals.scorers.label_judge import make_label_judge

    if parse_agent_spec(spec).kind != "llm":
        raise InputError(f"--label-judge {spec!r} asks no language model; give one such as openai:MODEL")
    budget = Budget(experiments=None, forward_passes=None, seconds=None, llm_calls=None, tokens=None, usd=max_usd)
    prepared = prepare_agent(AgentChoice(spec=spec, price_input=prices[0], price_output=prices[1]), max_usd=max_usd)
    with prepared.enter(calls) as agent:
        proposer = getattr(agent, "proposer", None)
        assert isinstance(proposer, LlmProposerBase), "an agent that asks a language model"
        yield LabelRaters(judge=make_label_judge(proposer.session, Meter(budget)))
