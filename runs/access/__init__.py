"""Who may do what where the product is served: roles, hashed tokens, and a log of who opened which report.

In: a token, or the person at this machine. Out: a `Principal`, or a refusal; a report's bytes once the audit log has who
opened it. May not happen here: nothing knows of HTTP, pages or frameworks; what the table does not allow is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracescribe.runs.access.errors import AccessDeniedError, TokenRefusedError
    from tracescribe.runs.access.reading import log_export, open_report, require, require_logged
    from tracescribe.runs.access.roles import ALLOWED, PERMISSIONS, Permission, Principal, Role, local_principal
    from tracescribe.runs.access.tokens import authenticate, create_token, revoke_token, rotate_token

__all__ = [
    "ALLOWED",
    "PERMISSIONS",
    "AccessDeniedError",
    "Permission",
    "Principal",
    "Role",
    "TokenRefusedError",
    "authenticate",
    "create_token",
    "local_principal",
    "log_export",
    "open_report",
    "require",
    "require_logged",
    "revoke_token",
    "rotate_token",
]

_HOME = {
    "ALLOWED": "roles",
    "PERMISSIONS": "roles",
    "AccessDeniedError": "errors",
    "Permission": "roles",
    "Principal": "roles",
    "Role": "roles",
    "TokenRefusedError": "errors",
    "authenticate": "tokens",
    "create_token": "tokens",
    "local_principal": "roles",
    "log_export": "reading",
    "open_report": "reading",
    "require": "reading",
    "require_logged": "reading",
    "revoke_token": "tokens",
    "rotate_token": "tokens",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"tracescribe.runs.access.{_HOME[name]}"), name)
