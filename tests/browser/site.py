"""A real `tracescribe serve` process over a store of its own, and the command line beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

TRACESCRIBE = (sys.executable, "-m", "tracescribe.runs")
PATIENCE = 120.0
"""Seconds after which what must come is given up; no test passes or fails by how fast it comes."""
ADDRESS = re.compile(r"https?://(?:127\.0\.0\.1|localhost):\d+")


class Site:
    """A folder with a store, reports to be brought in, and a server over them.

    Attributes:
        folder: the current folder of every process.
        store: of the reports.
        reports: folders of reports that the server brings in at its start.
        options: of `tracescribe serve`.
        address: of the running server, without a slash at the end.
    """

    def __init__(self, folder: Path, reports: Sequence[Path] = (), options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.reports = list(reports)
        self.options = list(options)
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    @property
    def said(self) -> str:
        """What the server has written on both streams since its last start."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def _output(self) -> Path:
        return self.folder / f"serve-{self._starts}.txt"

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRACESCRIBE_")}
        return {**kept, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}

    def start(self, port: int = 0, words: Sequence[str] | None = None) -> None:
        """Start the server, and wait until it answers.

        Args:
            port: to listen on; 0 for one that is free.
            words: the command, in place of the site's own with its store, reports and options.

        Raises:
            AssertionError: it ended, or never answered.
        """
        self.begin(port, words)
        self.wait_until_ready()

    def begin(self, port: int = 0, words: Sequence[str] | None = None) -> None:
        """Start the server without waiting for it."""
        assert self._process is None, "the server of this site runs already"
        self._starts += 1
        own = ["serve", *map(str, self.reports), "--store", str(self.store), *self.options]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*TRACESCRIBE, *(words or own), "--port", str(port)],
                cwd=self.folder,
                env=self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until the server that was begun says its address and answers there."""
        end = time.monotonic() + PATIENCE
        while True:
            assert self._process is not None and self._process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            if found := ADDRESS.search(self.said):
                self.address = found.group()
                try:
                    httpx.get(self.address + "/log-in", timeout=PATIENCE)
                    return
                except httpx.TransportError:
                    pass
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int | None:
        """End the server.

        Returns:
            Its exit status; None where none ran.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            os.killpg(process.pid, how)
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"the server did not end: {self.said}") from None

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command of the command line; what it wrote on its output.

        Raises:
            AssertionError: it ended with another status.
        """
        done = subprocess.run(
            [*TRACESCRIBE, *words],
            check=False,
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def make_token(self, name: str, role: str) -> str:
        """An access token of the store."""
        said = self.run("access", "create", name, "--role", role, "--store", str(self.store), "--json")
        token: str = json.loads(said)["token"]
        return token

    def cases(self, **cookies_or_headers: str) -> list[dict[str, Any]]:
        """The reports that the server lists, once those that were named at its start are there.

        Raises:
            AssertionError: they did not come.
        """
        end = time.monotonic() + PATIENCE
        while True:
            answer = httpx.get(self.address + "/api/reports?per_page=100", headers=cookies_or_headers, timeout=PATIENCE)
            assert answer.status_code == 200, (answer.status_code, answer.text, self.said)
            found: list[dict[str, Any]] = answer.json()["reports"]
            if len(found) >= max(1, len(self.reports)):
                return found
            assert time.monotonic() < end, (found, self.said)
            time.sleep(0.2)
