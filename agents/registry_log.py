"""Lines of the registry's log on disk: each entry with the whole thing that it fixes, so that a run can go on from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from tracescribe.agents.budget import MeterSnapshot
from tracescribe.agents.claims import Claim, Frozen, claim_sha256
from tracescribe.agents.findings import ExperimentPlan, Measurement, Supernode, supernode_sha256
from tracescribe.agents.registration import FIRST_PREVIOUS, Registration
from tracescribe.tracer.provenance import sha256_json


class Spent(Frozen):
    """What a run had spent when an experiment was measured: a run that takes the measurement from the log pays as much.

    Attributes:
        meter: everything counted; of `billed` only what came since the line before that has a `Spent`.
        charged: prompts whose run or trace was charged since that line, by key.
    """

    meter: MeterSnapshot
    charged: tuple[str, ...] = ()


class LogLine(Frozen):
    """One line: the entry, and exactly one of supernode, claim, plan, measurement and hash of the report.

    Attributes:
        report_sha256: beside `reported`; the report itself is in the run's state, and then in its file.
        spent: beside a measurement.
    """

    entry: Registration
    supernode: Supernode | None = None
    claim: Claim | None = None
    plan: ExperimentPlan | None = None
    measurement: Measurement | None = None
    report_sha256: str | None = None
    spent: Spent | None = None

    def body_sha256(self) -> tuple[str, str] | None:
        """The event that this line's content belongs to, and the content's hash; None without exactly one content."""
        found: list[tuple[str, str]] = []
        if self.supernode is not None:
            found.append(("defined", supernode_sha256(self.supernode)))
        if self.claim is not None:
            found.append(("registered", claim_sha256(self.claim)))
        if self.plan is not None:
            found.append(("planned", plan_sha256(self.plan)))
        if self.measurement is not None:
            found.append(("measured", measurement_sha256(self.measurement)))
        if self.report_sha256 is not None:
            found.append(("reported", self.report_sha256))
        return found[0] if len(found) == 1 else None


class RegistryLog(Protocol):
    """Where a registry's lines are kept."""

    def append(self, line: LogLine, *, lasting: bool) -> None:
        """Write one line; with `lasting` it is on the disk when this returns, with all lines before it.

        Raises:
            RunUnwritableError: it cannot be written; then what it announces must not be done.
        """
        ...

    def sync(self) -> None:
        """Have every line so far on the disk when this returns.

        Raises:
            RunUnwritableError: they cannot be written.
        """
        ...


class RegistryListener(Protocol):
    """Hears of what is registered before it is tested, so that somebody beside the run itself can vouch for it."""

    def __call__(self, lines: Sequence[LogLine]) -> None:
        """Take note of lines, in their order; what they announce is not done before this returns.

        A process that goes on with a run tells all lines of the log once more: those that are known must be passed over.

        Raises:
            WorkError: they cannot be noted; then what they announce is not done.
        """
        ...


class RegistryMark(Frozen):
    """How far a registry had come.

    Attributes:
        length: entries.
        chain: chain hash of the last one; 64 zeros where there is none.
    """

    length: int = Field(default=0, ge=0)
    chain: str = FIRST_PREVIOUS


def plan_sha256(plan: ExperimentPlan) -> str:
    """Content hash of a plan."""
    return sha256_json(plan.model_dump(mode="json"))


def measurement_sha256(measurement: Measurement) -> str:
    """Content hash of a measurement."""
    return sha256_json(measurement.model_dump(mode="json"))
