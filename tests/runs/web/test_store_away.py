"""The server while its PostgreSQL is away, or there and silent: it answers soon, tells strangers no places, and ends when told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from tests.runs.postgres_server import PostgresServer
from tracescribe.runs.access.tokens import create_token
from tracescribe.runs.serving import LAST_SECONDS
from tracescribe.runs.store.database import open_store, parse_address

pytestmark = pytest.mark.batch
SOON = 30.0
"""Seconds on a busy machine; without the limits it is minutes, or for ever."""


@contextmanager
def _frozen(server: PostgresServer) -> Iterator[None]:
    """All its processes stand still: the machine still takes what is sent, and nobody answers."""
    assert server.pid is not None
    every = [server.pid, *server._children()]
    for pid in every:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in {*every, *server._children()}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def _away(server: PostgresServer) -> Iterator[None]:
    server.stop("immediate")
    try:
        yield
    finally:
        server.start()


@pytest.mark.parametrize("gone", [_away, _frozen])
def test_the_server_answers_and_ends(gone: object, tmp_path: Path) -> None:
    log = tmp_path / "said"
    with PostgresServer() as database, log.open("wb") as heard:
        address = parse_address(database.new_database(), artefacts=str(tmp_path / "artefacts"))
        store = open_store(address, create=True)
        token = create_token(store, "rosa", "reviewer").text
        store.close()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tracescribe.runs",
                "serve",
                "--port",
                "0",
                "--log-in",
                "--json",
                "--store",
                address.url,
            ],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TRACESCRIBE_ARTEFACTS": str(tmp_path / "artefacts")},
            stdout=subprocess.PIPE,
            stderr=heard,  # not a pipe, which nobody empties while it runs
            text=True,
        )
        try:
            assert process.stdout is not None
            said = ""
            while not said.rstrip().endswith("}"):
                said += (line := process.stdout.readline())
                assert line, f"it ended before it told where it is: {log.read_text()[-4000:]}"
            url = json.loads(said)["url"]
            assert _ask(url + "api/reports", token)[0] == 200
            with gone(database):  # type: ignore[operator]
                waiting = [Thread(target=_ask, args=(url + "api/reports", token), daemon=True) for _ in range(20)]
                for thread in waiting:
                    thread.start()
                begun = time.monotonic()
                assert _ask(url + "static/app.css")[0] == 200
                assert _ask(url + "log-in")[0] in (200, 503)
                assert time.monotonic() - begun < SOON
                status, body = _ask(url + "api/reports", token)
                assert status == 503
                assert not any(
                    place in body for place in ("127.0.0.1", str(database.port), "postgresql", str(tmp_path))
                )
                process.send_signal(signal.SIGTERM)
                assert process.wait(LAST_SECONDS + SOON) == 143
        finally:
            process.kill()
            process.communicate()


def _ask(url: str, token: str | None = None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SOON) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""
