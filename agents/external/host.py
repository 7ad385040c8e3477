"""Runs one Python callable in a process of its own: `host.py FOLDER MODULE ATTRIBUTE`, started by `agents.external.program`.

It speaks the protocol on the streams that it was given; what the callable prints goes to standard error. Nothing of the
product is imported, so that it starts at once.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from functools import reduce
from typing import Any


def main(folder: str, module: str, attribute: str) -> None:
    """Read a case, call the callable, write what it returns."""
    sys.path.insert(0, folder)
    inbox, outbox = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a print must not look like an answer
    sys.stdout = sys.stderr
    agent = reduce(getattr, attribute.split("."), importlib.import_module(module))
    assert callable(agent), f"{module}:{attribute} cannot be called"

    def send(document: Any) -> None:
        outbox.write(json.dumps(document, allow_nan=False) + "\n")
        outbox.flush()

    def ask(**act: Any) -> Any:
        """Ask for one act, and wait for what it found."""
        send({"ask": act})
        return json.loads(inbox.readline())

    case = json.loads(inbox.readline())
    wants_ask = len(inspect.signature(agent).parameters) > 1
    send(agent(case, ask) if wants_ask else agent(case))


if __name__ == "__main__":
    main(*sys.argv[1:])
