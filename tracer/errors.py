"""The error tree. Callers catch as widely or as narrowly as they like.

    TracescribeError
    ├── InputError                    the call was wrong (exit code 2)
    │   ├── UnknownModelError         no such model, or an architecture without an adapter
    │   ├── TranscoderMismatchError   the transcoder set does not fit the model
    │   ├── TranscoderFormatError     a transcoder folder that cannot be read
    │   ├── PromptError               empty, over-long, or with words outside the vocabulary
    │   ├── GraphFormatError          a graph file that is malformed, truncated or hostile
    │   ├── UnknownIdError            a node, feature, token, claim or case that does not exist
    │   ├── SettingError              a setting outside its allowed range
    │   └── GoldFormatError           a gold circuit that is malformed
    ├── HaltError                     the work must end here, and can go on later (exit code 1)
    └── WorkError                     the work failed (exit code 1)
        ├── AttributionError          the graph is not what linear algebra says it must be
        ├── InterventionError         an intervention could not be carried out
        ├── EvidenceError             no evidence, or evidence of another model or transcoder
        ├── OutputError               a result could not be written
        ├── BudgetExceededError       a metered act went past its limit
        ├── RegistrationError         a claim tested before it was registered, or changed after
        ├── ReportError               a report that breaks its own contract
        └── ProviderError             a language-model provider failed (see agents.providers)

Each message is one line: what is wrong, where, what was found against what was expected, and what to do.
"""

from __future__ import annotations


class TracescribeError(Exception):
    """Base of every error that this product raises on purpose.

    Attributes:
        exit_code: the process exit code that the command line gives for this error.
    """

    exit_code: int = 1


class InputError(TracescribeError):
    """The call was wrong: a file, an option or an identifier that cannot be used."""

    exit_code = 2


class UnknownModelError(InputError):
    """No such model, or an architecture for which no adapter exists."""


class TranscoderMismatchError(InputError):
    """The transcoder set does not fit the model (layers, width, hook points)."""


class TranscoderFormatError(InputError):
    """A transcoder folder that cannot be read as any supported format."""


class PromptError(InputError):
    """A prompt that is empty, over-long, or has words outside the vocabulary."""


class GraphFormatError(InputError):
    """A graph file that is malformed, truncated, hostile or enormous."""


class UnknownIdError(InputError):
    """A node, feature, token, claim or case that does not exist."""


class SettingError(InputError):
    """A setting outside its allowed range."""


class GoldFormatError(InputError):
    """A gold circuit that is malformed."""


class HaltError(TracescribeError):
    """The work must end here, and can go on later where it stopped.

    Not a `WorkError`: an agent's loop goes on without a step that failed, and what it would report then would be taken for
    a finding.
    """


class WorkError(TracescribeError):
    """The call was right, but the work failed."""


class AttributionError(WorkError):
    """The attribution graph breaks a law that it must obey (conservation, acyclicity, finiteness)."""


class InterventionError(WorkError):
    """An intervention could not be carried out."""


class EvidenceError(WorkError):
    """No evidence, or evidence that belongs to another model or transcoder set."""


class OutputError(WorkError):
    """A result could not be written."""


class BudgetExceededError(WorkError):
    """A metered act would go past its limit."""


class RegistrationError(WorkError):
    """A claim was tested before it was registered, or changed after registration."""


class ReportError(WorkError):
    """A report that breaks its own contract: an uncited sentence, an unknown id, an unregistered test."""


class ProviderError(WorkError):
    """A language-model provider failed; `agents.providers` holds the narrower kinds."""
