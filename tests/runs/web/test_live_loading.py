"""Loading that failed once is tried again: the panel offers to run as before."""

from __future__ import annotations

import sys

import pytest

from tracescribe.runs.web.live_desk import LiveDesk
from tracescribe.runs.web.live_errors import LiveCrashedError, LiveError, LiveTimeoutError
from tracescribe.runs.web.live_requests import LiveRequest, LiveSubject, LiveWeights
from tracescribe.runs.web.live_worker import LiveWorker

SUBJECT = LiveSubject(prompt="a", n_tokens=1, token=None, model_sha256="0" * 64, transcoders_sha256="1" * 64)


@pytest.mark.parametrize(
    ("program", "seconds", "kind", "told"),
    [("import time; time.sleep(600)", 0.5, LiveTimeoutError, "try it again"), ("", 300.0, LiveCrashedError, "died")],
)
def test_weights_that_took_too_long_are_loaded_anew(
    program: str, seconds: float, kind: type[LiveError], told: str
) -> None:
    weights = LiveWeights(model="m", transcoders="t", evidence=None, shown=("m", "t"))
    desk = LiveDesk(LiveWorker(weights, load_seconds=seconds, command=(sys.executable, "-c", program)))
    try:
        with pytest.raises(kind, match=told):
            desk.run("rosa", LiveRequest.model_construct(), SUBJECT)
        assert desk.why_not(SUBJECT) is None
    finally:
        desk.close()
