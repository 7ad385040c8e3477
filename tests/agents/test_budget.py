"""Budgets: a charge that would pass a limit is refused before the act."""

from __future__ import annotations

import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.agents.budget import Budget, Cost, Meter, MeterSnapshot
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
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


# -- language-model calls, which are billed afterwards ---------------------------------------------------------------


def test_what_is_held_counts_until_the_bill_comes() -> None:
    meter = Meter(Budget(tokens=1000, llm_calls=2))
    meter.hold(Cost(1, 100, 100)).settle(Cost(1, 50, 50))
    held = meter.hold(Cost(1, 400, 400))
    with pytest.raises(BudgetExceededError, match="llm_calls"):
        meter.hold(Cost(1, 1, 1))
    with pytest.raises(BudgetExceededError, match="tokens is used up: 900 spent, 101 more needed"):
        meter.charge(input_tokens=101)
    assert (meter.llm_calls, meter.input_tokens) == (1, 50), "what is merely held is not spent"
    held.settle(Cost(1, 10, 10))
    held.settle(Cost(1, 999, 999))
    assert (meter.llm_calls, meter.input_tokens, meter.output_tokens) == (2, 60, 60)


def test_an_attempt_of_unknown_fate_counts_against_the_limit_and_not_in_the_sum() -> None:
    meter = Meter(Budget(tokens=1000, usd=1.0))
    held = meter.hold(Cost(1, 200, 200, 0.4))
    held.doubt()
    assert (meter.doubtful_tokens, meter.doubtful_usd, meter.input_tokens, meter.usd) == (400, 0.4, 0, None)
    held.renew()
    held.doubt()
    with pytest.raises(BudgetExceededError, match="tokens is used up: 800 spent, 400 more needed"):
        held.renew()
    held.settle(Cost(1))
    assert (meter.llm_calls, meter.input_tokens, meter.doubtful_tokens) == (1, 0, 800)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_money_adds_up_the_same_in_any_order(bills: list[float], random: Random) -> None:
    shuffled = list(bills)
    random.shuffle(shuffled)
    sums = []
    for order in (bills, shuffled):
        meter = Meter(Budget(usd=None))
        for usd in order:
            meter.record(usd=usd)
        again = Meter(Budget())
        again.restore(meter.snapshot())
        sums += [meter.usd, again.usd]
    assert len(set(sums)) == 1 and sums[0] == pytest.approx(sum(bills), abs=1e-9)


def test_only_the_first_call_and_those_after_a_surprise_go_alone() -> None:
    meter = Meter(Budget())
    order: list[str] = []

    def call(name: str, bill: int, gate: threading.Barrier | None) -> None:
        held = meter.hold(Cost(1, 100, 100))
        order.append(f"{name} in")
        if gate is not None:
            gate.wait(300)
        order.append(f"{name} out")
        held.settle(Cost(1, bill, 0))

    def together(names: str, bill: int, gate: threading.Barrier | None) -> None:
        threads = [threading.Thread(target=call, args=(name, bill, gate)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)

    together("ab", 50, None)
    assert order[1] == order[0].replace("in", "out"), "nobody goes before the first is back"
    order.clear()
    together("cde", 500, threading.Barrier(3))  # passes only if all three are on their way at once
    assert {line[-2:] for line in order[:3]} == {"in"}
    order.clear()
    together("fgh", 500, None)
    assert [line.split()[1] for line in order] == ["in", "out"] * 3, "one at a time after a bill beyond what was held"


@settings(max_examples=40, deadline=None)
@given(
    limit=st.fixed_dictionaries(
        {}, optional={"tokens": st.integers(0, 4000), "usd": st.floats(0, 4), "llm_calls": st.integers(0, 12)}
    ),
    bills=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1, max_size=24),
    surprise=st.sampled_from([1.0, 1.0, 3.0]),
    n_threads=st.integers(1, 6),
)
def test_threads_together_never_overspend_by_more_than_one_call(
    limit: dict[str, float], bills: list[tuple[int, int]], surprise: float, n_threads: int
) -> None:
    """Bills within what was held never pass a limit; a server that bills three times as much passes it by one call."""
    meter = Meter(Budget.model_validate({"tokens": None, "usd": None, "llm_calls": None, **limit}))
    work = list(bills)
    lock = threading.Lock()
    largest = [0, 0.0]

    def run() -> None:
        while True:
            with lock:
                if not work:
                    return
                read, written = work.pop()
            most = Cost(1, read, written, (read + written) / 1000)
            try:
                held = meter.hold(most)
            except BudgetExceededError:
                continue
            bill = Cost(1, int(read * surprise), int(written * surprise), surprise * (read + written) / 1000)
            with lock:
                largest[0] = max(largest[0], bill.tokens)
                largest[1] = max(largest[1], bill.usd or 0.0)
            held.settle(bill)

    threads = [threading.Thread(target=run) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()
    allowed = (largest[0], largest[1]) if surprise > 1 else (0, 0.0)
    if "tokens" in limit:
        assert meter.input_tokens + meter.output_tokens <= limit["tokens"] + allowed[0]
    if "usd" in limit:
        assert (meter.usd or 0.0) <= limit["usd"] + allowed[1] + 1e-9
    if "llm_calls" in limit:
        assert meter.llm_calls <= limit["llm_calls"]


def test_a_case_is_a_prompt_or_a_graph() -> None:
    with pytest.raises(SettingError, match="needs a prompt or a graph, found neither"):
        InterpretationCase("x")


def test_too_few_controls_are_refused() -> None:
    with pytest.raises(SettingError, match="n_controls is 49, but verdicts need at least 50"):
        ExperimentSettings(n_controls=49)
    with pytest.raises(SettingError, match="alpha is 1.5"):
        ExperimentSettings(alpha=1.5)
