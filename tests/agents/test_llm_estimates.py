"""Estimates of what a language-model agent would ask: counted against what it does ask."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.agents.fake_server import serving
from tests.agents.fake_thinker import think
from tests.agents.styles import interpret
from tracescribe.agents.budget import Budget
from tracescribe.agents.llm.estimates import estimate, one_request
from tracescribe.agents.llm.settings import STYLES, LlmAgentSettings, Style
from tracescribe.agents.providers.prices import Price, Rate
from tracescribe.agents.providers.settings import ProviderSettings
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import SettingError

PROVIDER = ProviderSettings(provider="openai", model="fake-1")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("judged", [False, True])
def test_the_calls_made_lie_within_the_estimate(embedded_toolbox: Toolbox, style: Style, judged: bool) -> None:
    with serving(think) as server:
        report = interpret(
            server, embedded_toolbox, style, judge_labels=judged, budget=Budget(experiments=0, llm_calls=1000)
        )
    told = estimate(LlmAgentSettings(PROVIDER, style, judge_labels=judged), n_features=3)
    assert told.total.calls_low <= report.cost.llm_calls <= told.total.calls_high
    asked = sum(len(q.system) + sum(map(len, q.turns)) for q in server.questions)
    assert told.total.input_tokens >= asked / 8, "of the right size, and of the higher number of calls"


@pytest.mark.parametrize("style", STYLES)
def test_a_limit_below_one_request_sends_nothing_and_one_above_it_does(embedded_toolbox: Toolbox, style: Style) -> None:
    price = Price(rate=Rate(input=20.0, output=100.0), source="here")
    least, most = one_request(LlmAgentSettings(PROVIDER, style, judge_labels=False), price)
    assert least < most
    with serving(think) as server:
        for limit, asked in ((0.98 * least, False), (most, True)):
            budget = Budget(experiments=0, usd=limit)
            report = interpret(server, embedded_toolbox, style, budget=budget, prices=(20.0, 100.0))
            assert (report.cost.llm_calls > 0) == asked == (server.calls > 0)
            assert asked or (report.cut_short is not None and report.cut_short.startswith("budget for usd is used up"))


@pytest.mark.parametrize("style", STYLES)
def test_more_features_never_ask_less(style: Style) -> None:
    given = LlmAgentSettings(PROVIDER, style)
    totals = [estimate(given, n_features=n).total for n in (0, 1, 5, 60, 1000)]
    for before, after in pairwise(totals):
        assert before.calls_low <= after.calls_low and before.calls_high <= after.calls_high
        assert before.input_tokens <= after.input_tokens
    assert all(total.calls_low <= total.calls_high and total.usd is None for total in totals)
    capped = [estimate(given, n_features=n).total.calls_high for n in (60, 1000)]
    assert capped[0] == capped[1], "no more labels than max_labels"


def test_one_shot_is_one_call_and_two_repairs() -> None:
    total = estimate(LlmAgentSettings(PROVIDER, "one-shot"), n_features=40).total
    assert (total.calls_low, total.calls_high) == (1, 3)


def test_without_evidence_nothing_is_judged() -> None:
    steps = estimate(LlmAgentSettings(PROVIDER), n_features=9, n_labels_with_evidence=0).steps
    assert [step.step for step in steps] == ["label", "group", "hypothesise", "revise"]
    assert steps[0].calls_low == 9


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(SettingError, match="no agent style 'clever'; choose one of pipeline, one-shot, investigator"):
        LlmAgentSettings(PROVIDER, "clever")  # type: ignore[arg-type]


def test_settings_tell_no_folder_of_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-model"
    folder.mkdir()
    shown = LlmAgentSettings(ProviderSettings(provider="local", model=str(folder))).as_json()["provider"]
    assert isinstance(shown, dict) and shown["model"] == "tiny-model" and "base_url" not in shown
