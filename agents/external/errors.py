"""How an agent from outside loses its case."""

from __future__ import annotations

from typing import Literal

from tracescribe.tracer.errors import TracescribeError

FailureKind = Literal["crash", "timeout", "flood", "bad answer", "dishonest cost"]
"""What went wrong: it died, it gave no answer in time, it wrote without end, its answer is not of the schema, or it told a
cost that cannot be."""


class ExternalAgentError(TracescribeError):
    """An agent from outside gave no answer that can be used.

    Not a `WorkError`: the loop goes on without a step that failed, and a report without any of the agent's thinking would be
    scored as if it were the agent's.

    Attributes:
        failure_kind: what went wrong.
    """

    def __init__(self, failure_kind: FailureKind, message: str) -> None:
        super().__init__(f"{failure_kind}: {message}")
        self.failure_kind: FailureKind = failure_kind

    def __reduce__(self) -> tuple[type[ExternalAgentError], tuple[str, str]]:
        """So that it passes between our own processes."""
        return type(self), (self.failure_kind, str(self).removeprefix(f"{self.failure_kind}: "))
