"""A real PostgreSQL server for tests: started on a free port of this machine, in a folder of its own, as no root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.runs.ports import quiet_ports

_START_SECONDS = 300.0
_TRIES, _TAKEN = 10, "Address already in use"
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
}


class PostgresServer:
    """A server, its folder, and what may happen to it.

    Attributes:
        folder: with data, socket and log.
        port: on 127.0.0.1, the same after a restart.
    """

    def __init__(self) -> None:
        self._programs = programs_folder()
        self._account = _account()
        # a short name: the path of a socket has at most 107 characters
        self.folder = Path(tempfile.mkdtemp(prefix="tsg-"))
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        self._call("initdb", "-D", str(self._data), "-U", "tracescribe", "-A", "trust", "-E", "UTF8", "--no-sync")
        for self.port in islice(quiet_ports(), _TRIES):
            try:
                self.start()
            except RuntimeError as error:
                if _TAKEN not in str(error):
                    raise
            else:
                return
        raise RuntimeError(f"PostgreSQL found no port in {_TRIES} tries")

    @property
    def pid(self) -> int | None:
        """Of the server's first process; None while it is stopped."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start, and wait until it answers."""
        if self._process is not None:
            return
        options = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._command("postgres"),
                    *("-D", str(self._data), "-p", str(self.port), "-k", str(self.folder)),
                    *options,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers() or self._process.poll() is not None:  # who answers may be another server
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, how: str = "fast") -> None:
        """Stop: `smart` waits for clients, `fast` ends their transactions, `immediate` leaves all to recovery."""
        if self._process is None:
            return
        signals = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        self._process.send_signal(signals[how])
        self._process.wait(_START_SECONDS)
        self._process = None

    def restart(self, how: str = "fast", away: float = 0.0) -> None:
        """Stop, stay away for some seconds, start."""
        self.stop(how)
        time.sleep(away)
        self.start()

    def kill(self) -> None:
        """Kill the server's first process with -9; its children end when they see it."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(_START_SECONDS)
        self._process = None
        # the children hold the shared memory; a new server starts only without them
        deadline = time.monotonic() + _START_SECONDS
        while self._children() and time.monotonic() < deadline:
            for pid in self._children():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)

    def new_database(self) -> str:
        """Make an empty database; returns its address as `--store` takes it."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self._sql(f"CREATE DATABASE {name}")
        return f"postgresql://tracescribe@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        """Stop, and remove the folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _command(self, program: str) -> list[str]:
        path = str(self._programs / program)
        if self._account is None:
            return [path]
        ids = (f"--reuid={self._account.pw_uid}", f"--regid={self._account.pw_gid}", "--clear-groups")
        return ["setpriv", *ids, path]

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._command(program), *arguments], capture_output=True, text=True, cwd=self.folder, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr[-2000:]}")

    def _answers(self) -> bool:
        import psycopg

        try:
            self._sql("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _sql(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="tracescribe",
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        ) as connection:
            connection.execute(statement.encode())

    def _children(self) -> list[int]:
        """Processes that work in our data folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.readlink(entry / "cwd") == str(self._data):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found


def programs_folder() -> Path:
    """Folder of `initdb` and `postgres`; skips the test where there is none, or no driver."""
    pytest.importorskip("psycopg", reason="the postgres extra is not installed")
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            if os.geteuid() == 0 and shutil.which("setpriv") is None:
                pytest.skip("PostgreSQL does not run as root, and there is no setpriv to become somebody else")
            return place
    pytest.skip("PostgreSQL is not installed (initdb and postgres, in PATH or in /usr/lib/postgresql/*/bin)")


def _account() -> pwd.struct_passwd | None:
    """Who the server runs as when we are root, as whom it refuses to run."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody'")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests of this process; each takes a `new_database`."""
    with PostgresServer() as server:
        yield server
