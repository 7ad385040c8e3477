"""The process that holds the weights for live interventions: `python -m tracescribe.runs.web.live_process`.

It reads one JSON document a line from its input and writes one a line to its output: first which weights to load, then
interventions one after another. It ends when its input ends, also when the server was killed. A run that takes too long,
or fails in a way that nobody foresaw, ends it; the server starts another when it is needed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import IO

from tracescribe.runs.web.live_requests import LiveRequest, LiveSubject, LiveWeights
from tracescribe.tracer.errors import TracescribeError


def main() -> int:
    """Serve until the input ends; returns the exit code."""
    from tracescribe.runs.web.live_running import LoadedWeights, run_live

    # libraries may print: what they print must not be taken for an answer
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    questions = sys.stdin
    started = time.monotonic()
    try:
        loaded = LoadedWeights(LiveWeights.model_validate_json(questions.readline()))
    except TracescribeError as error:
        _say(answers, {"at": "refused", "error": type(error).__name__, "message": str(error)})
        return 1
    model, transcoders = loaded.hashes
    seconds = time.monotonic() - started
    _say(answers, {"at": "up", "model_sha256": model, "transcoders_sha256": transcoders, "seconds": seconds})
    for line in questions:
        document = json.loads(line)
        try:
            asked = LiveRequest.model_validate(document["request"])
            result = run_live(loaded, asked, LiveSubject.model_validate(document["subject"]))
            _say(answers, {"at": "done", "result": result.model_dump(mode="json")})
        except TracescribeError as error:
            _say(answers, {"at": "failed", "error": type(error).__name__, "message": str(error)})
    return 0


def _say(answers: IO[str], document: dict[str, object]) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
