"""The story: every outcome is told as what it is, in words that need no glossary, and in numbers that can be looked up."""

from __future__ import annotations

import math
import re

import pytest

from tracescribe.agents.claims import LabelClaim
from tracescribe.agents.findings import CircuitEffect, Outcome
from tracescribe.agents.report import CircuitReport, Sentence
from tracescribe.agents.reporting.assembly import mark_rejected
from tracescribe.agents.reporting.phrases import amount, percent, phrase, probability, sentence
from tracescribe.agents.reporting.report_numbers import tells, value_at
from tracescribe.agents.reporting.report_story_checks import story_faults
from tracescribe.agents.reporting.story import STOP_WORDS, tell_story
from tracescribe.agents.testing.swap_summary import swap_summaries

OF_THE_WHOLE = re.compile(r"The model goes on with|The circuit|Without it,|The agent stopped")
"""What the model said, what the circuit does as a whole and why the agent stopped are facts, whatever becomes of claims."""
WORDS: dict[Outcome, tuple[str, ...]] = {
    "refuted": ("Not supported", "not supported"),
    "inconclusive": ("Undecided", "undecided", "could not be confirmed"),
    "untested": ("not tested",),
}
LONGEST = 300
"""Characters of a sentence: what a phone shows at once."""


def with_outcome(report: CircuitReport, outcome: Outcome) -> CircuitReport:
    """The report with this verdict everywhere, and all that follows from verdicts."""
    update: dict[str, object] = {"outcome": outcome}
    if outcome == "untested":
        update |= {"effect": None, "q_value": None}
    verdicts = tuple(v.model_copy(update=update) for v in report.verdicts)
    return report.model_copy(
        update={
            "verdicts": verdicts,
            "measurements": () if outcome == "untested" else report.measurements,
            "supernodes": mark_rejected(report.supernodes, report.claims, verdicts),
            "swaps": swap_summaries(report.claims, verdicts),
        }
    )


def told(report: CircuitReport, outcome: Outcome) -> tuple[Sentence, ...]:
    return tell_story(with_outcome(report, outcome))


def test_the_story_is_made_from_the_report_alone(dallas_report: CircuitReport) -> None:
    assert tell_story(dallas_report) == dallas_report.summary
    assert tell_story(dallas_report.model_copy(update={"summary": ()})) == dallas_report.summary


@pytest.mark.parametrize("outcome", list(WORDS))
def test_what_does_not_hold_is_never_told_as_if_it_did(dallas_report: CircuitReport, outcome: Outcome) -> None:
    sentences = told(dallas_report, outcome)
    assert sentences
    for each in sentences:
        if not OF_THE_WHOLE.match(each.text):
            assert any(word in each.text for word in WORDS[outcome]), each.text


def test_every_claim_is_told_and_told_shortly(dallas_report: CircuitReport) -> None:
    cited = {claim for each in dallas_report.summary for claim in each.claims}
    assert cited == {claim.claim_id for claim in dallas_report.claims}
    assert max(len(each.text) for each in dallas_report.summary) <= LONGEST
    for outcome in WORDS:
        assert {claim for each in told(dallas_report, outcome) for claim in each.claims} == cited


def test_every_number_equals_the_value_that_it_names(dallas_report: CircuitReport) -> None:
    document = dallas_report.model_dump(mode="json")
    numbers = [number for each in dallas_report.summary for number in each.numbers]
    assert len(numbers) > 20
    for number in numbers:
        value = value_at(document, number.source)
        assert value is not None and tells(number.text, value), number
    text = " ".join(each.text for each in dallas_report.summary)
    assert "?" not in text and "nan" not in text


def test_labels_are_counted(dallas_report: CircuitReport) -> None:
    labels = [c for c in dallas_report.claims if isinstance(c, LabelClaim)]
    assert any(f"{len(labels)} feature labels hold" in each.text for each in dallas_report.summary)
    one = [c for c in dallas_report.claims if not isinstance(c, LabelClaim)] + labels[:1]
    single = dallas_report.model_copy(update={"claims": tuple(one)})
    for outcome, ending in {"refuted": "does not hold", "inconclusive": "could not", "untested": "was not"}.items():
        sentences = [each for each in told(single, outcome) if "label" in each.text]  # type: ignore[arg-type]
        assert len(sentences) == 1 and f"1 feature label {ending}" in sentences[0].text


@pytest.mark.parametrize("reason", list(STOP_WORDS))
def test_why_the_agent_stopped_is_told(dallas_report: CircuitReport, reason: str) -> None:
    assert dallas_report.stopped is not None
    stopped = dallas_report.stopped.model_copy(update={"reason": reason, "rounds": 1})
    last = tell_story(dallas_report.model_copy(update={"stopped": stopped}))[-1]
    assert last.text == f"The agent stopped after 1 round of revision: {STOP_WORDS[stopped.reason]}."


def test_the_whole_circuit_is_told_beside_random_ones(dallas_report: CircuitReport) -> None:
    circuit = CircuitEffect(
        target="Austin", foil="x", n_features=3, n_active=9, sufficiency=0.912, necessity=-0.04, random_sufficiency=(0.1,) * 99,
        sufficiency_p=0.01, random_necessity=(0.1,) * 4, logit_difference=5.0, logit_difference_empty=0.0,
    )  # fmt: skip
    report = dallas_report.model_copy(update={"circuit": circuit})
    text = " ".join(each.text for each in tell_story(report))
    assert (
        "The circuit, 3 features in all, keeps 91% of the lead of 'Austin' over 'x' by itself (p .010 among 99 " in text
    )
    assert "Without it, -4% of that lead is lost (too few random circuits to compare with: 4)." in text
    assert not story_faults(report.model_copy(update={"summary": tell_story(report)}))
    every = report.model_copy(update={"circuit": circuit.model_copy(update={"n_active": 3})})
    assert any("The circuit holds every feature that fires in this prompt (3)" in s.text for s in tell_story(every))


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"effect": 0.5}, "it is less than was claimed"),
        ({"n_controls": 3}, "there are too few random changes"),
        ({"q_value": 0.2}, "random changes of the same size do not fall clearly behind"),
        ({}, "it does not grow with the dose"),
    ],
)
def test_why_a_claim_is_undecided_is_told(dallas_report: CircuitReport, update: dict[str, object], words: str) -> None:
    first, *rest = dallas_report.verdicts
    verdict = first.model_copy(update={"outcome": "inconclusive", **update})
    sentences = tell_story(dallas_report.model_copy(update={"verdicts": (verdict, *rest)}))
    (undecided,) = [each.text for each in sentences if each.text.startswith("Undecided")]
    assert words in undecided


def test_numbers_are_written_so_that_they_can_be_read_back() -> None:
    for value in (0.0, 3e-9, 0.0004, 0.0213, 0.0996, 0.1, 0.97, 0.995, 1.0, 1.16):
        for write in (probability, percent, amount):
            piece = write(value, "/x")
            assert not isinstance(piece, str) and tells(piece.text, value), (write, value)
    for value in (-0.4, -3.21, 123456.7, 99.7, 0.00001, -12.0):
        for write in (percent, amount):
            piece = write(value, "/x")
            assert not isinstance(piece, str) and tells(piece.text, value), (write, value)
    assert probability(None, "/x") == probability(math.nan, "/x") == "?"
    made = sentence(phrase("p ", probability(0.04, "/a"), ", q ", probability(0.5, "/b"), "."), ("c1",))
    assert made.text == "p .040, q .50."
    assert [(n.text, n.source) for n in made.numbers] == [(".040", "/a"), (".50", "/b")]
