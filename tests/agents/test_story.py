"""The story: every outcome is told as what it is, in words that need no glossary."""

from __future__ import annotations

import re

import pytest

from tracescribe.agents.claims import LabelClaim
from tracescribe.agents.findings import Outcome
from tracescribe.agents.report import CircuitReport, Sentence
from tracescribe.agents.state import LoopState
from tracescribe.agents.story import tell_story
from tracescribe.agents.survey import Survey
from tracescribe.tracer.graph import AttributionGraph

BARE_ANSWER = re.compile(r"The model goes on with .* \(probability [.\d]+\)\.")
"""What the model said is a fact, whatever becomes of the claims about it."""
WORDS: dict[Outcome, tuple[str, ...]] = {
    "refuted": ("Not supported", "not supported"),
    "inconclusive": ("Undecided", "undecided", "could not be confirmed"),
    "untested": ("not tested",),
}


def told(report: CircuitReport, graph: AttributionGraph, outcome: Outcome | None) -> tuple[Sentence, ...]:
    """The story of a report in which every verdict is this one."""
    update: dict[str, object] = {"outcome": outcome}
    if outcome == "untested":
        update |= {"effect": None, "q_value": None}
    verdicts = tuple(v.model_copy(update=update) if outcome else v for v in report.verdicts)
    survey = Survey(graph, graph, (), (), {}, report.targets, 0.0)
    return tell_story(
        survey,
        LoopState(
            survey=survey,
            labels=report.labels,
            supernodes=report.supernodes,
            pending=(),
            claims=report.claims,
            plans=report.plans,
            measurements=() if outcome == "untested" else report.measurements,
            verdicts=verdicts,
            failures=(),
            untestable=(),
            cut_short=None,
            rounds=0,
            report=report,
        ),
    )


def test_the_story_is_made_from_claims_and_verdicts_alone(
    dallas_report: CircuitReport, dallas_graph: AttributionGraph
) -> None:
    assert told(dallas_report, dallas_graph, None) == dallas_report.summary


@pytest.mark.parametrize("outcome", list(WORDS))
def test_what_does_not_hold_is_never_told_as_if_it_did(
    dallas_report: CircuitReport, dallas_graph: AttributionGraph, outcome: Outcome
) -> None:
    sentences = told(dallas_report, dallas_graph, outcome)
    assert sentences
    for sentence in sentences:
        if not BARE_ANSWER.fullmatch(sentence.text):
            assert any(word in sentence.text for word in WORDS[outcome]), sentence.text


def test_every_claim_is_told(dallas_report: CircuitReport) -> None:
    cited = {claim for sentence in dallas_report.summary for claim in sentence.claims}
    assert cited == {claim.claim_id for claim in dallas_report.claims}


def test_numbers_in_the_story_are_those_of_the_experiments(dallas_report: CircuitReport) -> None:
    labels = [c for c in dallas_report.claims if isinstance(c, LabelClaim)]
    assert any(f"{len(labels)} of {len(labels)} feature labels" in s.text for s in dallas_report.summary)
    assert "?" not in " ".join(s.text for s in dallas_report.summary)
    assert "nan" not in " ".join(s.text for s in dallas_report.summary)
