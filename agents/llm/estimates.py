"""What a language-model agent would ask on a case, before anything is sent: for `--dry-run`. A pure function, no call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from tracescribe.agents.labelling.label_test_settings import LabelTestSettings
from tracescribe.agents.llm.actions import InvestigatorAnswer
from tracescribe.agents.llm.answers import (
    ClaimsAnswer,
    FeatureLabelAnswer,
    OneShotAnswer,
    RevisionAnswer,
    SupernodesAnswer,
)
from tracescribe.agents.llm.settings import LlmAgentSettings
from tracescribe.agents.providers.answer_schema import strict_schema
from tracescribe.agents.providers.completion import Usage
from tracescribe.agents.providers.estimates import FRAMING_TOKENS, CallEstimate, estimate_cost, total_of
from tracescribe.agents.providers.prices import Price
from tracescribe.prompts.library import load_prompt

METHODS = 2
"""Detection and fuzzing."""
CONTEXT_CHARS, WORD_CHARS, ROW_CHARS, MEMBER_CHARS = 200, 80, 380, 110
"""Of one context, one row of a table of words, one row of a table of features, one member of a group: as on the embedded
model and on Gemma-2-2B's dashboards, rounded up."""
CASE_CHARS = 2_000
"""Of the prompt's tokens and its outputs."""
CLAIM_CHARS = 450
"""Of one claim with its measurement, or one donor, or one supernode."""
FEATURES_PER_GROUP = 3
"""About how many features a supernode holds."""


@dataclass(frozen=True)
class StepEstimate:
    """One kind of question.

    Attributes:
        step: of the loop; `judge_labels` for the judging of labels by their words.
        calls_low, calls_high: without and with every repair, every label sent back, every round and turn that is allowed.
        input_tokens, output_tokens: of the higher number of calls.
        usd: of these tokens; None where the price is unknown.
    """

    step: str
    calls_low: int
    calls_high: int
    input_tokens: int
    output_tokens: int
    usd: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What a run would ask: step by step, and in all."""

    steps: tuple[StepEstimate, ...]
    total: CallEstimate


@dataclass(frozen=True)
class _Questions:
    """Questions of one kind: how many, and how many characters of data each holds."""

    step: str
    template: str
    answer: type[BaseModel] | None
    low: int
    high: int
    data_chars: int


def estimate(
    settings: LlmAgentSettings,
    *,
    n_features: int,
    n_labels_with_evidence: int | None = None,
    max_rounds: int = 3,
    price: Price | None = None,
    judging: LabelTestSettings | None = None,
) -> Estimate:
    """Number of calls and tokens by step, for a case whose survey has so many features.

    Args:
        n_features: distinct features of the survey.
        n_labels_with_evidence: those that a corpus scan has contexts of; all of them by default.
        max_rounds: rounds of revision.
        price: of the model; None where it is unknown.
        judging: of labels by their words.
    """
    labelled = min(settings.max_labels, n_features)
    judged = labelled if n_labels_with_evidence is None else min(labelled, n_labels_with_evidence)
    questions = [
        *_thinking(settings, n_features, labelled, max_rounds),
        *_judging(settings, judged, judging or LabelTestSettings()),
    ]
    parts = [(each, _cost(settings, each, price)) for each in questions if each.high]
    steps = tuple(
        StepEstimate(each.step, cost.calls_low, cost.calls_high, cost.input_tokens, cost.output_tokens, cost.usd)
        for each, cost in parts
    )
    total = total_of(cost for _, cost in parts)
    return Estimate(steps, total if price is not None else total.model_copy(update={"usd": None}))


def one_request(settings: LlmAgentSettings, price: Price) -> tuple[float, float]:
    """About what is set aside in USD before one request is sent, which a budget must hold: every byte as a token, and an
    answer as long as is allowed.

    Returns:
        Of the smallest kind of question, without any data; and of the largest, with as much as it may show.
    """
    questions = list(_thinking(settings, settings.max_labels, settings.max_labels, 1))
    return (
        min(_most(settings, each, 0, price) for each in questions),
        max(_most(settings, each, each.data_chars, price) for each in questions),
    )


def _most(settings: LlmAgentSettings, question: _Questions, data_chars: int, price: Price) -> float:
    usage = Usage(
        input_tokens=_fixed_chars(question) + data_chars + FRAMING_TOKENS * 3,
        output_tokens=settings.provider.max_tokens,
    )
    return price.usd(usage)


def _fixed_chars(questions: _Questions) -> int:
    """Of the template and the schema of an answer, which every such request holds."""
    template = load_prompt(questions.template)
    schema = 0 if questions.answer is None else len(json.dumps(strict_schema(questions.answer)))
    return len(template.system) + len(template.user) + schema


def _cost(settings: LlmAgentSettings, questions: _Questions, price: Price | None) -> CallEstimate:
    return estimate_cost(
        _fixed_chars(questions) + questions.data_chars,
        settings.provider.max_tokens,
        calls_low=questions.low,
        calls_high=questions.high * (1 + settings.provider.max_repairs),
        price=price,
    )


def _thinking(settings: LlmAgentSettings, n_features: int, labelled: int, max_rounds: int) -> Iterator[_Questions]:
    table = min(settings.max_table_chars, n_features * ROW_CHARS)
    groups = -(-n_features // FEATURES_PER_GROUP)
    circuit = CASE_CHARS + CLAIM_CHARS * (groups + 2 * settings.max_swapped) + labelled * MEMBER_CHARS
    if settings.style == "one-shot":
        yield _Questions("label", "interpret_at_once", OneShotAnswer, 1, 1, CASE_CHARS + table)
        return
    if settings.style == "investigator":
        dialogue = settings.dialogue
        talk = circuit + dialogue.max_transcript_chars // 2  # a transcript grows from nothing to its limit
        verdicts = CLAIM_CHARS * settings.max_claims
        turns = dialogue.max_claim_turns
        yield _Questions("label", "investigate", InvestigatorAnswer, 2, dialogue.max_turns, talk)
        yield _Questions("hypothesise", "investigate", InvestigatorAnswer, 2, turns, talk)
        yield _Questions("revise", "investigate", InvestigatorAnswer, 0, max_rounds * turns, talk + verdicts)
        return
    grouped = CASE_CHARS + groups * CLAIM_CHARS + n_features * MEMBER_CHARS
    verdicts = CLAIM_CHARS * (settings.max_claims + max_rounds * settings.max_revised_claims)
    feature = _feature_chars(settings)
    yield _Questions("label", "label_feature", FeatureLabelAnswer, labelled, labelled, feature)
    yield _Questions("group", "name_supernodes", SupernodesAnswer, 1, 1, grouped)
    yield _Questions("hypothesise", "propose_claims", ClaimsAnswer, 1, 1, circuit)
    yield _Questions("revise", "revise_claims", RevisionAnswer, 0, max_rounds, circuit + verdicts)


def _judging(settings: LlmAgentSettings, judged: int, judging: LabelTestSettings) -> Iterator[_Questions]:
    """Labels sent back, and the judging of all labels: a label sent back is judged on fresh contexts, old and new."""
    relabelled = 0 if settings.style == "one-shot" else min(judging.max_relabelled, judged)
    counter_examples = 2 * judging.n_counterexamples * CONTEXT_CHARS
    chars = _feature_chars(settings) + counter_examples
    yield _Questions("relabel", "relabel_feature", FeatureLabelAnswer, 0, relabelled, chars)
    if settings.judges_labels:
        per_label = METHODS * -(-judging.model_contexts // judging.per_call)
        most = per_label * (judged + 2 * relabelled)
        yield _Questions(
            "judge_labels", "detect_feature", None, per_label * judged, most, judging.per_call * CONTEXT_CHARS
        )


def _feature_chars(settings: LlmAgentSettings) -> int:
    """Of the evidence on one feature."""
    evidence = settings.evidence
    contexts = (evidence.contexts + evidence.silent) * CONTEXT_CHARS
    return contexts + 4 * evidence.words * WORD_CHARS + CASE_CHARS // 2
