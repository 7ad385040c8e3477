"""Files of artefacts: a folder, written so that a kill leaves no part of one, or an object store behind a URL."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from tracescribe.runs.store.errors import StoreAddressError, StoreError, StoreUnreachableError

_SHA256 = re.compile("[0-9a-f]{64}")
_INCOMING = "incoming"
_DAMAGED = "damaged"


def is_sha256(name: str) -> bool:
    """Whether a name is that of an artefact; anything else is never made part of a path."""
    return _SHA256.fullmatch(name) is not None


class ArtefactFiles(Protocol):
    """Bytes by SHA-256. What the bytes are is checked by the caller."""

    def read(self, sha256: str) -> bytes | None:
        """The bytes, or None where there are none."""
        ...

    def write(self, sha256: str, content: bytes, worker_id: str) -> None:
        """Write all or nothing; what was there is replaced. What a kill leaves is known by the worker's id."""
        ...

    def remove(self, sha256: str) -> bool:
        """Remove the bytes; whether there were any."""
        ...

    def set_aside(self, sha256: str) -> str:
        """Move damaged bytes to where nobody reads them; returns the new place, for people."""
        ...

    def names(self) -> Iterator[tuple[str, int]]:
        """SHA-256 and size of everything that is there."""
        ...

    def unfinished(self) -> Iterator[tuple[str, str]]:
        """Name and worker's id of every file that was begun and not finished."""
        ...

    def remove_unfinished(self, name: str) -> None:
        """Remove one of `unfinished`."""
        ...


def files_at(location: str) -> ArtefactFiles:
    """The files at a folder or fsspec URL.

    Raises:
        StoreAddressError: there is no such kind of place.
    """
    if location.startswith("file://"):
        return FolderFiles(Path(location.removeprefix("file://")))
    if "://" in location:
        return RemoteFiles(location)
    return FolderFiles(Path(location))


class FolderFiles:
    """Artefacts in a folder: `ab/cd...`, and `incoming/` for files that are being written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"FolderFiles({str(self.folder)!r})"

    def read(self, sha256: str) -> bytes | None:
        try:
            return self._path(sha256).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, sha256: str, content: bytes, worker_id: str) -> None:
        target = self._path(sha256)
        incoming = self.folder / _INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        temporary = incoming / f"{secrets.token_hex(8)}.{_file_name(worker_id)}"
        try:
            with temporary.open("xb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.chmod(0o644)
            while True:
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.replace(temporary, target)
                    break
                except FileNotFoundError:  # a sweep removed the empty folder just now
                    if not temporary.exists():
                        raise
            _flush_folder(target.parent)
        finally:
            with suppress(OSError):  # it took its place
                temporary.unlink()

    def remove(self, sha256: str) -> bool:
        try:
            self._path(sha256).unlink()
        except FileNotFoundError:
            return False
        return True

    def set_aside(self, sha256: str) -> str:
        folder = self.folder / _DAMAGED
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{sha256}.{secrets.token_hex(4)}"
        path = self._path(sha256)
        with suppress(FileNotFoundError):  # another reader was quicker
            os.replace(path, place)
            if hashlib.sha256(place.read_bytes()).hexdigest() == sha256:  # written anew since it was read
                os.replace(place, path)
        return str(place)

    def names(self) -> Iterator[tuple[str, int]]:
        if not self.folder.is_dir():
            return
        for group in sorted(os.scandir(self.folder), key=lambda entry: entry.name):
            if len(group.name) != 2 or not group.is_dir(follow_symlinks=False):
                continue
            for entry in os.scandir(group.path):
                name = group.name + entry.name
                if is_sha256(name):
                    with suppress(FileNotFoundError):
                        yield name, entry.stat(follow_symlinks=False).st_size

    def unfinished(self) -> Iterator[tuple[str, str]]:
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.folder / _INCOMING):
                yield entry.name, entry.name.partition(".")[2]

    def remove_unfinished(self, name: str) -> None:
        with suppress(FileNotFoundError):
            (self.folder / _INCOMING / Path(name).name).unlink()

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256[2:]


class RemoteFiles:
    """Artefacts behind an fsspec URL; an object store shows an object when all of it has arrived."""

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            self._files, path = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise StoreAddressError(
                f"artefacts cannot be kept at {url.partition('://')[0]}://...: {error}; give a folder, or the URL of a "
                "place whose fsspec driver is installed"
            ) from error
        self._root = str(path).rstrip("/")

    def read(self, sha256: str) -> bytes | None:
        try:
            return bytes(self._call("cat_file", self._path(sha256)))
        except FileNotFoundError:
            return None

    def write(self, sha256: str, content: bytes, worker_id: str) -> None:
        self._call("makedirs", self._path(sha256).rpartition("/")[0], exist_ok=True)
        self._call("pipe_file", self._path(sha256), content)

    def remove(self, sha256: str) -> bool:
        try:
            self._call("rm_file", self._path(sha256))
        except FileNotFoundError:
            return False
        return True

    def set_aside(self, sha256: str) -> str:
        place = f"{self._root}/{_DAMAGED}/{sha256}.{secrets.token_hex(4)}"
        self._call("makedirs", f"{self._root}/{_DAMAGED}", exist_ok=True)
        with suppress(FileNotFoundError):
            self._call("mv", self._path(sha256), place)
        return place

    def names(self) -> Iterator[tuple[str, int]]:
        try:
            found: dict[str, dict[str, Any]] = self._call("find", self._root, detail=True)
        except FileNotFoundError:
            return
        for path, entry in sorted(found.items()):
            name = "".join(path.split("/")[-2:])
            if is_sha256(name):
                yield name, int(entry.get("size") or 0)

    def unfinished(self) -> Iterator[tuple[str, str]]:
        return iter(())

    def remove_unfinished(self, name: str) -> None:
        """Nothing: an object store shows no unfinished objects."""

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256[2:]}"

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        try:
            return getattr(self._files, method)(*arguments, **named)
        except (OSError, StoreError):
            raise
        except Exception as error:  # each driver has errors of its own
            raise StoreUnreachableError(
                f"artefacts cannot be reached: {type(error).__name__}; look at their address and credentials"
            ) from error


def _file_name(worker_id: str) -> str:
    return re.sub("[^A-Za-z0-9_-]", "_", worker_id)[:80]


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
