"""What can be wrong with a run that is kept on disk.

InputError
├── RunLockedError      another process works in the folder
└── RunMismatchError    the folder holds an unfinished run of something else
WorkError
└── RunDamagedError     a file of the run cannot be read as what it should be
HaltError
└── RunUnwritableError  what must be on the disk before the next act cannot be written
"""

from __future__ import annotations

from tracescribe.tracer.errors import HaltError, InputError, WorkError


class RunLockedError(InputError):
    """Another process works in the run's folder."""


class RunMismatchError(InputError):
    """The folder holds an unfinished run of another case, agent, seed, budget or version."""


class RunDamagedError(WorkError):
    """A file of the run is damaged or was changed."""


class RunUnwritableError(HaltError):
    """What must be on the disk before the next act cannot be written there: the run ends, and can go on later."""
