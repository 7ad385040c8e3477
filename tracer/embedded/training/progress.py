"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class ProgressCallback(Protocol):
    """Called now and then while a stage runs; the last call of a stage has `done == total`."""

    def __call__(self, stage: str, done: int, total: int, text: str) -> None:
        """Take note.

        Args:
            stage: short name of the stage (`model`, `transcoder`, `card`, ...).
            done: units finished.
            total: units in the stage.
            text: the figures of the moment, one line, may be empty.
        """
        ...


def silent(stage: str, done: int, total: int, text: str) -> None:
    """A callback that ignores everything."""
