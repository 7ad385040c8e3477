"""What roles do not allow: the first refusal of a minute is in the audit log at once, what follows is told as a number.

The log is never shortened; a program with the wrong token would fill it with millions of entries a day.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

EVERY = 60.0
"""Seconds between two entries about one visitor at one route."""
MAX_REFUSED = 10_000


class RefusedMemory:
    """Who was refused what in the last minute; of one running app.

    Args:
        clock: steady seconds; replaced in tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def to_tell(self, visitor: str, asked: str) -> int | None:
        """Count a refusal.

        Returns:
            How many were not told since the last entry, where this one is to be; None where it is not.
        """
        who = (visitor, asked)
        with self._lock:
            now = self._clock()
            at, untold = self._told.get(who, (now - EVERY, 0))
            due = now - at >= EVERY
            self._told[who] = (now, 0) if due else (at, untold + 1)
            self._told.move_to_end(who)
            while len(self._told) > MAX_REFUSED:
                self._told.popitem(last=False)
        return untold if due else None
