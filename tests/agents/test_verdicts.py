"""The verdict rule, row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.test_registry import claim, plan
from tracescribe.agents.claims import LabelClaim, NecessityClaim, Predicate, SteeringClaim, SwapClaim
from tracescribe.agents.findings import DosePoint, ExperimentPlan, Interval, Measurement, ParaphraseEffect, Verdict
from tracescribe.agents.testing.decision_rules import rule_faults, rule_for
from tracescribe.agents.testing.doses import doses_for, rank_correlation
from tracescribe.agents.testing.experiment_settings import MAX_CONTROLS, ExperimentSettings
from tracescribe.agents.testing.swap_summary import swap_summaries
from tracescribe.agents.testing.verdicts import judge
from tracescribe.tracer.errors import ReportError
from tracescribe.tracer.statistics import rank_p_value, wilson_interval

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
    assert judged(effect, WEAK, threshold=0.8, metric="two_way_auc") == outcome


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


# -- laws ---------------------------------------------------------------------------------------------------------------


def test_the_rank_p_value_is_uniform_under_the_null() -> None:
    """Effect and controls drawn alike: of 20000 idle claims a share of exactly k / 20 has a p value of at most k / 20."""
    draws = np.random.default_rng(0).normal(size=(20_000, 20))
    p_values = np.array([rank_p_value(row[0], row[1:]).p_value for row in draws])
    for k in range(1, 21):
        share = float((p_values <= k / 20 + 1e-12).mean())
        assert share == pytest.approx(k / 20, abs=4 * np.sqrt(0.25 / len(draws)))


def _idle(rng: np.random.Generator, n_claims: int, n_controls: int) -> list[tuple[float, tuple[float, ...]]]:
    """Effects that come from where their controls come from."""
    draws = rng.uniform(0.6, 1.0, (n_claims, 1 + n_controls)).tolist()
    return [(row[0], tuple(row[1:])) for row in draws]


def test_idle_claims_are_hardly_ever_supported_however_many_there_are() -> None:
    """All null, all beyond the threshold: a report supports anything at all in at most a twentieth of the cases."""
    rng = np.random.default_rng(1)
    wrong = sum(any(o == "supported" for o, _, _ in _many(_idle(rng, 8, 199))) for _ in range(300))
    low, _ = wilson_interval(wrong, 300)
    assert low <= 0.05


def test_q_values_are_never_below_p_and_keep_its_order() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        told = _many(_idle(rng, 12, 99))
        p = np.array([p for _, p, _ in told], dtype=np.float64)
        q = np.array([q for _, _, q in told], dtype=np.float64)
        assert (q >= p - 1e-12).all()
        assert (np.diff(q[np.argsort(p, kind="stable")]) >= -1e-12).all()


def test_a_larger_p_value_elsewhere_never_helps_a_claim() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        effects = _idle(rng, 6, 99)
        before = [q for _, _, q in _many(effects)]
        changed = int(rng.integers(6))
        effects[changed] = (effects[changed][0], (1.0, *effects[changed][1][1:]))  # one control more reaches it
        after = [q for _, _, q in _many(effects)]
        assert all(b is not None and a is not None and a >= b for b, a in zip(before, after, strict=True))


def _steered(effects: tuple[float, ...], own: float) -> tuple[SteeringClaim, ExperimentPlan, Measurement]:
    """A steering claim with the plan that it gets, and a measurement with these effects at its doses."""
    one = SteeringClaim(
        claim_id="c1", statement="x", supernode="s1", multiplier=3.0, expected_token="Austin", direction="up"
    )
    doses = doses_for(one.multiplier)
    planned = plan(one, one.min_effect).model_copy(
        update={"metric": "log_probability_change", "rule": rule_for(one, 0.05), "doses": doses}
    )
    points = tuple(DosePoint(multiplier=d, effect=e, probability=0.5) for d, e in zip(doses, effects, strict=True))
    measured = Measurement(plan_id="p-c1", effect=own, control_effects=WEAK, interval=None, doses=points)
    return one, planned, measured


@pytest.mark.parametrize(
    ("effects", "own", "outcome"),
    [
        ((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 1.2, "supported"),
        ((0.0, 0.0, 0.0, 5.0, 5.4, 5.2), 5.1, "supported"),  # saturated, and wavering
        ((0.0, 3.0, 4.0, 3.0, 2.0, 1.5), 0.8, "inconclusive"),  # comes, and goes again with more
        ((0.0, -1.0, -2.0, -3.0, -4.0, -5.0), 0.8, "inconclusive"),  # the opposite, but for the last dose
        ((0.0, 0.1, 0.1, 0.1, 0.2, 0.2), 0.3, "refuted"),
    ],
)
def test_a_steering_claim_needs_an_effect_that_grows_with_the_dose(
    effects: tuple[float, ...], own: float, outcome: str
) -> None:
    one, planned, measured = _steered(effects, own)
    (verdict,) = judge([one], [planned], [measured], {})
    assert verdict.outcome == outcome
    assert ("grow with the dose" in verdict.reason) == (outcome == "inconclusive")


def test_doses_that_were_planned_must_have_been_measured() -> None:
    one, planned, measured = _steered((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 1.2)
    fewer = measured.model_copy(update={"doses": measured.doses[:-1]})
    (verdict,) = judge([one], [planned], [fewer], {})
    assert (verdict.outcome, "not every planned dose" in verdict.reason) == ("inconclusive", True)


def test_a_verdict_is_a_function_of_plan_and_measurement_alone() -> None:
    """Written to JSON and read again; controls in another order; with all that only informs: the same verdict."""
    one, planned, measured = _steered((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 1.2)
    (verdict,) = judge([one], [planned], [measured], {})
    read_plan = ExperimentPlan.model_validate_json(planned.model_dump_json())
    read = Measurement.model_validate_json(measured.model_dump_json())
    shuffled = tuple(np.random.default_rng(0).permutation(WEAK).tolist())
    informs = {
        "details": {"probability_before": 0.1},
        "paraphrases": (ParaphraseEffect(prompt="other words", effect=-5.0),),
        "paraphrase_interval": Interval(low=-6.0, high=-4.0, method="x"),
    }
    for changed in (read, read.model_copy(update={"control_effects": shuffled}), read.model_copy(update=informs)):
        assert judge([one], [read_plan], [changed], {}) == (verdict,)
    reworded = one.model_copy(update={"statement": "a confident claim"})
    assert judge([reworded], [read_plan], [read], {}) == (verdict,)


def test_verdicts_do_not_depend_on_the_order_of_claims() -> None:
    effects = _idle(np.random.default_rng(4), 9, 99)
    forwards, backwards = _many(effects), _many(effects[::-1])
    assert forwards == backwards[::-1]


def test_the_plan_says_by_which_numbers_it_is_judged() -> None:
    stricter = rule_for(claim(), 0.05).model_copy(update={"min_controls": 300})
    measured = Measurement(plan_id="p-c1", effect=0.9, control_effects=WEAK, interval=None)
    assert judge([claim()], [plan(claim())], [measured], {})[0].outcome == "supported"
    planned = plan(claim()).model_copy(update={"rule": stricter})
    (verdict,) = judge([claim()], [planned], [measured], {})
    assert (verdict.outcome, "300 are needed" in verdict.reason) == ("inconclusive", True)


def test_a_rule_that_nobody_knows_is_refused() -> None:
    unknown = plan(claim()).model_copy(update={"rule": rule_for(claim(), 0.05).model_copy(update={"name": "mine"})})
    measured = Measurement(plan_id="p-c1", effect=0.9, control_effects=WEAK, interval=None)
    with pytest.raises(ReportError, match=r"judged by the rule 'mine', and this version knows tracescribe-rule/1"):
        judge([claim()], [unknown], [measured], {})


def test_a_plan_that_makes_it_easy_for_its_claim_is_told() -> None:
    rule = rule_for(claim(), 0.05)
    honest = plan(claim()).model_copy(update={"rule": rule, "hypothesis": "x"})
    assert rule_faults([claim()], [honest]) == []
    for update in ({"min_controls": 0}, {"threshold": 0.01}, {"refuted_below": -9.0}, {"alpha": 1.0}, {"name": "mine"}):
        easy = honest.model_copy(update={"rule": rule.model_copy(update=update)})
        assert rule_faults([claim()], [easy]) == ["plan p-c1 would judge claim c1 by numbers that are not the rule's"]
    other = honest.model_copy(update={"threshold": 0.01, "hypothesis": "y"})
    assert [fault.split(" claim")[0] for fault in rule_faults([claim()], [other])] == [
        "plan p-c1 measures something else than",
        "plan p-c1 words",
    ]
    assert rule_faults([], [honest]) == ["plan p-c1 tests unknown claim c1"]


@pytest.mark.parametrize(("effect", "control"), [(float("nan"), 0.0), (float("inf"), 0.0), (0.9, float("nan"))])
def test_numbers_that_are_not_finite_leave_a_claim_untested(effect: float, control: float) -> None:
    measured = Measurement(plan_id="p-c1", effect=effect, control_effects=(*WEAK, control), interval=None)
    (verdict,) = judge([claim()], [plan(claim())], [measured], {})
    assert (verdict.outcome, verdict.effect, verdict.p_value) == ("untested", None, None)
    assert "not finite" in verdict.reason


# -- doses and numbers of controls --------------------------------------------------------------------------------------


@given(st.floats(-10, 10).filter(lambda m: abs(m - 1) > 1e-3))
def test_doses_go_from_no_change_towards_the_claim_and_stay_short_of_it(multiplier: float) -> None:
    doses = doses_for(multiplier)
    way = [(dose - 1.0) / (multiplier - 1.0) for dose in doses]
    assert doses[0] == 1.0 and way == sorted(set(way)) and max(way) < 1.0


@given(st.lists(st.floats(-5, 5, allow_subnormal=False), min_size=2, max_size=9), st.sampled_from([0.25, 2.0, 64.0]))
def test_the_trend_of_doses_is_a_rank_correlation(effects: list[float], scale: float) -> None:
    """Between -1 and 1, turned round with the order or the sign, and blind to units (powers of two lose no digit)."""
    trend = rank_correlation(effects)
    assert -1.0 <= trend <= 1.0
    assert rank_correlation(effects[::-1]) == rank_correlation([-e for e in effects]) == -trend
    if not any(0 < abs(e) < 1e-300 for e in effects):
        assert rank_correlation([scale * e for e in effects]) == trend


@pytest.mark.parametrize("n_claims", [1, 5, 10, 11, 25, 50])
def test_a_lone_true_claim_can_be_found_among_many(n_claims: int) -> None:
    """Settings draw controls enough for it, and not one too many."""
    n = ExperimentSettings(n_controls=50).for_claims(n_claims).n_controls
    idle = [(0.9, (1.0,) * n)] * (n_claims - 1)
    assert _many([(0.9, (0.0,) * n), *idle])[0][0] == "supported"
    if n > 50:
        assert _many([(0.9, (0.0,) * (n - 1)), *idle])[0][0] == "inconclusive"


def test_controls_are_never_fewer_than_asked_for_and_end_at_a_limit() -> None:
    assert ExperimentSettings().for_claims(3).n_controls == 199
    assert ExperimentSettings().for_claims(10_000).n_controls == MAX_CONTROLS
    assert ExperimentSettings(n_controls=2000).for_claims(10_000).n_controls == 2000


def test_swaps_of_one_supernode_are_told_together() -> None:
    def swap(number: int, supernode: str) -> SwapClaim:
        return SwapClaim(
            claim_id=f"c{number}",
            statement="x",
            supernode=supernode,
            donor_prompt="y",
            donor_features=(),
            expected_token="z",
        )

    claims = [swap(1, "s2"), swap(2, "s1"), swap(3, "s2"), swap(4, "s2"), swap(5, "s3")]
    outcomes = ("supported", "refuted", "inconclusive", "supported", "untested")
    verdicts = [
        Verdict.model_validate({"claim_id": c.claim_id, "outcome": o, "reason": "x"})
        for c, o in zip(claims, outcomes, strict=True)
    ]
    told = swap_summaries([claim(), *claims], verdicts)
    assert [(s.supernode, s.n_donors, s.n_supported) for s in told] == [("s2", 3, 2), ("s1", 1, 0)]
    assert (told[0].interval.low, told[0].interval.high) == pytest.approx(wilson_interval(2, 3))


@pytest.mark.parametrize(
    ("low", "outcome"), [(0.66, "supported"), (0.65, "inconclusive"), (0.5, "inconclusive"), (None, "inconclusive")]
)
def test_a_label_needs_an_interval_above_what_refutes(low: float | None, outcome: str) -> None:
    """Luck on few sentences gives a large effect, and an interval that reaches down to nothing."""
    said = LabelClaim(claim_id="c1", statement="x", layer=0, feature=1, predicate=Predicate(on="token", words=("x",)))
    rule = rule_for(said, 0.05)
    assert rule.interval_above == rule.refuted_below == pytest.approx(0.65)
    planned = plan(claim(), rule.threshold).model_copy(update={"metric": "two_way_auc", "rule": rule})
    interval = None if low is None else Interval(low=low, high=1.0, method="x")
    measured = Measurement(plan_id="p-c1", effect=0.9, control_effects=WEAK, interval=interval)
    assert judge([said], [planned], [measured], {})[0].outcome == outcome
