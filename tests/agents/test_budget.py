"""Budgets: a charge that would pass a limit is refused before the act."""

from __future__ import annotations

import pytest

from tracescribe.agents.budget import Budget, Cost, Meter, MeterSnapshot
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.experiment_settings import ExperimentSettings
from tracescribe.tracer.errors import BudgetExceededError, SettingError


@pytest.mark.parametrize("field", ["experiments", "forward_passes", "llm_calls"])
def test_the_limit_itself_may_be_spent_and_no_more(field: str) -> None:
    meter = Meter(Budget.model_validate({field: 5}))
    meter.charge(**{field: 5})
    with pytest.raises(BudgetExceededError, match=f"budget for {field} is used up: 5 spent, 1 more needed, limit 5"):
        meter.charge(**{field: 1})
    assert getattr(meter, field) == 5


def test_a_refused_charge_counts_nothing() -> None:
    meter = Meter(Budget(experiments=1, forward_passes=10))
    with pytest.raises(BudgetExceededError, match="forward_passes"):
        meter.charge(experiments=1, forward_passes=11)
    assert (meter.experiments, meter.forward_passes) == (0, 0)


def test_tokens_are_counted_together() -> None:
    meter = Meter(Budget(tokens=100))
    meter.charge(input_tokens=60, output_tokens=30)
    with pytest.raises(BudgetExceededError, match="tokens"):
        meter.charge(input_tokens=11)


def test_money_is_unknown_until_a_price_is() -> None:
    meter = Meter(Budget(usd=1.0))
    meter.charge(llm_calls=1)
    assert meter.usd is None
    meter.record(usd=0.75)
    with pytest.raises(BudgetExceededError, match="usd"):
        meter.charge(usd=0.5)
    meter.record(usd=0.5)  # a bill that has come is counted, even past the limit
    assert meter.usd == 1.25


def test_time_runs_out_whatever_is_asked_for() -> None:
    now = [0.0]
    meter = Meter(Budget(seconds=10.0), clock=lambda: now[0])
    meter.charge(experiments=1)
    now[0] = 10.5
    with pytest.raises(BudgetExceededError, match="budget for seconds is used up"):
        meter.charge()


def test_no_limit_is_no_limit() -> None:
    meter = Meter(Budget(experiments=None, forward_passes=None, seconds=None, llm_calls=None, tokens=None))
    meter.charge(experiments=10**9, forward_passes=10**12, llm_calls=10**9, input_tokens=10**12)
    assert (meter.experiments, meter.forward_passes, meter.llm_calls) == (10**9, 10**12, 10**9)


def test_a_snapshot_carries_everything_over_but_what_is_held() -> None:
    now = [0.0]
    meter = Meter(Budget(seconds=10.0), clock=lambda: now[0])
    meter.charge(experiments=2, forward_passes=30)
    meter.hold(Cost(1, 100, 100, 0.5)).settle(Cost(1, 80, 20, 0.1), "a" * 64)
    meter.hold(Cost(1, 1000, 1000, 5.0))
    now[0] = 4.0
    snapshot = MeterSnapshot.model_validate_json(meter.snapshot().model_dump_json())
    again = Meter(Budget(seconds=10.0), clock=lambda: now[0])
    again.restore(snapshot)
    assert again.snapshot() == snapshot and again.is_billed("a" * 64) and not again.is_billed("b" * 64)
    assert (again.llm_calls, again.input_tokens, again.output_tokens, again.usd) == (1, 80, 20, 0.1)
    now[0] = 7.0
    assert again.seconds == 7.0 and again.seconds_left == 3.0


def test_a_case_is_a_prompt_or_a_graph() -> None:
    with pytest.raises(SettingError, match="needs a prompt or a graph, found neither"):
        InterpretationCase("x")


def test_too_few_controls_are_refused() -> None:
    with pytest.raises(SettingError, match="n_controls is 49, but verdicts need at least 50"):
        ExperimentSettings(n_controls=49)
    with pytest.raises(SettingError, match="alpha is 1.5"):
        ExperimentSettings(alpha=1.5)
