"""The loop's state after every step, in a SQLite file: LangGraph's own saver with a serializer that imports nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from tracescribe.agents.durable.errors import RunDamagedError
from tracescribe.agents.durable.serializer import StateSerializer
from tracescribe.agents.registry import START_AGAIN
from tracescribe.agents.state import LoopState
from tracescribe.tracer.errors import TracescribeError

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite import SqliteSaver

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "run", "checkpoint_ns": ""}}
"""A folder holds one run, so one LangGraph thread."""


class Checkpoints:
    """Opens the file, and hands out the saver.

    Attributes:
        saver: for compiling the graph.
    """

    def __init__(self, path: Path, *, flush: bool = True) -> None:
        """Open or create the file.

        Args:
            flush: a step's state outlasts a loss of power; else the death of the process alone.

        Raises:
            RunDamagedError: it is no database.
        """
        from langgraph.checkpoint.sqlite import SqliteSaver

        self._path = path
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False)
            # a step's state is on the disk before the next begins, even if the machine goes down
            self._connection.execute(f"PRAGMA synchronous={'FULL' if flush else 'OFF'}")
            self.saver: SqliteSaver = SqliteSaver(self._connection, serde=StateSerializer())
            self.saver.setup()
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def state(self) -> LoopState | None:
        """The state after the last step that was done; None before the first.

        Raises:
            RunDamagedError: the file is damaged, or does not hold a state of the loop.
        """
        try:
            found = self.saver.get_tuple(CONFIG)  # type: ignore[arg-type]
            if found is None:
                return None
            values = {name: value for name, value in found.checkpoint["channel_values"].items() if name in _FIELDS}
            for name, value in values.items():
                _FIELDS[name].validate_python(value)
        except (sqlite3.Error, ValidationError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged(error) from error
        except TracescribeError as error:
            raise RunDamagedError(f"{self._path}: {error}; {START_AGAIN}") from error
        return values  # type: ignore[return-value]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _damaged(self, error: Exception) -> RunDamagedError:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        return RunDamagedError(f"the checkpoints in {self._path} cannot be read ({told[:200]}); {START_AGAIN}")


_FIELDS: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(kind) for name, kind in get_type_hints(LoopState).items()}
