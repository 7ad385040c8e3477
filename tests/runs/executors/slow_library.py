"""What the template of `SlowToLoad` loads: it says that loading has begun, and ends when it may."""

from __future__ import annotations

import os
import time
from pathlib import Path

if "SLOW_TO_LOAD" in os.environ:
    begun = Path(os.environ["SLOW_TO_LOAD"])
    begun.touch()
    while not begun.with_suffix(".go").exists():
        time.sleep(0.02)
