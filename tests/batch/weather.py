"""A fake provider whose behaviour can be changed while a job runs: up, failing, silent, refusing, too busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from tests.agents.fake_server import FakeServer, Question, Reply, serving
from tests.agents.fake_thinker import think

Mood = Literal["up", "failing", "silent", "refusing", "busy"]
REPLIES: dict[Mood, Reply] = {
    "failing": Reply(status=500, text="the server has a problem"),
    "refusing": Reply(status=401, text="incorrect API key provided"),
    "busy": Reply(status=429, text="too many requests", headers={"retry-after": "1"}),
}


@dataclass(eq=False)
class Weather:
    """The provider.

    Attributes:
        server: itself.
        mood: how it behaves now.
        calm_after: it is up again after so many replies of another mood; None keeps the mood.
        came: requests so far.
    """

    server: FakeServer
    mood: Mood = "up"
    calm_after: int | None = None
    came: int = 0
    delay: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _again: threading.Event = field(default_factory=threading.Event)
    _coming: tuple[Callable[[], bool], Mood, int | None] | None = None

    def turn_once(self, condition: Callable[[], bool], mood: Mood, calm_after: int | None = None) -> None:
        """Behave so from the first request on at which a condition holds.

        It is looked at before the request is answered: a job that has more to ask cannot end in between, as quick as it
        may be.
        """
        with self._lock:
            self._coming = (condition, mood, calm_after)

    def turn(self, mood: Mood, calm_after: int | None = None) -> None:
        """Behave so from now on; requests that wait in silence are let go when it is up again."""
        with self._lock:
            self.mood, self.calm_after, self._coming = mood, calm_after, None
        if mood == "up":
            self._again.set()
        else:
            self._again.clear()

    def answer(self, question: Question) -> Reply:
        """The server's script."""
        coming = self._coming
        if coming is not None and coming[0]():
            with self._lock:
                first, self._coming = self._coming is coming, None
            if first:
                self.turn(*coming[1:])
        with self._lock:
            self.came += 1
            mood = self.mood
            if mood != "up" and self.calm_after is not None:
                self.calm_after -= 1
                if self.calm_after <= 0:
                    self.mood = "up"
                    self._again.set()
        if mood == "silent":
            self._again.wait(300.0)
            return Reply(status=503, text="back soon")
        return REPLIES[mood] if mood in REPLIES else Reply(text=think(question).text, delay=self.delay)


@contextmanager
def weather() -> Iterator[Weather]:
    """A running provider."""
    with serving(think) as server:
        made = Weather(server)
        server.script = made.answer
        try:
            yield made
        finally:
            made.turn("up")
