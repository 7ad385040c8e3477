"""What an interpretation would do and may cost, found out without asking a language model or writing a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tracescribe.runs.interpreting import InterpretRequest, check_sources, open_case

if TYPE_CHECKING:
    from tracescribe.agents.budget import Budget
    from tracescribe.agents.llm.settings import LlmAgentSettings
    from tracescribe.agents.loop_settings import LoopSettings
    from tracescribe.runs.agent_choice import PreparedAgent
    from tracescribe.runs.terminal import StepLog

PASSES_OF_A_WORDING = 3
"""Forward passes of one paraphrase of one claim: clean, edited, and the reference that some metrics need."""
PASSES_OF_DONORS = 50
"""Forward passes that looking for donors costs for one supernode (`LlmAgentSettings.max_swapped`)."""


@dataclass(frozen=True)
class Range:
    """A number that is not known yet, between two bounds."""

    low: float
    high: float


@dataclass(frozen=True)
class StepPlan:
    """What one step of the loop asks of a language model.

    Attributes:
        calls: requests; the high number holds every repair, label sent back, round and turn that is allowed.
        tokens: read and written.
    """

    step: str
    calls: Range
    tokens: Range


@dataclass(frozen=True)
class InterpretationPlan:
    """What an interpretation would do.

    Attributes:
        prompt, answer: of the graph.
        agent: by name.
        style: of a language model; None where none is asked.
        steps: of the loop, in the order of a first pass.
        features: that the survey keeps, each counted once.
        labels: of them that are labelled.
        with_evidence: of those, how many have contexts at hand.
        experiments, forward_passes: tests, and prompts sent through the studied model for them; the budget's limits
            are upper bounds of both.
        asked: what each step asks of a language model.
        calls, tokens, usd: sums, the low numbers held to the budget; `usd` is None where the price is not known, or nothing is asked.
        over: limits of the budget that the high estimate passes: the run may be cut short.
        budget: every limit.
    """

    prompt: str
    answer: str
    agent: str
    style: str | None
    steps: tuple[str, ...]
    features: int
    labels: int
    with_evidence: int
    experiments: Range
    forward_passes: Range
    asked: tuple[StepPlan, ...]
    calls: Range
    tokens: Range
    usd: Range | None
    over: tuple[str, ...]
    budget: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return asdict(self)


def plan_interpretation(
    request: InterpretRequest, chosen: PreparedAgent, budget: Budget, log: StepLog
) -> InterpretationPlan:
    """Trace and survey, and estimate the rest.

    Raises:
        InputError: the prompt, the graph, the model or the transcoders cannot be used.
        BudgetExceededError: the budget does not even allow the prompt to be traced.
    """
    check_sources(request)
    from tracescribe.agents.case import InterpretationCase
    from tracescribe.agents.loop import STEPS
    from tracescribe.agents.survey import make_survey

    graph, toolbox = open_case(request, log)
    with log.step("survey") as details:
        tools = toolbox.open(InterpretationCase(case_id="case", graph=graph), budget, seed=chosen.loop.seed)
        survey = make_survey(tools)
        refs = list(dict.fromkeys(node.ref for node in survey.features))
        details.append(f"{len(refs)} features")
    labelled = refs if chosen.llm is None else refs[: chosen.llm.max_labels]
    with_evidence = sum(tools.evidence(ref) is not None for ref in labelled)
    experiments = _experiments(chosen.llm, chosen.loop, budget, tested=tools.can_test)
    asked, usd = _asked(chosen, len(refs), with_evidence)
    calls = _limited(_summed([step.calls for step in asked]), budget.llm_calls)
    tokens = _limited(_summed([step.tokens for step in asked]), budget.tokens)
    usd = None if usd is None else _limited(usd, budget.usd)
    passes = _passes(chosen.llm, chosen.loop, experiments, budget)
    high = {"llm_calls": calls.high, "tokens": tokens.high, "usd": 0.0 if usd is None else usd.high}
    limits = budget.model_dump(mode="json")
    return InterpretationPlan(
        prompt=graph.prompt,
        answer=survey.target_token,
        agent=chosen.name,
        style=None if chosen.llm is None else chosen.llm.style,
        steps=STEPS,
        features=len(refs),
        labels=len(labelled),
        with_evidence=with_evidence,
        experiments=experiments,
        forward_passes=passes,
        asked=asked,
        calls=calls,
        tokens=tokens,
        usd=usd,
        over=tuple(name for name, value in high.items() if limits[name] is not None and value > limits[name]),
        budget=limits,
    )


def _experiments(llm: LlmAgentSettings | None, loop: LoopSettings, budget: Budget, *, tested: bool) -> Range:
    """Claims that may be tested: a language model is held to so many for each round, the budget holds for all."""
    if not tested:
        return Range(0, 0)
    rounds = 0 if llm is not None and llm.style == "one-shot" else loop.max_rounds
    most = float("inf") if llm is None else llm.max_claims + rounds * llm.max_revised_claims
    limit = float("inf") if budget.experiments is None else budget.experiments
    return Range(0, min(most, limit))


def _passes(llm: LlmAgentSettings | None, loop: LoopSettings, experiments: Range, budget: Budget) -> Range:
    """Forward passes of the tests, of looking for donors, and of measuring the circuit after every round."""
    if not experiments.high:
        return Range(0, 0)
    from tracescribe.agents.testing.circuit_effect import N_RANDOM_CIRCUITS
    from tracescribe.agents.testing.doses import DOSE_STEPS

    limit = float("inf") if budget.forward_passes is None else budget.forward_passes
    if experiments.high == float("inf"):
        return Range(0, limit)
    settings = loop.experiments.for_claims(int(experiments.high))
    wordings = len(settings.paraphrases) or settings.n_paraphrases
    each = 1 + settings.n_controls + DOSE_STEPS + PASSES_OF_A_WORDING * wordings
    rounds = 1 + loop.max_rounds
    donors = PASSES_OF_DONORS * (0 if llm is None else llm.max_swapped) * rounds
    circuit = 2 * (1 + N_RANDOM_CIRCUITS) * rounds
    return Range(0, min(experiments.high * each + donors + circuit, limit))


def _asked(chosen: PreparedAgent, n_features: int, with_evidence: int) -> tuple[tuple[StepPlan, ...], Range | None]:
    """What each step asks of the language model, and what all of it costs."""
    if chosen.llm is None:
        return (), None
    from tracescribe.agents.llm.estimates import estimate
    from tracescribe.runs.agent_choice import price_for

    price = price_for(chosen.llm.provider)
    told = estimate(
        chosen.llm,
        n_features=n_features,
        n_labels_with_evidence=with_evidence,
        max_rounds=chosen.loop.max_rounds,
        price=price,
    )
    steps = tuple(
        StepPlan(
            step.step,
            Range(step.calls_low, step.calls_high),
            _from_high(step.input_tokens + step.output_tokens, step.calls_low, step.calls_high),
        )
        for step in told.steps
    )
    if price is None:
        return steps, None
    return steps, _summed([_from_high(step.usd or 0.0, step.calls_low, step.calls_high) for step in told.steps])


def _from_high(value: float, calls_low: int, calls_high: int) -> Range:
    """Both bounds from the high one: calls of a step are of about one size."""
    return Range(value * calls_low / calls_high if calls_high else 0.0, value)


def _limited(asked: Range, limit: float | None) -> Range:
    """A budget may end a run below what it asks at least; what it asks at most is told in full, beside the limit."""
    return asked if limit is None else Range(min(asked.low, limit), asked.high)


def _summed(ranges: list[Range]) -> Range:
    return Range(sum(part.low for part in ranges), sum(part.high for part in ranges))
