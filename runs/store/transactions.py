"""Runs one transaction until it is committed, or until nobody should wait any longer."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from tracescribe.runs.store.database_faults import fault_of
from tracescribe.runs.telemetry.measures import store_retried

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from tracescribe.runs.store.addresses import StoreAddress

Result = TypeVar("Result")
_FIRST_WAIT = 0.02
_LONGEST_WAIT = 2.0
_TOLD_AFTER = 5.0
"""Seconds of waiting after which a person who looks on should know why nothing happens."""
_log = logging.getLogger(__name__)
_running = threading.local()


def run_transaction(
    engine: Engine, address: StoreAddress, work: Callable[[Connection], Result], *, writes: bool, durable: bool
) -> Result:
    """Run `work` in a transaction; again with growing, random pauses while the fault may pass.

    Raises:
        StoreError: the fault does not pass, or has not within `address.patience` seconds.
    """
    if writes and getattr(_running, "writes", False):
        raise RuntimeError("a transaction that writes was begun inside another: it would wait for itself")
    begun = time.monotonic()
    pause, tries, told = _FIRST_WAIT, 0, False
    while True:
        tries += 1
        try:
            return _once(engine, work, writes, durable)
        except (SQLAlchemyError, OSError) as error:
            fault = fault_of(error, address)
            if fault is None:
                raise
            waited = time.monotonic() - begun
            if not fault.passing or waited + pause > address.patience:
                raise fault.error from error
            store_retried(type(fault.error).__name__)
            if waited > _TOLD_AFTER and not told:
                told = True
                _log.warning("still waiting after %.0f s: %s", waited, fault.error)
            else:
                _log.debug("try %d of a transaction failed, another follows: %s", tries, fault.error)
        # between half and one and a half: workers that failed together do not come back together
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(2 * pause, _LONGEST_WAIT)


def _once(engine: Engine, work: Callable[[Connection], Result], writes: bool, durable: bool) -> Result:
    with engine.connect() as plain:
        connection = plain.execution_options(tracescribe_writes=writes, tracescribe_durable=durable)
        _running.writes, before = writes, getattr(_running, "writes", False)
        try:
            with connection.begin():
                return work(connection)
        finally:
            _running.writes = before
