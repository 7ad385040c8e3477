"""Tasks that misbehave, for workers of the benchmark; imports next to nothing, so that workers are up at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracescribe.tracer.errors import WorkError


class CheatedError(WorkError):
    """An error that says which kind of failure it is."""

    failure_kind = "dishonest cost"


@dataclass(frozen=True)
class Acts:
    """A handler that does what it is told: `(act, argument)`."""

    def __call__(self, task: Any, started: Callable[[], None]) -> dict[str, Any]:
        act, argument = task
        started()
        match act:
            case "echo":
                return {"said": argument, "pid": os.getpid()}
            case "raise":
                raise CheatedError(argument)
            case "bug":
                raise ValueError(argument)
            case "exit":
                os._exit(argument)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sleep":
                time.sleep(argument)
            case "flood":
                return {"said": "x" * argument}
            case "print":
                print("x" * argument)
                print("y" * argument, file=sys.stderr)
                return {}
            case "child":
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                Path(argument).write_text(f"{os.getpid()} {child.pid}")
                time.sleep(600)
        return {}
