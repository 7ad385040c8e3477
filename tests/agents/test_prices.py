"""Prices: listed with date and source, unknown where they are unknown, and a limit in USD that is kept or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.agents.fake_server import Reply
from tests.agents.provider_rig import TEXAS, WAYS, RigMaker, rigs
from tracescribe.agents.budget import Budget
from tracescribe.agents.providers.completion import Endpoint, ProviderName, Usage
from tracescribe.agents.providers.errors import UnknownPriceError
from tracescribe.agents.providers.estimates import CallEstimate, estimate_cost, total_of
from tracescribe.agents.providers.prices import FREE, Price, Rate, listed_prices, price_of
from tracescribe.agents.providers.settings import ProviderSettings, official_url
from tracescribe.tracer.errors import BudgetExceededError


@pytest.fixture
def rig() -> Iterator[RigMaker]:
    with rigs() as maker:
        yield maker


def _price(provider: ProviderName, model: str, base_url: str | None = None, **given: object) -> Price | None:
    settings = ProviderSettings.of(environment={}, provider=provider, model=model, **given)
    return price_of(settings, Endpoint(provider=provider, base_url=base_url or official_url(provider), model=model))


def test_every_listed_price_has_a_date_and_a_source() -> None:
    prices = listed_prices()
    assert {provider for provider, _ in prices} == {"openai", "anthropic"} and len(prices) >= 20
    for (_, model), price in prices.items():
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", price.read_on or ""), model
        assert price.source.startswith("https://"), model
        assert 0 < price.rate.input < price.rate.output < 1000, model
        assert not re.search(r"-\d{8}$|-latest$|-\d{4}-\d{2}-\d{2}$", model), "snapshots are found by their family"


def test_a_dated_name_has_its_familys_price_and_a_stranger_has_none() -> None:
    family = _price("anthropic", "claude-haiku-4-5")
    assert family is not None and (family.rate.input, family.rate.output) == (1.0, 5.0)
    assert _price("anthropic", "claude-haiku-4-5-20251001") == family
    assert _price("openai", "gpt-4.1-2025-04-14") == _price("openai-responses", "gpt-4.1") is not None
    for stranger in ("gpt-4.1-turbo", "gpt-4", "claude-haiku-4-5-fast", "GPT-5", ""):
        if stranger:
            assert _price("openai", stranger) is None and _price("anthropic", stranger) is None
    assert _price("anthropic", "gpt-5") is None


def test_a_price_holds_at_its_own_server_alone() -> None:
    assert _price("openai", "gpt-5", "http://127.0.0.1:8000/v1") is None
    given = _price("openai", "gpt-5", "http://127.0.0.1:8000/v1", price_input=1.0, price_output=2.0)
    assert given is not None and given.usd(Usage(input_tokens=500_000, output_tokens=250_000)) == 1.0
    assert _price("local", "tiny", "sha256:0") == FREE and FREE.usd(Usage(input_tokens=9, output_tokens=9)) == 0.0


def test_a_long_prompt_has_its_own_rate() -> None:
    price = _price("anthropic", "claude-haiku-5-5")
    assert price is not None and price.long_prompt is not None
    at = price.long_prompt.above_input_tokens
    assert price.usd(Usage(input_tokens=at)) == pytest.approx(at * price.rate.input / 1e6)
    assert price.usd(Usage(input_tokens=at + 1)) == pytest.approx((at + 1) * price.long_prompt.input / 1e6)


def test_a_limit_in_usd_without_a_price_is_refused_before_anything_is_sent(rig: RigMaker) -> None:
    made = rig(WAYS[0], lambda _: TEXAS, budget=Budget(usd=1.0))
    with pytest.raises(
        UnknownPriceError, match="budget of 1 USD cannot be kept: the price of model 'fake-1'"
    ) as caught:
        made.ask()
    assert caught.value.exit_code == 2 and made.server.calls == 0 and made.ledger == []
    priced = rig(WAYS[0], lambda _: TEXAS, budget=Budget(usd=1.0), price_input=1.0, price_output=1.0)
    assert priced.ask() == "Texas"


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_money_stops_the_next_call(rig: RigMaker, way: object) -> None:
    way = next(known for known in WAYS if known == way)
    dear = rig(way, lambda _: TEXAS, budget=Budget(usd=0.001), price_input=1.0, price_output=1.0, max_tokens=4096)
    with pytest.raises(BudgetExceededError, match="usd"):
        dear.ask()
    assert dear.server.calls == 0, "what a call may cost at most is set aside before it is sent"
    more = Reply(text=TEXAS.text, usage=(5000, 5000))
    over = rig(way, lambda _: more, budget=Budget(usd=0.006), price_input=1.0, price_output=1.0, max_tokens=100)
    assert over.ask() == "Texas" and over.meter.usd == pytest.approx(0.01), "a server may bill more than was foreseen"
    with pytest.raises(BudgetExceededError, match="usd"):
        over.ask("Another?")
    assert over.server.calls == 1


def test_an_estimate_adds_up_and_is_unknown_without_a_price() -> None:
    price = Price(rate=Rate(input=1.0, output=2.0), source="test")
    labels = estimate_cost(3500, 4000, calls_low=10, calls_high=20, price=price)
    assert (labels.calls_low, labels.calls_high, labels.input_tokens, labels.output_tokens) == (10, 20, 20_000, 20_000)
    assert labels.usd == pytest.approx(0.06)
    groups = estimate_cost(7000, 4000, calls_low=1, calls_high=1, price=price)
    both = total_of([labels, groups])
    assert both.usd == pytest.approx((labels.usd or 0) + (groups.usd or 0)) and both.calls_high == 21
    assert total_of([labels, estimate_cost(100, 100, calls_low=1, calls_high=1)]).usd is None
    assert total_of([]) == CallEstimate(usd=0.0)
