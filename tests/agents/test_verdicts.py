"""The verdict rule, row by row."""

from __future__ import annotations

import pytest

from tests.agents.test_registry import claim, plan
from tracescribe.agents.claims import NecessityClaim
from tracescribe.agents.findings import ExperimentPlan, Measurement
from tracescribe.agents.verdicts import judge

WEAK = tuple(i / 1000 for i in range(199))
"""Controls that stay below every effect of the table."""


def judged(effect: float, controls: tuple[float, ...], threshold: float = 0.5, metric: str = "recovered") -> str:
    planned = plan(claim(), threshold).model_copy(update={"metric": metric})
    measured = Measurement(plan_id="p-c1", effect=effect, control_effects=controls, interval=None)
    return judge([claim()], [planned], [measured], {})[0].outcome


@pytest.mark.parametrize(
    ("effect", "controls", "outcome"),
    [
        (0.5, WEAK, "supported"),
        (0.49, WEAK, "inconclusive"),  # weaker than claimed
        (0.25, WEAK, "inconclusive"),
        (0.249, WEAK, "refuted"),
        (0.0, WEAK, "refuted"),
        (-3.0, WEAK, "refuted"),  # the wrong sign
        (0.9, WEAK[:49], "inconclusive"),  # too few controls
        (0.9, WEAK[:50], "supported"),
        (0.9, (), "inconclusive"),
        (0.9, (1.0,) * 199, "inconclusive"),  # controls do more
        (0.9, (0.9,) * 9 + WEAK[9:], "supported"),  # p = 10 / 200 = .05: a tie counts against it
        (0.9, (0.9,) * 10 + WEAK[10:], "inconclusive"),  # p = 11 / 200
    ],
)
def test_the_rule(effect: float, controls: tuple[float, ...], outcome: str) -> None:
    assert judged(effect, controls) == outcome


@pytest.mark.parametrize(("effect", "outcome"), [(0.8, "supported"), (0.66, "inconclusive"), (0.64, "refuted")])
def test_no_effect_of_a_label_is_an_area_of_one_half(effect: float, outcome: str) -> None:
    assert judged(effect, WEAK, threshold=0.8, metric="auc") == outcome


def _many(effects: list[tuple[float, tuple[float, ...]]]) -> list[tuple[str, float | None, float | None]]:
    claims, plans, measurements = [], [], []
    for number, (effect, controls) in enumerate(effects):
        one = NecessityClaim(claim_id=f"c{number}", statement="x", supernode="s1", target_token="Austin")
        fixed = plan(one).model_copy(update={"plan_id": f"p{number}"})
        claims.append(one)
        plans.append(fixed)
        measurements.append(Measurement(plan_id=f"p{number}", effect=effect, control_effects=controls, interval=None))
    return [(v.outcome, v.p_value, v.q_value) for v in judge(claims, plans, measurements, {})]


def test_q_values_span_the_whole_report() -> None:
    """A p value of .05 supports a claim that stands alone, and no longer one among ten idle ones."""
    borderline = (0.9, (0.9,) * 9 + WEAK[9:])
    outcome, p_value, q_value = _many([borderline])[0]
    assert outcome == "supported"
    assert p_value == q_value == pytest.approx(0.05)
    idle = (0.9, (1.0,) * 199)
    outcome, p_value, q_value = _many([borderline, *[idle] * 9])[0]
    assert outcome == "inconclusive"
    assert p_value == pytest.approx(0.05)
    assert q_value == pytest.approx(0.5)


def test_a_claim_without_a_test_is_untested_with_its_reason() -> None:
    verdict = judge([claim()], [], [], {"c1": "no model weights"})[0]
    assert (verdict.outcome, verdict.reason) == ("untested", "no model weights")
    assert judge([claim()], [], [], {})[0].reason == "its experiment was never run"


def test_a_failed_measurement_is_untested_and_counts_in_no_q_value() -> None:
    planned: ExperimentPlan = plan(claim())
    failed = Measurement(plan_id="p-c1", effect=None, control_effects=(), interval=None, failure="out of memory")
    verdict = judge([claim()], [planned], [failed], {})[0]
    assert (verdict.outcome, verdict.reason, verdict.p_value) == ("untested", "out of memory", None)


def test_the_rank_counts_the_tested_set_first() -> None:
    planned = plan(claim())
    measured = Measurement(plan_id="p-c1", effect=0.9, control_effects=(0.95, *WEAK), interval=None)
    verdict = judge([claim()], [planned], [measured], {})[0]
    assert (verdict.rank, verdict.n_controls) == (2, 200)
    assert verdict.p_value == pytest.approx(2 / 201)
