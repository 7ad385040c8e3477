"""Stands for the process that holds the weights: quick, and it hangs, dies or refuses when the token asks for it.

python fake_live_process.py [refuse | die | hang]    what it does instead of loading
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def say(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


def main() -> None:
    sys.stdin.readline()
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "refuse":
        say({"at": "refused", "error": "UnknownModelError", "message": "no such model"})
        return
    if what == "die":
        return
    if what == "hang":
        time.sleep(600)
    model, transcoders = sys.argv[2:4] if len(sys.argv) > 3 else ("m" * 64, "t" * 64)
    say({"at": "up", "model_sha256": model, "transcoders_sha256": transcoders, "seconds": 0.0})
    for line in sys.stdin:
        document = json.loads(line)
        asked, subject = document["request"], document["subject"]
        if asked["token"] == "hang":
            time.sleep(600)
        if asked["token"] == "die":
            return
        if asked["token"] == "unknown":
            say({"at": "failed", "error": "UnknownIdError", "message": "'unknown' is not a token"})
            continue
        row: dict[str, Any] = {"token": "x", "before": 1.0, "after": 0.0, "rank_before": 1, "rank_after": 9}
        row |= {"logit_before": 1.0, "logit_after": -1.0}
        result: dict[str, Any] = {
            "request": asked,
            "prompt": subject["prompt"],
            "answer_before": "x",
            "answer_after": "y",
        }
        result |= {"target": row, "tokens": [row], "edits": [], "controls": None, "doses": []}
        say({"at": "done", "result": {**result, "command": "tracescribe intervene", "seconds": 0.0}})


main()
