"""The last that the template of workers imports: from here on it forks a worker at once, and bears a name that says so."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tracescribe.runs.executors.worker_process import TEMPLATE_NAME

with suppress(OSError):  # where the system has no such file, nobody looks there either
    Path("/proc/self/comm").write_text(TEMPLATE_NAME, encoding="ascii")
