"""Many questions under a limit: which of them are refused depends on their bills, never on which was faster."""

from __future__ import annotations

import random
import time

import pytest

from tests.agents.fake_server import FakeServer, Question, Reply, Script, good, serving
from tracescribe.agents.budget import Budget, Meter
from tracescribe.agents.calls.call_log import MemoryCallLog
from tracescribe.agents.llm.answers import SupernodesAnswer
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.providers.settings import ProviderSettings, make_client
from tracescribe.prompts.template import RenderedPrompt

QUESTIONS = 24


def question(number: int) -> RenderedPrompt:
    """Questions of very different length, so that it matters which one comes first."""
    return RenderedPrompt(
        template="t@1.0.0",
        template_sha256="0" * 64,
        output_schema="SupernodesAnswer",
        system="Answer.",
        user=f"question {number} " + "x" * (number * 37 % 11) * 60,
    )


def slow(rng: random.Random) -> Script:
    """A model that thinks for different times, and needs one repair."""

    def script(asked: Question) -> Reply:
        time.sleep(rng.random() * 0.02)
        if "question 3 " in asked.user and len(asked.turns) == 1:
            return Reply(text="not JSON")
        return good({"supernodes": []})

    return script


def outcomes(server: FakeServer, budget: Budget, concurrency: int, log: MemoryCallLog) -> tuple[list[str], int]:
    """What became of each question, and the tokens that were counted."""
    settings = ProviderSettings(
        provider="openai",
        model="m",
        base_url=server.url("openai"),
        concurrency=concurrency,
        max_tokens=64,
        price_input=1.0,
        price_output=1.0,
    )
    client = make_client(settings, {})
    session, meter = LlmSession(settings, client, log, sleep=lambda seconds: None), Meter(budget)
    found = session.ask_all([question(n) for n in range(QUESTIONS)], SupernodesAnswer, meter)
    client.close()
    told = ["answered" if isinstance(one, SupernodesAnswer) else str(one) for one in found]
    return told, meter.input_tokens + meter.output_tokens


@pytest.mark.parametrize(
    "budget",
    [
        Budget(),
        Budget(tokens=4_000),
        Budget(tokens=1_500),
        Budget(usd=0.0031),
        Budget(llm_calls=9),
        Budget(llm_calls=0),
    ],
    ids=str,
)
def test_the_same_questions_are_refused_however_many_go_out_together(budget: Budget) -> None:
    log = MemoryCallLog()
    with serving(slow(random.Random(0))) as server:
        alone = outcomes(server, budget, 1, log)
        sent = len(server.questions)
        assert outcomes(server, budget, 8, log) == alone
        assert len(server.questions) == sent, "a recorded answer is not asked for again"
        assert outcomes(server, budget, 8, MemoryCallLog()) == alone
    assert (budget == Budget()) == (alone[0] == ["answered"] * QUESTIONS)
    assert budget.tokens is None or alone[1] <= budget.tokens
