"""Remembers for a moment that the store is away, so that requests do not wait for it one after another until no thread is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Send

REST_SECONDS = 3.0
"""Between two requests that look whether it is back."""


class Outage:
    """Of one running app's store.

    Args:
        clock: steady seconds; replaced in tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: float | None = None

    def begin(self) -> None:
        """It could not be reached."""
        with self._lock:
            self._until = self._clock() + REST_SECONDS

    @property
    def is_on(self) -> bool:
        """Whether it was away when it was asked last."""
        return self._until is not None

    def ended_by(self, send: Send) -> Send:
        """What sends the answer of a request that was let through: unless that tells of a fault, the store is back."""

        async def looking(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 500:
                self._until = None
            await send(message)

        return looking

    def lets_through(self) -> bool:
        """Whether a request may use the store: all do while it is there, now and then one while it is not."""
        if self._until is None:
            return True
        with self._lock:
            if self._until is None or self._clock() < self._until:
                return self._until is None
            self._until = self._clock() + REST_SECONDS
            return True
