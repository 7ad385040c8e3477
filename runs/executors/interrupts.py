"""Ctrl-C and SIGTERM end a run where it waits: not while a worker is being entered in, nor while the last are struck off.

Python raises `KeyboardInterrupt` between any two steps of the main thread. A worker that was started and not yet noted
would go on unseen, and a second interrupt on the way out would leave what the first has not yet given back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENOUGH = 3
"""So many interrupts mean: leave everything as it is, and end. The next look of anybody finds what was left."""


class _Asked:
    """What signals asked for since `ended_by_signals` began, in this process's main thread.

    Attributes:
        times: how many came.
        sign: the last of them.
        raised: whether the run was told.
        held: blocks, within one another, that an interrupt waits for.
        before: who catches them outside of the run.
    """

    times = 0
    sign = signal.SIGINT
    raised = False
    held = 0
    before: Mapping[signal.Signals, Any] = {}


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end a block as Ctrl-C does, where this is the main thread; both wait for `undisturbed` to end.

    The first interrupts the block; a second only makes haste (see `in_haste`), the third interrupts whatever is done.
    Whoever caught a signal before still does, so that an exit status can tell which it was; one that is ignored stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    before = {sign: handler for sign, handler in found.items() if handler not in (None, signal.SIG_IGN)}
    _Asked.times, _Asked.raised, _Asked.before = 0, False, before
    for sign in before:
        signal.signal(sign, _heard)
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
        _Asked.times = 0


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run a short block to its end within `ended_by_signals`; an interrupt that comes meanwhile is raised there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Asked.held += 1
    try:
        yield
    finally:
        _Asked.held -= 1
        if _Asked.times and not _Asked.raised and not _Asked.held:
            _interrupt(None)


def stop_if_asked() -> None:
    """Interrupt a run that goes on although it was told to end, for its every turn.

    What is raised where Python calls back on its own, as when it collects garbage, is told and forgotten.
    """
    if _Asked.times and threading.current_thread() is threading.main_thread():
        _interrupt(None)


def in_haste() -> bool:
    """Whether a run that was interrupted was interrupted again: nobody wants to wait for a case to end."""
    return _Asked.times > 1


def _heard(number: int, frame: FrameType | None) -> None:
    _Asked.times += 1
    _Asked.sign = signal.Signals(number)
    if not _Asked.held and (not _Asked.raised or _Asked.times >= ENOUGH):
        _interrupt(frame)


def _interrupt(frame: FrameType | None) -> None:
    _Asked.raised = True
    handler = _Asked.before.get(_Asked.sign)
    if callable(handler):
        handler(_Asked.sign, frame)
    raise KeyboardInterrupt
