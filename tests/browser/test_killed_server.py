"""The server is killed again and again while acts come in: what was answered is there once, nothing is half there."""

from __future__ import annotations

import json
import random
import signal
import threading
import time

import httpx

from tests.browser.reviewer import Reviewer
from tests.browser.site import PATIENCE, Site

KILLS = 8


class _Sender(threading.Thread):
    """Sends comments one after the other, and again what was not answered, as the page does."""

    def __init__(self, site: Site, reviewer: Reviewer) -> None:
        super().__init__()
        self._site, self._reviewer = site, reviewer
        self.stopping = threading.Event()
        self.answered: list[str] = []
        self.sent = 0
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self.sent += 1
                self._send(f"remark {self.sent}")
        except Exception as fault:  # noqa: BLE001  # told by the test, which runs in another thread
            self.fault = fault

    def _send(self, text: str) -> None:
        act = {"kind": "comment", "target": "report", "text": text}
        while True:
            try:
                answer = self._reviewer.post(act)
                if answer.status_code == 200:
                    self._reviewer.version = answer.json()["version"]
                    self._reviewer.review_id = answer.json()["review_id"]
                    break
                # too many, or the store is locked for longer than the server waits
                if answer.status_code in (429, 503):
                    time.sleep(float(answer.headers.get("retry-after", "1")))
                    continue
                assert answer.status_code == 409, (answer.status_code, answer.text)
                # nobody else writes: the act before the kill was saved, and only its answer was lost
                state = answer.json()["state"]
                assert state["history"][-1]["act"] == act, state["history"][-1]
                self._reviewer.version, self._reviewer.review_id = state["version"], state["review_id"]
                break
            except httpx.TransportError:
                if self.stopping.wait(0.05):
                    return
        self.answered.append(text)


def test_nothing_is_half_saved_and_nothing_is_saved_twice(fresh_site: Site) -> None:
    case = fresh_site.cases()[0]["case_id"]
    port = int(fresh_site.address.rsplit(":", 1)[1])
    reviewer = Reviewer(fresh_site.address, case)
    sender = _Sender(fresh_site, reviewer)
    sender.start()
    draw = random.Random(8)
    try:
        for _ in range(KILLS):
            before = len(sender.answered)
            end = time.monotonic() + PATIENCE
            while len(sender.answered) <= before + 1:
                assert sender.fault is None and time.monotonic() < end, (sender.fault, fresh_site.said)
                time.sleep(0.005)
            time.sleep(draw.uniform(0.0, 0.08))
            fresh_site.stop(signal.SIGKILL)
            fresh_site.start(port)
    finally:
        sender.stopping.set()
        sender.join(60)
        reviewer.http.close()
    assert sender.fault is None, sender.fault
    assert len(sender.answered) > KILLS
    with Reviewer(fresh_site.address, case) as later:
        state = later.look()
    texts = [done["act"]["text"] for done in state["history"]]
    assert texts[: len(sender.answered)] == sender.answered
    assert len(texts) <= len(sender.answered) + 1, "only the last one may be saved without its answer having come"
    assert [done["version"] for done in state["history"]] == list(range(1, len(texts) + 1))
    assert state["version"] == len(texts)
    assert _audited(fresh_site) == len(texts)
    fresh_site.run("audit", "verify", "--store", str(fresh_site.store))


def _audited(site: Site) -> int:
    """How many acts of reviews the audit log has."""
    said = site.run("audit", "show", "--act", "human review", "--limit", "0", "--json", "--store", str(site.store))
    return len(json.loads(said))
