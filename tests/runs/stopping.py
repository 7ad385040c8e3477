"""Stops a process of a test as a frozen machine does, at a moment at which nobody else must wait for it."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

PATIENCE = 600.0
"""Seconds after which it is given up."""
_LOCK_SECONDS = 5.0
"""For a lock that somebody holds who still runs; looked at once more afterwards."""


def stop_between_transactions(pid: int, database: Path) -> None:
    """Stop a process with SIGSTOP while it does not hold the lock of a SQLite database.

    A machine that freezes takes such a lock with it. A process that is merely stopped keeps it, and everybody else waits
    until their patience ends: that is another trouble than a worker that sleeps.

    Raises:
        ProcessLookupError: there is no such process.
    """
    end = time.monotonic() + PATIENCE
    while True:
        os.kill(pid, signal.SIGSTOP)
        while not _stands_still(pid):  # the signal is on its way
            assert time.monotonic() < end, "it is not stopped"
            time.sleep(0.001)
        if _can_be_written(database):
            return
        os.kill(pid, signal.SIGCONT)
        assert time.monotonic() < end, "it holds the lock whenever it is stopped"
        time.sleep(0.02)


def _stands_still(pid: int) -> bool:
    """Whether all threads of a process are stopped; one that has ended counts as gone."""
    states = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        states.append((thread / "stat").read_text(errors="replace").rpartition(")")[2].split()[0])
    if set(states) & {"Z", "X"}:
        raise ProcessLookupError(pid)
    return set(states) == {"T"}


def _can_be_written(database: Path) -> bool:
    """Whether anybody can begin a transaction that writes."""
    with closing(sqlite3.connect(database, timeout=_LOCK_SECONDS, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True
