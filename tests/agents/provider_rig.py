"""A session on a fake server, for tests of what can become of a question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from tests.agents.fake_server import FakeServer, Script, Wire, good
from tracescribe.agents.budget import Budget, Meter
from tracescribe.agents.calls.call_log import CallAnswer, CallFailure, CallIntent, MemoryCallLog
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.providers.settings import ProviderSettings, make_client
from tracescribe.prompts.template import RenderedPrompt

SECRET = "sk-test-0123456789abcdefSECRET"


@dataclass(frozen=True)
class Way:
    """A wire format, whole or streamed."""

    wire: Wire
    stream: bool

    def __str__(self) -> str:
        return f"{self.wire}{'-stream' if self.stream else ''}"


WAYS = tuple(Way(wire, stream) for wire in ("openai", "openai-responses", "anthropic") for stream in (False, True))
LIMIT_NAMES: dict[Wire, str] = {
    "openai": "max_tokens",
    "openai-responses": "max_output_tokens",
    "anthropic": "max_tokens",
}


class Word(BaseModel):
    """The answer that these tests ask for."""

    model_config = ConfigDict(extra="forbid")
    word: str = Field(min_length=1, max_length=10)


PROMPT = RenderedPrompt(
    template="sample@1.0.0", template_sha256="0" * 64, output_schema="Word", system="Be brief.", user="Which word?"
)
TEXAS = good({"word": "Texas"})


class Rig:
    """A session on a fake server, which sleeps in name only."""

    def __init__(
        self, server: FakeServer, way: Way, budget: Budget, log: MemoryCallLog | None, given: dict[str, object]
    ) -> None:
        self.server = server
        self.way = way
        self.waits: list[float] = []
        self.log = log or MemoryCallLog()
        self.meter = Meter(budget)
        fields: dict[str, object] = {"provider": way.wire, "model": "fake-1", "base_url": server.url(way.wire)}
        self.settings = ProviderSettings.of(environment={}, **{**fields, "stream": way.stream, **given})
        self.client = make_client(self.settings, {"TRACESCRIBE_LLM_API_KEY": SECRET})
        self.session = LlmSession(self.settings, self.client, self.log, sleep=self.waits.append)

    def ask(self, user: str = "Which word?") -> str:
        """The word that the model answers with."""
        return self.session.ask(PROMPT.model_copy(update={"user": user}), Word, self.meter).word

    @property
    def ledger(self) -> list[str]:
        """The log in short: `intent 1`, `answer stop`, `failure ProviderTimeoutError`."""
        lines: list[str] = []
        for event in self.log.events:
            match event:
                case CallIntent():
                    lines.append(f"intent {event.attempt}")
                case CallAnswer():
                    lines.append(f"answer {event.completion.finish}")
                case CallFailure():
                    lines.append(f"failure {event.error.partition(':')[0]}")
        return lines


class RigMaker:
    """Makes rigs, and stops their servers when the test ends."""

    def __init__(self) -> None:
        self._rigs: list[Rig] = []

    def __call__(
        self,
        way: Way,
        script: Script,
        *,
        budget: Budget | None = None,
        log: MemoryCallLog | None = None,
        **given: object,
    ) -> Rig:
        server = FakeServer(script)
        server.start()
        try:
            rig = Rig(server, way, budget or Budget(), log, given)
        except BaseException:
            server.stop()
            raise
        self._rigs.append(rig)
        return rig

    def stop(self) -> None:
        """End all servers and clients."""
        for rig in self._rigs:
            rig.client.close()
        for rig in self._rigs:
            rig.server.stop()


@contextmanager
def rigs() -> Iterator[RigMaker]:
    """A maker of rigs for the length of a `with` block."""
    maker = RigMaker()
    try:
        yield maker
    finally:
        maker.stop()
