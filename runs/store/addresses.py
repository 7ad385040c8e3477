"""Where a store is: a folder or a database's URL, read from what people write, and shown without its password."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tracescribe.runs.store.errors import StoreAddressError
from tracescribe.runs.workspace import DEFAULT_WORKSPACE

DEFAULT_STORE = DEFAULT_WORKSPACE / "store"
"""Folder of the store when nobody names one: `store.db`, `artefacts/` and `scratch/`."""
STORE_VARIABLE = "TRACESCRIBE_STORE"
ARTEFACTS_VARIABLE = "TRACESCRIBE_ARTEFACTS"
DATABASE_FILE = "store.db"
_POSTGRESQL = "postgresql+psycopg"
_POSTGRESQL_SCHEMES = ("postgresql", "postgres", _POSTGRESQL)
_SECRET_PARAMETERS = ("password", "sslpassword", "passfile")


@dataclass(frozen=True, repr=False)
class StoreAddress:
    """Where a store is; picklable, so that every worker opens it for itself.

    Attributes:
        url: SQLAlchemy URL (`sqlite:////...`, `postgresql+psycopg://...`); may hold a password: show `shown`.
        artefacts: folder or fsspec URL of artefacts; None takes what the store was made with.
        scratch: folder on this machine for cases that are being worked on.
        patience: seconds that a transaction waits for a busy or absent database before it gives up.
    """

    url: str
    artefacts: str | None = None
    scratch: Path | None = None
    patience: float = 60.0

    @property
    def database_file(self) -> Path | None:
        """The file of a SQLite store; None for a server."""
        return Path(self.url.removeprefix("sqlite:///")) if self.url.startswith("sqlite:") else None

    @property
    def shown(self) -> str:
        """The address for people, without a password."""
        file = self.database_file
        if file is not None:
            return str(file)
        return without_password(self.url)

    def __repr__(self) -> str:
        return f"StoreAddress({self.shown!r}, artefacts={self.artefacts!r}, scratch={self.scratch!r})"


def without_password(url: str) -> str:
    """A URL as it may be shown: its password, wherever it stands, is `***`."""
    parts = urlsplit(url)
    place = parts.netloc
    if "@" in place:
        user, _, host = place.rpartition("@")
        name, colon, _ = user.partition(":")
        place = f"{name}{':***' if colon else ''}@{host}"
    query = urlencode(
        [(key, "***" if key.lower() in _SECRET_PARAMETERS else value) for key, value in parse_qsl(parts.query)],
        safe="*/",
    )
    return urlunsplit((parts.scheme, place, parts.path, query, ""))


def parse_address(store: str | None, *, artefacts: str | None = None) -> StoreAddress:
    """An address from `--store`, the environment's `TRACESCRIBE_STORE`, or the default in the workspace.

    Args:
        store: a folder, a SQLAlchemy URL, or None.
        artefacts: folder or fsspec URL of artefacts; None takes the environment's `TRACESCRIBE_ARTEFACTS`, else the
            place that the store was made with.

    Raises:
        StoreAddressError: it cannot be used.
    """
    text = store if store is not None else os.environ.get(STORE_VARIABLE) or str(DEFAULT_STORE)
    place = artefacts if artefacts is not None else os.environ.get(ARTEFACTS_VARIABLE) or None
    if not text.strip() or "\0" in text:
        raise StoreAddressError("the store's address is empty; give a folder or the URL of a database")
    if place is not None and "://" not in place:
        place = str(Path(place).expanduser().absolute())
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in _POSTGRESQL_SCHEMES:
        return StoreAddress(_postgresql(text), place, DEFAULT_STORE.absolute() / "scratch")
    if scheme == "sqlite":
        name = text.partition("://")[2]
        if not name.startswith("/") or name.strip("/") in ("", ":memory:") or "?" in name:
            raise StoreAddressError(
                f"the store {text!r} names no file; write sqlite:///store.db, or sqlite:////folder/store.db from the root"
            )
        file = Path(name[1:]).expanduser().absolute()
    elif scheme:
        raise StoreAddressError(
            f"a store cannot be at {without_password(text)!r}; give a folder, sqlite:///file.db or "
            "postgresql://user@host/database"
        )
    else:
        folder = Path(text).expanduser().absolute()
        if folder.is_file():
            raise StoreAddressError(f"the store {folder} is a file; give its folder, or sqlite:///{folder}")
        file = folder / DATABASE_FILE
    return StoreAddress(f"sqlite:///{file}", place, file.parent / "scratch")


def _postgresql(text: str) -> str:
    rest = text.partition("://")[2]
    try:
        parts = urlsplit(f"postgresql://{rest}")
        _ = parts.port
    except ValueError as error:
        raise StoreAddressError(  # not shown: it may hold a password, and nobody can tell where
            "the store's address cannot be read; write postgresql://user@host:port/database"
        ) from error
    if not parts.path.strip("/"):
        raise StoreAddressError(
            f"the store {without_password(text)!r} names no database; write postgresql://user@host/database"
        )
    return f"{_POSTGRESQL}://{rest}"
