"""The live process is started once, given up when it hangs, started anew when it died; visitors take turns."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tracescribe.runs.web import live_desk
from tracescribe.runs.web.live_desk import LiveDesk, desk_of
from tracescribe.runs.web.live_errors import (
    LiveBusyError,
    LiveCrashedError,
    LiveFailedError,
    LiveTimeoutError,
    LiveUnavailableError,
)
from tracescribe.runs.web.live_requests import LiveRequest, LiveResult, LiveSubject, LiveWeights
from tracescribe.runs.web.live_worker import LiveWorker
from tracescribe.runs.web.settings import WebSettings

FAKE = Path(__file__).parent / "fake_live_process.py"
WEIGHTS = LiveWeights(model="m", transcoders="t", evidence=None)
SUBJECT = LiveSubject(prompt="p", n_tokens=1, token=None, model_sha256="m" * 64, transcoders_sha256="t" * 64)


def asking(token: str | None = None) -> LiveRequest:
    return LiveRequest(act="ablate", nodes=("0_1_1",), token=token)


@pytest.fixture
def made() -> Iterator[list[LiveWorker]]:
    """Workers of a test, all ended after it."""
    workers: list[LiveWorker] = []
    yield workers
    for worker in workers:
        worker.close()


def worker(made: list[LiveWorker], *words: str, seconds: float = 300.0, load_seconds: float = 300.0) -> LiveWorker:
    found = LiveWorker(
        WEIGHTS, run_seconds=seconds, load_seconds=load_seconds, command=(sys.executable, "-S", str(FAKE), *words)
    )
    made.append(found)
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended (and was waited for)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_one_process_serves_until_it_is_closed(made: list[LiveWorker]) -> None:
    one = worker(made)
    assert (one.phase, one.pid, one.hashes) == ("not loaded", None, None)
    assert one.run(asking(), SUBJECT).answer_after == "y"
    pid = one.pid
    assert pid is not None and one.phase == "ready" and one.hashes == ("m" * 64, "t" * 64)
    with pytest.raises(LiveFailedError, match="not a token"):
        one.run(asking("unknown"), SUBJECT)
    assert one.run(asking(), SUBJECT).prompt == "p" and one.pid == pid
    one.close()
    assert is_gone(pid)
    with pytest.raises(LiveUnavailableError, match="stopping"):
        one.run(asking(), SUBJECT)


def test_a_run_that_hangs_is_given_up_and_the_next_one_works(made: list[LiveWorker]) -> None:
    one = worker(made)
    one.run(asking(), SUBJECT)
    one._run_seconds = 0.5
    hung = one.pid
    assert hung is not None
    with pytest.raises(LiveTimeoutError, match="0.5 seconds"):
        one.run(asking("hang"), SUBJECT)
    assert is_gone(hung) and one.phase == "not loaded"
    one._run_seconds = 300.0
    assert one.run(asking(), SUBJECT).answer_after == "y"


def test_a_process_that_dies_is_told_and_replaced(made: list[LiveWorker]) -> None:
    one = worker(made)
    with pytest.raises(LiveCrashedError, match="died during the intervention"):
        one.run(asking("die"), SUBJECT)
    assert one.run(asking(), SUBJECT).answer_after == "y"
    # one that was killed while nobody asked is replaced without a word
    assert one.pid is not None
    os.kill(one.pid, 9)
    assert one.run(asking(), SUBJECT).answer_after == "y"
    # a request that kills the new process too is told
    with pytest.raises(LiveCrashedError):
        one.run(asking("die"), SUBJECT)


def test_weights_that_cannot_be_loaded_are_told(made: list[LiveWorker]) -> None:
    refusing = worker(made, "refuse")
    desk = LiveDesk(refusing)
    assert desk.why_not(SUBJECT) is None
    with pytest.raises(LiveUnavailableError, match="no such model"):
        desk.run("me", asking(), SUBJECT)
    assert refusing.phase == "failed" and "no such model" in str(desk.why_not(SUBJECT))
    with pytest.raises(LiveCrashedError, match="loading"):
        worker(made, "die").run(asking(), SUBJECT)
    with pytest.raises(LiveTimeoutError, match="loading"):
        worker(made, "hang", load_seconds=0.3).run(asking(), SUBJECT)
    with pytest.raises(LiveCrashedError, match="cannot be started"):
        LiveWorker(WEIGHTS, command=("/no/such/program",)).run(asking(), SUBJECT)


def test_a_report_of_other_weights_is_refused_without_a_run(made: list[LiveWorker]) -> None:
    one = worker(made)
    other = SUBJECT.model_copy(update={"model_sha256": "0" * 64})
    with pytest.raises(LiveUnavailableError, match="--model"):
        one.run(asking(), other)
    assert "000000000000" in str(LiveDesk(one).why_not(other)) and LiveDesk(one).why_not(SUBJECT) is None
    assert "--model" in str(LiveDesk(None).why_not(SUBJECT))
    with pytest.raises(LiveUnavailableError):
        LiveDesk(None).run("me", asking(), SUBJECT)


class SlowWorker:
    """Stands for a worker: each run waits until it is let go."""

    hashes = failure = None

    def __init__(self) -> None:
        self.began: list[str] = []
        self.beginning = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def run(self, asked: LiveRequest, subject: LiveSubject) -> LiveResult:
        self.began.append(str(asked.token))
        self.beginning.release()
        assert self.go.acquire(timeout=300)
        return LiveResult.model_construct(seconds=0.0)

    def close(self) -> None:
        pass


def test_visitors_take_turns_and_a_queue_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_desk, "MAX_WAITING", 3)
    slow = SlowWorker()
    desk = LiveDesk(slow)  # type: ignore[arg-type]
    done: list[Any] = []

    def run(name: str) -> None:
        done.append((name, desk.run(name, asking(name), SUBJECT)))

    threads = []
    for place, name in enumerate(("anna", "ben", "cleo"), start=1):
        threads.append(threading.Thread(target=run, args=(name,)))
        threads[-1].start()
        until = time.monotonic() + 300
        while desk.waiting < place and time.monotonic() < until:
            time.sleep(0.005)
        assert desk.waiting == place
    assert slow.beginning.acquire(timeout=300) and slow.began == ["anna"]
    with pytest.raises(LiveBusyError, match="of yours"):
        desk.run("anna", asking(), SUBJECT)
    with pytest.raises(LiveBusyError, match="3 interventions"):
        desk.run("dora", asking(), SUBJECT)
    for _ in threads:
        slow.go.release()
    for thread in threads:
        thread.join(300)
    assert slow.began == [name for name, _ in done] == ["anna", "ben", "cleo"] and desk.waiting == 0


def test_who_waits_too_long_is_sent_away_and_nobody_behind_is_held_up() -> None:
    slow = SlowWorker()
    desk = LiveDesk(slow, queue_seconds=0.05)  # type: ignore[arg-type]
    first = threading.Thread(target=lambda: desk.run("anna", asking(), SUBJECT))
    first.start()
    assert slow.beginning.acquire(timeout=300)
    with pytest.raises(LiveBusyError, match="still before you"):
        desk.run("ben", asking(), SUBJECT)
    slow.go.release()
    first.join(300)
    slow.go.release()
    assert desk.run("ben", asking(), SUBJECT).seconds == 0.0


def test_visitors_who_log_in_are_not_told_where_weights_lie(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    settings = WebSettings(model=str(tmp_path / "weights"), transcoders="~/sets/clt")
    alone, team = desk_of(settings).worker, desk_of(replace(settings, log_in=True)).worker
    assert alone is not None and alone.weights.shown == (settings.model, settings.transcoders)
    assert team is not None and team.weights.shown == ("weights", "clt")
    assert team.weights.model == settings.model
    hub = desk_of(WebSettings(model="google/gemma-2-2b", transcoders="embedded", log_in=True)).worker
    assert hub is not None and hub.weights.shown == ("google/gemma-2-2b", "embedded")
