"""What the loop found becomes a report that keeps its contract, whatever texts it is made of."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracescribe.agents.report import CircuitReport
from tracescribe.agents.reporting.assembly import mark_rejected, with_story
from tracescribe.agents.reporting.report_story_checks import story_faults
from tracescribe.agents.reporting.report_whole_checks import standing_features
from tracescribe.agents.reporting.story import tell_story

pieces = st.lists(
    st.sampled_from(
        [
            "'",
            " ",
            "7",
            ".97",
            "Dallas",
            "two",
            "%",
            "(at ",
            "x",
            "\u202e",
            "\u200b",
            "½",
            "' moves ",
            "−",
            "\n",
            "{}",
            "'5'",
        ]
    ),
    max_size=6,
)
texts = pieces.map("".join)


def retold(report: CircuitReport, label: str, token: str, statement: str) -> CircuitReport:
    """The report with other texts."""
    return report.model_copy(
        update={
            "tokens": tuple(f"{token}{place}" for place in range(len(report.tokens))),
            "supernodes": tuple(s.model_copy(update={"label": label}) for s in report.supernodes),
            "claims": tuple(c.model_copy(update={"statement": statement or "-"}) for c in report.claims),
        }
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, texts, texts)
def test_whatever_the_texts_are_the_story_can_be_checked(
    dallas_report: CircuitReport, label: str, token: str, statement: str
) -> None:
    report = with_story(retold(dallas_report, label, token, statement))
    assert not story_faults(report)
    assert report.summary or report.failures


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts.filter(lambda text: "'" not in text), texts.filter(lambda text: "'" not in text))
def test_texts_without_quotation_marks_never_cost_the_story(
    dallas_report: CircuitReport, label: str, token: str
) -> None:
    report = retold(dallas_report, label, token, "a statement")
    assert not story_faults(report.model_copy(update={"summary": tell_story(report)}))


def test_a_story_that_cannot_be_checked_is_left_out_and_the_report_says_so(
    dallas_report: CircuitReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    false = tuple(s.model_copy(update={"text": s.text + " 17"}) for s in dallas_report.summary)
    monkeypatch.setattr("tracescribe.agents.reporting.assembly.tell_story", lambda report: false)
    report = with_story(dallas_report.model_copy(update={"summary": ()}))
    assert report.summary == ()
    assert report.failures[-1].step == "report" and "says '1' without a source" in report.failures[-1].error


def test_what_no_step_explains_is_counted_from_the_steps_that_stand(dallas_report: CircuitReport) -> None:
    missing = dallas_report.unexplained
    assert missing.influence_left_out is not None and 0.0 <= missing.influence_left_out <= 1.0
    assert (missing.features_left_out == 0) == (missing.influence_left_out == 0.0)
    refuted = tuple(v.model_copy(update={"outcome": "refuted"}) for v in dallas_report.verdicts)
    rejected = mark_rejected(dallas_report.supernodes, dallas_report.claims, refuted)
    assert standing_features(dallas_report.supernodes) and not standing_features(rejected)
