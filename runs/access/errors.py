"""What can go wrong with access.

WorkError
├── AccessDeniedError           the role does not allow it
└── TokenRefusedError           no such token, or one that is revoked or expired
"""

from __future__ import annotations

from tracescribe.tracer.errors import WorkError


class AccessDeniedError(WorkError):
    """The role does not allow it."""


class TokenRefusedError(WorkError):
    """No such token, or one that is revoked or expired. All are told in the same words: they help nobody to guess."""
