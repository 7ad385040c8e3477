"""What the template of `SlowToLoad` loads: it says who has begun to load, and never ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

if "SLOW_TO_LOAD" in os.environ:
    begun = Path(os.environ["SLOW_TO_LOAD"])
    with begun.with_suffix(".part").open("w") as stream:
        stream.write(str(os.getpid()))
    begun.with_suffix(".part").rename(begun)
    while True:
        time.sleep(0.02)
