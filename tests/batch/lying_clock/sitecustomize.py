"""Put before everything else on a process's path: its clock jumps by hours, forth and back, every few reads."""

from __future__ import annotations

import os
import random
import time

_true = time.time
_draw = random.Random(os.getpid())
_jump = [0.0, 0]


def _lie() -> float:
    _jump[1] += 1
    if _jump[1] % 5 == 1:
        _jump[0] = _draw.uniform(-30.0, 30.0) * 3600.0
    return _true() + _jump[0]


time.time = _lie
time.time_ns = lambda: int(_lie() * 1e9)
