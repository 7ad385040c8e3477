"""Opens a store, and runs transactions on it that survive a busy, restarted or briefly absent database.

Nothing heavy is imported before a store is opened: the command line reads addresses with this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tracescribe.runs.store.addresses import DEFAULT_STORE, StoreAddress, parse_address

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from tracescribe.runs.store.artefacts import Artefacts

__all__ = ["DEFAULT_STORE", "Store", "StoreAddress", "open_store", "parse_address"]

Result = TypeVar("Result")
_inherited: list[Any] = []
"""Connections of a parent process, kept for ever: closing them here would close them there."""


@dataclass(eq=False)
class Store:
    """An open store.

    Attributes:
        address: where it is.
        engine: connections to it; safe to use from several threads. After a fork the child opens its own.
        artefacts: its artefacts.
        scratch: folder on this machine for cases that are being worked on.
        store_id: of this store, made at random when it was made.
    """

    address: StoreAddress
    engine: Engine
    artefacts: Artefacts
    scratch: Path
    store_id: str
    _pid: int = field(default_factory=os.getpid, repr=False)

    def write(self, work: Callable[[Connection], Result], *, durable: bool = False) -> Result:
        """Run one transaction that writes; it is committed when this returns.

        A transaction that meets a locked database or a lost connection is run again, also when the connection is lost
        while it is committed and nobody knows whether it was: `work` must bear being run twice. On SQLite it holds the
        write lock from its beginning. It may not begin another transaction that writes.

        Args:
            durable: what is committed (and all that was before) outlasts a loss of power, which on SQLite costs a
                flush of the disk; else it outlasts the death of any process, but a loss of power may undo the last
                commits, in order. On PostgreSQL every commit is durable.

        Raises:
            StoreError: the narrower kind says why.
        """
        return self._run(work, writes=True, durable=durable)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run one transaction that only reads; run again as in `write`.

        Raises:
            StoreError: the narrower kind says why.
        """
        return self._run(work, writes=False, durable=False)

    def close(self) -> None:
        """Give back all connections."""
        self._after_fork()
        self.engine.dispose()

    def _run(self, work: Callable[[Connection], Result], *, writes: bool, durable: bool) -> Result:
        from tracescribe.runs.store.transactions import run_transaction

        self._after_fork()
        return run_transaction(self.engine, self.address, work, writes=writes, durable=durable)

    def _after_fork(self) -> None:
        if self._pid != os.getpid():
            _inherited.append(self.engine.pool)
            self.engine.dispose(close=False)
            self._pid = os.getpid()


def open_store(address: StoreAddress, *, create: bool = False) -> Store:
    """Open a store, bringing its tables to this version.

    Args:
        create: make it where there is none; else that is an error.

    Raises:
        StoreAddressError: there is none, or the address cannot be used.
        StoreError: it cannot be opened; the narrower kind says why.
    """
    from tracescribe.runs.store.opening import open_at

    return Store(address, *open_at(address, create))
