"""Artefacts by content: each lies under the SHA-256 of its bytes, is written once, and is checked when it is read.

An artefact's life: a row says that its file may come (`staged_artefacts`), the file is written, and the transaction that
finishes its case makes it a result (`artefact_uses`). A kill in between leaves rows of a worker that is not alive, which
`sweep` finds. Whoever deletes a file holds the lock of its row (on SQLite the write lock) from before it looks for uses
until after the file is gone, and whoever writes has committed its own row before it looks for the file: so no file goes
that somebody counts on.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from tracescribe.runs.store.artefact_files import ArtefactFiles, files_at, is_sha256
from tracescribe.runs.store.errors import ArtefactDamagedError, ArtefactMissingError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

ArtefactKind = Literal["graph", "report", "page", "markdown", "drawing", "evidence", "summary"]
ARTEFACT_KINDS: tuple[str, ...] = get_args(ArtefactKind)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artefact:
    """A result before it is stored.

    Attributes:
        name: under which its case knows it, such as `report.json`; never part of a path.
        kind: retention is by kind.
        content: its bytes, redacted already.
    """

    name: str
    kind: ArtefactKind
    content: bytes

    @property
    def sha256(self) -> str:
        """The name under which it is stored."""
        return hashlib.sha256(self.content).hexdigest()


class Artefacts:
    """Where artefacts lie: a folder, or any fsspec URL.

    Attributes:
        location: the folder or URL.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._files: ArtefactFiles | None = None

    @property
    def files(self) -> ArtefactFiles:
        """The files themselves.

        Raises:
            StoreAddressError: there is no such kind of place.
        """
        if self._files is None:
            self._files = files_at(self.location)
        return self._files

    def put(self, store: Store, worker_id: str, case_id: str, attempt: int, artefact: Artefact) -> str:
        """Stage an artefact in the store, then write its file if it is not there yet; returns its SHA-256.

        It is nobody's result until `keep` is called for the same case and attempt; a kill in between leaves a row that
        `sweep` finds.

        Raises:
            StoreError: the store or the disk cannot be used; the narrower kind says why.
        """
        return self.put_all(store, worker_id, case_id, attempt, (artefact,))[artefact.name]

    def put_all(
        self, store: Store, worker_id: str, case_id: str, attempt: int, artefacts: Iterable[Artefact]
    ) -> dict[str, str]:
        """`put` for several, in one transaction; returns SHA-256 by name, as `keep` takes it."""
        from tracescribe.runs.store.artefact_rows import stage

        every = {artefact.name: (artefact.sha256, artefact) for artefact in artefacts}
        if not every:
            return {}
        rows = {sha256: (artefact.kind, len(artefact.content)) for sha256, artefact in every.values()}
        store.write(lambda connection: stage(connection, rows, worker_id, case_id, attempt, time.time()))
        for sha256, artefact in every.values():
            self._write(sha256, artefact.content, worker_id)
        return {name: sha256 for name, (sha256, _) in every.items()}

    def keep(self, connection: Connection, case_id: str, attempt: int, names: dict[str, str]) -> None:
        """Make staged artefacts the results of a case (name -> SHA-256), within the transaction that finishes it.

        Raises:
            ArtefactMissingError: one was never staged for this attempt, or was swept since; put it again.
        """
        from tracescribe.runs.store.artefact_rows import keep

        keep(connection, case_id, attempt, names)

    def abandon(self, store: Store, case_id: str, attempt: int) -> int:
        """Remove what an attempt staged, for a worker that lost its lease or failed; returns how many files went.

        What others use or have staged stays.
        """
        from tracescribe.runs.store.artefact_sweep import abandon

        return abandon(store, self.files, case_id, attempt)

    def read(self, sha256: str) -> bytes:
        """An artefact's bytes, checked.

        Raises:
            ArtefactDamagedError: they are not what the name promises; they are set aside and never served.
            ArtefactMissingError: it is not there.
        """
        try:
            return self.look(sha256)
        except ArtefactDamagedError as error:
            place = self.files.set_aside(sha256)
            raise ArtefactDamagedError(f"{error}; it is set aside at {place}") from error

    def look(self, sha256: str) -> bytes:
        """`read` that changes nothing: a damaged file stays where it is.

        Raises:
            ArtefactDamagedError: its bytes are not what the name promises.
            ArtefactMissingError: it is not there.
        """
        if not is_sha256(sha256):
            raise ArtefactMissingError(f"{sha256[:80]!r} is not the name of an artefact; give 64 hexadecimal digits")
        try:
            content = self.files.read(sha256)
        except OSError as error:
            raise ArtefactMissingError(
                f"artefact {sha256} in {self.location} cannot be read: {error.strerror or error}; look at its disk"
            ) from error
        if content is None:
            raise ArtefactMissingError(
                f"artefact {sha256} is not in {self.location}; run tracescribe store check, which names its cases"
            )
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArtefactDamagedError(
                f"artefact {sha256} in {self.location} holds other bytes than its name promises; run tracescribe store "
                "check, which names its cases"
            )
        return content

    def sweep(self, store: Store) -> int:
        """Remove files that dead workers left and nobody uses; returns how many."""
        from tracescribe.runs.store.artefact_sweep import sweep

        return sweep(store, self.files)

    def _write(self, sha256: str, content: bytes, worker_id: str) -> None:
        from tracescribe.runs.store.database_faults import of_os_error

        try:
            there = self.files.read(sha256)
            if there is not None and hashlib.sha256(there).hexdigest() == sha256:
                return
            if there is not None:
                _log.warning("artefact %s in %s was damaged and is written anew", sha256, self.location)
            self.files.write(sha256, content, worker_id)
        except OSError as error:
            raise of_os_error(error, f"the folder of artefacts {self.location}").error from error
