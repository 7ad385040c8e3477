"""The registry's log with a listener: what is about to be tested is known elsewhere too before it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracescribe.agents.registration import RegistryUnheardError
from tracescribe.tracer.errors import TracescribeError

if TYPE_CHECKING:
    from tracescribe.agents.durable.registry_file import RegistryFile
    from tracescribe.agents.registry_log import LogLine, RegistryListener


class HeardLog:
    """A `RegistryLog` that tells a listener of its lines, together, whenever they must last.

    Lines that a process wrote and did not live to tell of are told by the next one, before it does anything.
    """

    def __init__(self, log: RegistryFile, listener: RegistryListener) -> None:
        self._log = log
        self._listener = listener
        self._untold: list[LogLine] = list(log.lines)

    def append(self, line: LogLine, *, lasting: bool) -> None:
        """Write one line; with `lasting` it is on the disk, and told with all lines before it, when this returns.

        Raises:
            RunUnwritableError: it cannot be written.
            RegistryUnheardError: the listener could not be told; what the line announces must not be done.
        """
        self._log.append(line, lasting=lasting)
        self._untold.append(line)
        if lasting:
            self.tell()

    def sync(self) -> None:
        """Have every line so far on the disk, and told, when this returns.

        Raises:
            RunUnwritableError: they cannot be written.
            RegistryUnheardError: the listener could not be told.
        """
        self._log.sync()
        self.tell()

    def tell(self) -> None:
        """Tell the listener of what it has not heard from this process.

        Raises:
            RegistryUnheardError: it could not be told.
        """
        if not self._untold:
            return
        try:
            self._listener(tuple(self._untold))
        except TracescribeError as error:
            raise RegistryUnheardError(
                f"nothing is tested, for what is registered could not be noted: {error}"
            ) from error
        self._untold.clear()
