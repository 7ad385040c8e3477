"""Reading artefacts for pages: that a visitor opened one is logged once, not again for every part of the page."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from tracescribe.runs.access.reading import REPORT, log_opening, open_report

if TYPE_CHECKING:
    from tracescribe.runs.access.roles import Principal
    from tracescribe.runs.store.database import Store

LASTS = 600.0
"""Seconds after which opening is an act of its own again."""
MAX_OPENED = 10_000


class OpenedMemory:
    """What was opened by whom in the last minutes; of one running app.

    Args:
        clock: seconds; replaced in tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, visitor: str, case_id: str, name: str) -> bool:
        """Whether the log tells of it already."""
        with self._lock:
            at = self._logged.get((visitor, case_id, name))
            return at is not None and self._clock() - at < LASTS

    def add(self, visitor: str, case_id: str, name: str) -> None:
        """The log tells of it now."""
        with self._lock:
            self._logged[visitor, case_id, name] = self._clock()
            self._logged.move_to_end((visitor, case_id, name))
            while len(self._logged) > MAX_OPENED:
                self._logged.popitem(last=False)


def open_for_page(store: Store, opened: OpenedMemory, visitor: Principal, case_id: str, name: str = REPORT) -> bytes:
    """An artefact, checked against its hash. Allowed or refused each time; logged once in ten minutes.

    Raises:
        AccessDeniedError, UnknownIdError, ArtefactDamagedError, ArtefactMissingError, StoreError: as `open_report`.
    """
    again = opened.has(visitor.name, case_id, name)
    content = open_report(store, visitor, case_id, name, again=again)
    if not again:
        opened.add(visitor.name, case_id, name)
    return content


def note_for_page(store: Store, opened: OpenedMemory, visitor: Principal, case_id: str, name: str = REPORT) -> str:
    """`open_for_page` for what is in memory already, or is told of a report without its file; gives the file's hash.

    Raises:
        AccessDeniedError, UnknownIdError, StoreError: as `open_report`.
    """
    again = opened.has(visitor.name, case_id, name)
    sha256 = log_opening(store, visitor, case_id, name, again=again)
    if not again:
        opened.add(visitor.name, case_id, name)
    return sha256
