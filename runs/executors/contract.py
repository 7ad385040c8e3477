"""What workers and cases agree on: a lease, what is done with it, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tracescribe.runs.jobs.records import CaseFigures, FailureKind
from tracescribe.runs.store.artefacts import Artefact

if TYPE_CHECKING:
    from tracescribe.runs.jobs.specification import CaseSpecification, JobSpecification
    from tracescribe.runs.store.database import Store


@dataclass(frozen=True)
class CaseLease:
    """A case that one worker holds.

    Attributes:
        attempt: counts the leases of this case; only the holder of the last one may finish it.
        worker_id: who holds it.
        reserved_usd: most that may be spent on it; None for no limit.
    """

    job_id: str
    case_id: str
    attempt: int
    worker_id: str
    job: JobSpecification
    case: CaseSpecification
    reserved_usd: float | None = None


@dataclass(frozen=True)
class CaseFailed:
    """Why a case has no report."""

    kind: FailureKind
    message: str


@dataclass(frozen=True)
class CaseOutcome:
    """What came of a case: a failure, or artefacts and figures.

    Attributes:
        stop: why the whole job should stop, such as wrong weights or a provider that refuses the key; the case then
            goes back and waits.
        listing: what the index of reports tells of the report, by column; None where there is none.
    """

    artefacts: tuple[Artefact, ...] = ()
    figures: CaseFigures = field(default_factory=CaseFigures)
    failure: CaseFailed | None = None
    seconds: float = 0.0
    stop: str | None = None
    listing: Mapping[str, Any] | None = None


class CaseFunction(Protocol):
    """Carries out cases in a worker: a picklable object of an importable module. Models stay loaded between calls."""

    def __call__(self, lease: CaseLease, store: Store, still_ours: Callable[[], bool]) -> CaseOutcome:
        """Carry out one case.

        Args:
            store: for call log, derivations and audit; results are written by the worker, not here.
            still_ours: whether the lease still stands; ask before anything that costs money.

        Raises:
            LeaseLostError: it does not.
            StoreError: the store cannot be used; the worker decides what follows.
        """
        ...
