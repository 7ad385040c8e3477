"""What can go wrong with the audit log.

WorkError
├── AuditError                  the log cannot be written, signed or anchored
│   └── AuditTamperedError      the log is not what was signed or anchored before
InputError
└── AuditInputError             a key, an anchor or an exported log that cannot be used
"""

from __future__ import annotations

from tracescribe.tracer.errors import InputError, WorkError


class AuditError(WorkError):
    """The log cannot be written, signed or anchored."""


class AuditTamperedError(AuditError):
    """The log is not what was signed or anchored before."""


class AuditInputError(InputError):
    """A key, an anchor or an exported log that cannot be used."""
