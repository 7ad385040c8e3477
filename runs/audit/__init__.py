"""The audit log: append-only, hash-chained, its heads signed; and how tampering with it is found and located.

In: acts, each within the database transaction of the act itself. Out: entries that cannot be changed, dropped, moved or
slipped in unseen. May not happen here: nothing is decided by what the log says, and nothing in it is ever rewritten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracescribe.runs.audit.acts import ACTS, Act
    from tracescribe.runs.audit.claim_witness import ClaimWitness
    from tracescribe.runs.audit.errors import AuditError, AuditTamperedError
    from tracescribe.runs.audit.log import append, append_many, local_actor
    from tracescribe.runs.audit.sealing import seal

__all__ = [
    "ACTS",
    "Act",
    "AuditError",
    "AuditTamperedError",
    "ClaimWitness",
    "append",
    "append_many",
    "local_actor",
    "seal",
]

_HOME = {
    "ACTS": "acts",
    "Act": "acts",
    "AuditError": "errors",
    "AuditTamperedError": "errors",
    "ClaimWitness": "claim_witness",
    "append": "log",
    "append_many": "log",
    "local_actor": "log",
    "seal": "sealing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"tracescribe.runs.audit.{_HOME[name]}"), name)
