"""Verdicts in plain words: the one condition of the rule that decided, and where a supernode's features stand."""

from __future__ import annotations

import pytest

from tests.agents.rendering.conftest import make_report
from tracescribe.agents.findings import Outcome, Verdict
from tracescribe.runs.web.report_view import report_page
from tracescribe.runs.web.report_words import outcome_words


@pytest.mark.parametrize(
    ("outcome", "effect", "reason", "words"),
    [
        (
            "inconclusive",
            0.501,
            "relative_change 0.501 against a threshold of 0.25, but matched random controls do as much (q 0.1 > 0.05)",
            "the effect is as large as claimed, but matched random controls do as much (q 0.1 > 0.05)",
        ),
        (
            "inconclusive",
            0.2,
            "relative_change 0.2 against a threshold of 0.25: weaker than claimed, but more than half of it",
            "the effect is weaker than claimed, but more than half of it",
        ),
        (
            "refuted",
            0.141,
            "recovered 0.141 against a threshold of 0.5: less than half of what was claimed",
            "the effect is less than half of what was claimed",
        ),
        (
            "refuted",
            -2.0,
            "log_probability_drop -2 against a threshold of 0.693: less than half of what was claimed",
            "the effect points the other way",
        ),
        (
            "inconclusive",
            0.2,
            "words of another program",
            "there is an effect, but weaker than claimed or not told apart from the controls",
        ),
    ],
)
def test_a_verdict_names_the_condition_that_decided(outcome: Outcome, effect: float, reason: str, words: str) -> None:
    assert outcome_words(Verdict(claim_id="c1", outcome=outcome, reason=reason, effect=effect)) == words


def test_a_supernode_is_where_its_features_are() -> None:
    report = make_report()
    members = [
        node.members[0].model_copy(update={"position": at}) for node in report.supernodes[:1] for at in (3, 1, 3)
    ]
    spread = report.supernodes[0].model_copy(update={"members": tuple(members)})
    page = report_page(report.model_copy(update={"supernodes": (spread, *report.supernodes[1:])}), None)
    assert page.steps[0].where == f"“{report.tokens[1].strip()}”, “{report.tokens[3].strip()}”"
