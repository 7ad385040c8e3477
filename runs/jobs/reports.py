"""What people read about a job's file: that it is in order, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from tracescribe.runs.jobs.estimating import JobEstimate
    from tracescribe.runs.jobs.expanding import PlannedJob
    from tracescribe.runs.jobs.faults import SpecificationError


def validate_job(path: Path, settings: Sequence[str], *, deep: bool, skip_bad: bool) -> PlannedJob:
    """Read and check a job's file.

    Raises:
        SpecificationError: something is wrong with it; all faults at once.
        InputError: it cannot be read.
    """
    from tracescribe.runs.jobs.expanding import plan_job
    from tracescribe.runs.jobs.reading import read_job

    job = read_job(path, settings)
    with terminal.progress_bars() as bars:
        stage = terminal.StageBars(bars)
        return plan_job(job, skip_bad=skip_bad, deep=deep, progress=lambda done, n: stage("graphs", done, n, ""))


def show_faults(error: SpecificationError, path: Path, as_json: bool) -> None:
    """Print every fault on a line of its own."""
    if as_json:
        terminal.print_json({"file": str(path), "valid": False, "faults": [f.to_json() for f in error.faults]})
        return
    for fault in error.faults:
        terminal.print_error(str(fault))


def show_plan(plan: PlannedJob, path: Path, as_json: bool) -> None:
    """Print what a job would do."""
    job = plan.specification
    if as_json:
        told = {
            "file": str(path),
            "valid": True,
            "faults": [],
            "name": job.name,
            "cases": plan.n_cases,
            "prompts": len(plan.sources),
            "seeds": list(job.seeds),
            "agent": plan.agent.name,
            "notes": plan.notes,
        }
        terminal.print_json(told)
        return
    show_notes(plan)
    seeds = "" if len(job.seeds) == 1 else f" ({len(plan.sources)} prompts or graphs, {len(job.seeds)} seeds)"
    line = f"{path}: in order; {plan.n_cases} cases{seeds} for {plan.agent.name} on {job.weights.model}"
    terminal.stdout().print(terminal.styled(line), soft_wrap=True)


def confirm_cost(plan: PlannedJob, estimate: JobEstimate, *, yes: bool) -> None:
    """Show what a job may cost, and ask whether it shall be submitted where it may cost anything.

    Raises:
        InputError: nobody is there to be asked.
        WorkError: the answer was no.
    """
    import sys

    import typer

    from tracescribe.runs.jobs.agent_options import may_cost
    from tracescribe.runs.jobs.estimating import sentences
    from tracescribe.tracer.errors import InputError, WorkError

    console = terminal.stderr()
    for line in sentences(estimate):
        console.print(terminal.styled(f"  {line}"), soft_wrap=True)
    if yes or not may_cost(plan.agent):
        return
    if not (sys.stdin.isatty() and console.is_terminal):
        raise InputError(f"agent {plan.agent.name} may cost money and nobody is here to be asked; give --yes to go on")
    if not typer.confirm("Submit?", err=True):
        raise WorkError("not submitted; nothing was stored")


def show_notes(plan: PlannedJob) -> None:
    """Tell what people should know about a job, on stderr."""
    for note in plan.notes:
        terminal.stderr().print(terminal.styled(f"  {note}"), soft_wrap=True)


def print_schema() -> None:
    """Print the JSON Schema of job files."""
    from tracescribe.runs.jobs.schema import job_schema

    terminal.print_json(job_schema())
