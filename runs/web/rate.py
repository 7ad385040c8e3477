"""How often somebody may do something: token buckets, in memory, for visitors and addresses."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fastapi import Request

from tracescribe.runs.web.errors import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from tracescribe.runs.web.settings import WebSettings

What = Literal["request", "live", "log-in", "bring in"]
MAX_BUCKETS = 10_000
"""Of one kind; the one that was not used for longest is forgotten, and it was full by then or somebody floods us."""


@dataclass(frozen=True)
class Rate:
    """`burst` at once, and `per_second` for ever."""

    burst: float
    per_second: float


class RateLimits:
    """Of one running app.

    Args:
        clock: seconds; replaced in tests.
    """

    def __init__(self, settings: WebSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates: dict[What, Rate] = {
            "request": Rate(600, 60),
            "live": Rate(settings.live_per_minute, settings.live_per_minute / 60),
            "log-in": Rate(10, 10 / 60),
            "bring in": Rate(60, 1),
        }
        self._clock = clock
        self._buckets: dict[What, OrderedDict[str, tuple[float, float]]] = {kind: OrderedDict() for kind in self._rates}
        self._lock = threading.Lock()

    def take(self, what: What, who: str) -> None:
        """Count one.

        Raises:
            Refusal: 429, where too many came too fast; `Retry-After` says when to come again.
        """
        self._count(what, who, 1)

    def ask(self, what: What, who: str) -> None:
        """Whether one more would be let through, without counting it: for what is counted only where it fails.

        Raises:
            Refusal: 429, as in `take`.
        """
        self._count(what, who, 0)

    def _count(self, what: What, who: str, number: int) -> None:
        rate, buckets = self._rates[what], self._buckets[what]
        with self._lock:
            now = self._clock()
            left, then = buckets.pop(who, (rate.burst, now))
            left = min(rate.burst, left + (now - then) * rate.per_second)
            enough = left >= 1
            buckets[who] = (left - number if enough else left, now)
            if len(buckets) > MAX_BUCKETS:
                buckets.popitem(last=False)
        if not enough:
            wait = max(1, math.ceil((1 - left) / rate.per_second))
            raise Refusal(
                429,
                "too many",
                f"too many requests of the kind '{what}'; try again in {wait} s",
                fields={"retry_after": wait},
                headers={"Retry-After": str(wait)},
            )


class RequestsLimited:
    """ASGI middleware: requests of one visitor where visitors log in. Alone at a machine nobody is held up."""

    def __init__(self, app: ASGIApp, limits: RateLimits, settings: WebSettings) -> None:
        self.app = app
        self._limits = limits
        self._on = settings.log_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, or refuse."""
        if self._on and scope["type"] == "http":
            self._limits.take("request", who_asks(Request(scope)))
        await self.app(scope, receive, send)


def limited(what: What) -> Callable[[Request], None]:
    """A dependency that counts the visitor's calls: `dependencies=[Depends(limited("live"))]`."""

    def check(request: Request) -> None:
        from tracescribe.runs.web.context import context_of

        context_of(request).limits.take(what, who_asks(request))

    return check


def who_asks(request: Request) -> str:
    """The visitor's name, or the address that a nobody comes from."""
    visitor = getattr(request.state, "visitor", None)
    return visitor.name if visitor is not None else f"address:{request.client.host if request.client else ''}"
