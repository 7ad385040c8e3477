"""What can go wrong with the store.

HaltError
└── StoreError                  the store cannot be used now
    ├── StoreBusyError          locked by others for longer than we waited
    ├── StoreUnreachableError   no server, or no answer for longer than we waited
    ├── StoreFullError          the disk is full
    ├── StoreReadOnlyError      it cannot be written to
    ├── StoreDamagedError       it holds what it cannot hold: a torn database, an impossible row
    ├── StoreVersionError       made by a newer version, or its migration failed
    ├── ArtefactDamagedError    an artefact's bytes are not those that its name promises
    ├── ArtefactMissingError    an artefact is not there
    └── LeaseLostError          the case belongs to somebody else by now; what was done for it does not count
InputError
└── StoreAddressError           no such store, or an address that cannot be used
"""

from __future__ import annotations

from tracescribe.tracer.errors import HaltError, InputError


class StoreError(HaltError):
    """The store cannot be used now."""


class StoreBusyError(StoreError):
    """Locked by others for longer than we waited."""


class StoreUnreachableError(StoreError):
    """No server, or no answer for longer than we waited."""


class StoreFullError(StoreError):
    """The disk is full."""


class StoreReadOnlyError(StoreError):
    """The store cannot be written to."""


class StoreDamagedError(StoreError):
    """The store holds what it cannot hold."""


class StoreVersionError(StoreError):
    """The store was made by a newer version, or cannot be brought to this one."""


class ArtefactDamagedError(StoreError):
    """An artefact's bytes are not those that its name promises."""


class ArtefactMissingError(StoreError):
    """An artefact is not there."""


class LeaseLostError(StoreError):
    """The case belongs to somebody else by now; what was done for it does not count."""


class StoreAddressError(InputError):
    """No such store, or an address that cannot be used."""
