"""`tracescribe serve` as a process: says where it is, answers there, and goes when it is told to."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracescribe.runs.cli import main

PATIENCE = 300.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    """A server over a store that it makes, and what it said."""
    folder = tmp_path_factory.mktemp("serve")
    process = subprocess.Popen(
        [sys.executable, "-m", "tracescribe.runs", "serve", "--port", "0", "--store", "store", "--json"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    while not said.rstrip().endswith("}"):
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        said += line
    yield process, json.loads(said)
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()


def _address(server: tuple[subprocess.Popen[str], dict[str, object]]) -> tuple[str, int]:
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/", str(server[1]["url"]))
    assert found
    return "127.0.0.1", int(found[1])


def test_it_answers_where_it_says(server: tuple[subprocess.Popen[str], dict[str, object]]) -> None:
    host, port = _address(server)
    with urllib.request.urlopen(f"http://{host}:{port}/api/session", timeout=PATIENCE) as answer:
        assert json.load(answer)["role"] == "admin"
    assert server[1]["log_in"] is False


def test_a_taken_port_is_one_line(
    server: tuple[subprocess.Popen[str], dict[str, object]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    port = _address(server)[1]
    assert main(["serve", "--port", str(port), "--store", str(tmp_path / "other")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and f"port {port}" in told and "--port" in told
    assert not (tmp_path / "other").exists(), "no store is made for a server that cannot be"


def test_what_is_no_http_is_refused(server: tuple[subprocess.Popen[str], dict[str, object]]) -> None:
    """A head that is too large, and bytes that are no request at all."""
    for sent in (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x00\r\n\r\n",
    ):
        with socket.create_connection(_address(server), timeout=PATIENCE) as opened:
            try:
                opened.sendall(sent)
                answer = opened.recv(4096)
            except ConnectionError:
                continue  # closed before all of it was sent
            assert answer.startswith(b"HTTP/1.1 4") or not answer


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["--gold", "nowhere.json"], "--gold nowhere.json"),
        (["--ssl-certfile", "a.pem"], "--ssl-keyfile"),
        (["no-such-folder"], "no-such-folder"),
        (["--allowed-host", "*"], "no host name"),
    ],
)
def test_wrong_options_are_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--port", "0", "--store", str(tmp_path / "s"), *options]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_it_goes_when_it_is_told(server: tuple[subprocess.Popen[str], dict[str, object]]) -> None:
    """Last in this file: an open connection does not keep it."""
    process = server[0]
    with socket.create_connection(_address(server), timeout=PATIENCE):
        process.send_signal(signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
    assert process.returncode == 143
