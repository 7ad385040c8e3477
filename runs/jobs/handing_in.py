"""From a call of `jobs submit`, `run` or `resume` to a job in the store that may be worked on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs.jobs.faults import SpecificationError
from tracescribe.runs.store.database import open_store, parse_address
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.runs.jobs.estimating import JobEstimate
    from tracescribe.runs.jobs.expanding import PlannedJob
    from tracescribe.runs.jobs.resuming import Resumed
    from tracescribe.runs.jobs.specification import JobSpecification
    from tracescribe.runs.store.database import StoreAddress


@dataclass(frozen=True)
class JobCall:
    """A job that is to be submitted.

    Attributes:
        file: of the job.
        settings: fields that are replaced.
        store: as `--store` gives it.
        once: take the same job where it is there.
        skip_bad: leave out what cannot be used.
        yes: do not ask what it may cost.
        here: this machine will work on it, so that keys must be here.
        workers: that will work on it, where the call says so.
    """

    file: Path
    settings: tuple[str, ...]
    store: str | None
    once: bool = False
    skip_bad: bool = False
    yes: bool = False
    here: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class HandedIn:
    """A job that is in the store.

    Attributes:
        new: False where it was there already.
        resumed: how one that was there already stands, opened again; None for a new one.
    """

    address: StoreAddress
    job_id: str
    n_cases: int
    specification: JobSpecification
    estimate: JobEstimate
    notes: tuple[str, ...]
    new: bool = True
    resumed: Resumed | None = None

    def to_json(self) -> dict[str, Any]:
        """What was submitted as plain JSON values."""
        return {
            "job": self.job_id,
            "new": self.new,
            "cases": self.n_cases,
            "name": self.specification.name,
            "store": self.address.shown,
            "estimate": self.estimate.to_json(),
            "notes": list(self.notes),
        }


def hand_in(call: JobCall) -> HandedIn:
    """Check a job, estimate and confirm what it costs, and submit it.

    Raises:
        SpecificationError: something is wrong with its file; each fault has been told on a line of its own.
        InputError: it may cost money and nobody is there to be asked; or its key is not here.
        WorkError: the answer was no.
        StoreError: the store cannot be used.
    """
    from tracescribe.runs.jobs.estimating import estimate_job
    from tracescribe.runs.jobs.reports import confirm_cost, show_notes
    from tracescribe.runs.jobs.resuming import resume_job
    from tracescribe.runs.jobs.submitting import submit_job
    from tracescribe.tracer.redaction import redacting

    address = parse_address(call.store)
    plan = _checked(call)
    show_notes(plan)
    if call.here and plan.specification.executor.kind == "local":
        _require_key(plan)
    store = open_store(address, create=True)
    try:
        with redacting(plan.redactor):
            estimate = estimate_job(plan, store, samples=not call.yes, workers=call.workers)
            confirm_cost(plan, estimate, yes=call.yes)
            done = submit_job(store, plan, once=call.once)
            resumed = resume_job(store, done.job_id) if call.here and not done.new else None
    finally:
        store.close()
    notes = tuple(plan.notes)
    return HandedIn(address, done.job_id, done.n_cases, plan.specification, estimate, notes, done.new, resumed)


def find_and_resume(job: str, place: str | None, max_usd: float | None) -> tuple[StoreAddress, Resumed]:
    """A job by its id, a beginning of it or `last`, opened for workers.

    Raises:
        UnknownIdError: there is no such job.
        SettingError: it cannot go on, or not with that limit.
        StoreError: the store cannot be used.
    """
    from tracescribe.runs.jobs.lookup import find_job, open_reader
    from tracescribe.runs.jobs.resuming import resume_job

    address = parse_address(place)
    with open_reader(address) as reader:
        job_id = find_job(reader, job)
    store = open_store(address)
    try:
        return address, resume_job(store, job_id, max_usd=max_usd)
    finally:
        store.close()


def _checked(call: JobCall) -> PlannedJob:
    from tracescribe.runs.jobs.reports import show_faults, validate_job

    try:
        return validate_job(call.file, call.settings, deep=True, skip_bad=call.skip_bad)
    except SpecificationError as error:
        if len(error.faults) == 1:
            raise
        show_faults(error, call.file, as_json=False)
        raise InputError(f"{call.file}: {len(error.faults)} faults, told above; nothing was stored") from None


def _require_key(plan: PlannedJob) -> None:
    """Find out whether key and address of the language model are here, before a job is stored that needs them."""
    from tracescribe.runs.agent_choice import prepare_agent
    from tracescribe.runs.jobs.agent_options import choice_of

    job = plan.specification
    prepare_agent(choice_of(job.agent, job.seeds[0]), max_usd=job.budget.case.usd)
