"""What language models cost: the shipped list, each figure with its date and source, or a price that the caller gives.

A price holds at the provider's own server alone: another server may sell the same name for another sum. A model that
the list does not know has no price, never a guessed one.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import Field

from tracescribe.agents.claims import Frozen
from tracescribe.agents.providers.completion import Endpoint, Usage
from tracescribe.agents.providers.errors import UnknownPriceError
from tracescribe.agents.providers.settings import ProviderSettings, official_url

_SNAPSHOT = re.compile(r"-(?:latest|\d{4}-\d{2}-\d{2}|\d{8})$")
_MILLION = 1_000_000


class Rate(Frozen):
    """USD per million tokens."""

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)

    def usd(self, usage: Usage) -> float:
        """What an answer costs at this rate."""
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / _MILLION


class LongPromptRate(Rate):
    """The rate of a request that reads more than so many tokens."""

    above_input_tokens: int = Field(ge=1)


class Price(Frozen):
    """What one model costs.

    Attributes:
        rate: USD per million tokens.
        long_prompt: another rate for long prompts; None where there is none, or none is known.
        read_on: day on which the source said so, as YYYY-MM-DD; None for a price that the caller gave.
        source: where it stands.
    """

    rate: Rate
    long_prompt: LongPromptRate | None = None
    read_on: str | None = None
    source: str

    def usd(self, usage: Usage) -> float:
        """What an answer costs."""
        long = self.long_prompt
        if long is not None and usage.input_tokens > long.above_input_tokens:
            return long.usd(usage)
        return self.rate.usd(usage)


class _Listed(Frozen):
    """A row of the list."""

    provider: Literal["openai", "anthropic"]
    model: str
    price: Price


class _PriceList(Frozen):
    note: str
    prices: tuple[_Listed, ...]


FREE = Price(rate=Rate(input=0.0, output=0.0), source="a model in this process")


@cache
def listed_prices() -> dict[tuple[str, str], Price]:
    """The shipped list, by provider and model."""
    text = resources.files("tracescribe.agents.providers").joinpath("prices.json").read_text(encoding="utf-8")
    rows = _PriceList.model_validate(json.loads(text)).prices
    return {(row.provider, row.model): row.price for row in rows}


def price_of(settings: ProviderSettings, endpoint: Endpoint) -> Price | None:
    """The price of the model that is asked, or None where it is unknown.

    Args:
        settings: whose `price_input` and `price_output` go first.
        endpoint: who is asked.
    """
    if settings.price_input is not None and settings.price_output is not None:
        return Price(rate=Rate(input=settings.price_input, output=settings.price_output), source="given by the caller")
    if endpoint.provider == "local":
        return FREE
    if endpoint.base_url != official_url(endpoint.provider):
        return None
    provider = "anthropic" if endpoint.provider == "anthropic" else "openai"
    listed = listed_prices()
    return listed.get((provider, endpoint.model)) or listed.get((provider, _SNAPSHOT.sub("", endpoint.model)))


def require_price(price: Price | None, usd_limit: float | None, endpoint: Endpoint) -> None:
    """A budget in USD can be kept only with a price.

    Raises:
        UnknownPriceError: there is a limit and no price.
    """
    if usd_limit is not None and price is None:
        raise UnknownPriceError(
            f"budget of {usd_limit:g} USD cannot be kept: the price of model {endpoint.model!r} at "
            f"{endpoint.base_url} is unknown; give price_input and price_output (USD per million tokens), or leave the "
            "usd limit out"
        )
