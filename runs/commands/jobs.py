"""`tracescribe jobs`: many interpretations as one job, that goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracescribe.runs.commands.jobs_show import StorePlace, register_looking
from tracescribe.runs.commands.options import Json, finite
from tracescribe.runs.commands.plain_command import PlainGroup
from tracescribe.runs.telemetry.options import LogFileOption, LogLevelOption, TelemetryOption

if TYPE_CHECKING:
    from tracescribe.runs.jobs.running import JobEnd

jobs = typer.Typer(cls=PlainGroup, help="Batch jobs: check, submit, run, watch, resume, export.", no_args_is_help=True)

JobFile = Annotated[Path, typer.Argument(metavar="FILE", help="The job: a YAML or JSON file; see docs/batch.md.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Replace a field of the file: --set agent.spec=offline. May be repeated."
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out prompts and graphs that cannot be used, and say which.")
]
Once = Annotated[bool, typer.Option("--once", help="Take the job that is there where the same was submitted before.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Submit a job that may cost money without asking.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=4096, help="Workers at a time, instead of the job's own number.")
]


@jobs.command("init")
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path("job.yaml"),
    as_json: Json = False,
) -> None:
    """Write a job's file to begin with, every part of it explained."""
    from tracescribe.runs import terminal
    from tracescribe.runs.jobs.example import write_example

    path = write_example(file)
    if as_json:
        terminal.print_json({"file": str(path)})
    else:
        terminal.stdout().print(
            terminal.styled(f"{path}: change it, then 'tracescribe jobs run {file}'"), soft_wrap=True
        )


@jobs.command("validate")
def validate(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The job: a YAML or JSON file.")] = None,
    settings: Settings = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also read every graph, as submitting does.")] = False,
    skip_bad: SkipBad = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of job files, and do nothing else.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a job's file and everything that it names, and store nothing; exit code 2 where something is wrong."""
    from tracescribe.runs.jobs.faults import SpecificationError
    from tracescribe.runs.jobs.reports import print_schema, show_faults, show_plan, validate_job

    if schema:
        print_schema()
        return
    if file is None:
        raise typer.BadParameter("name the job's file, or ask for --schema", param_hint="FILE")
    try:
        plan = validate_job(file, settings or (), deep=deep, skip_bad=skip_bad)
    except SpecificationError as error:
        show_faults(error, file, as_json)
        raise typer.Exit(2) from None
    show_plan(plan, file, as_json)


@jobs.command("submit")
def submit(
    file: JobFile,
    settings: Settings = None,
    once: Once = False,
    skip_bad: SkipBad = False,
    yes: Yes = False,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Check a job, estimate what it costs, and put it into the store; 'tracescribe jobs resume' then works on it."""
    from tracescribe.runs import terminal
    from tracescribe.runs.jobs.handing_in import JobCall, hand_in

    done = hand_in(JobCall(file, tuple(settings or ()), store, once=once, skip_bad=skip_bad, yes=yes))
    if as_json:
        terminal.print_json(done.to_json())
        return
    told = "is submitted" if done.new else "is there already"
    console = terminal.stdout()
    console.print(f"job {done.job_id} {told}: {done.n_cases:,} cases", soft_wrap=True)
    console.print(
        f"  'tracescribe jobs resume {done.job_id}' works on it, on any machine that reaches the store", soft_wrap=True
    )


@jobs.command("run")
def run(
    file: JobFile,
    settings: Settings = None,
    once: Once = False,
    skip_bad: SkipBad = False,
    workers: Workers = None,
    yes: Yes = False,
    store: StorePlace = None,
    telemetry: TelemetryOption = None,
    log_file: LogFileOption = None,
    log_level: LogLevelOption = None,
    as_json: Json = False,
) -> None:
    """Submit a job and work on it until it is over.

    Exit code 0 where every case is done, 1 where some failed or the job stopped. However it ends, 'tracescribe jobs
    resume' goes on with it.
    """
    from tracescribe.runs.jobs.handing_in import JobCall, hand_in
    from tracescribe.runs.jobs.running import end_of, run_job
    from tracescribe.runs.telemetry.settings import ObservabilitySettings

    observed = ObservabilitySettings.of(telemetry, log_file, log_level)
    call = JobCall(
        file, tuple(settings or ()), store, once=once, skip_bad=skip_bad, yes=yes, here=True, workers=workers
    )
    done = hand_in(call)
    resumed = done.resumed
    if resumed is not None and resumed.status == "done":
        _end(end_of(done.address, done.job_id, resumed.specification), as_json)
    else:
        _end(run_job(done.address, done.job_id, done.specification, workers=workers, observed=observed), as_json)


@jobs.command("resume")
def resume(
    job: Annotated[
        str, typer.Argument(help="A job's id, a beginning of it that no other job has, or 'last'.")
    ] = "last",
    max_usd: Annotated[
        float | None,
        typer.Option("--max-usd", min=0, callback=finite, help="New limit of what the whole job may cost, in USD."),
    ] = None,
    workers: Workers = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Taken as everywhere; resuming asks nothing.")] = False,
    store: StorePlace = None,
    telemetry: TelemetryOption = None,
    log_file: LogFileOption = None,
    log_level: LogLevelOption = None,
    as_json: Json = False,
) -> None:
    """Go on with a job that was submitted, stopped or killed, or help with one that others work on.

    Finished cases stay, recorded answers of language models are used again, and a case that was cut off goes on where
    it was, as far as this machine has it.
    """
    from tracescribe.runs.jobs.handing_in import find_and_resume
    from tracescribe.runs.jobs.running import end_of, run_job
    from tracescribe.runs.telemetry.settings import ObservabilitySettings

    observed = ObservabilitySettings.of(telemetry, log_file, log_level)
    address, resumed = find_and_resume(job, store, max_usd)
    if resumed.status == "done":
        _end(end_of(address, resumed.job_id, resumed.specification), as_json)
    else:
        _end(run_job(address, resumed.job_id, resumed.specification, workers=workers, observed=observed), as_json)


def _end(end: JobEnd, as_json: bool) -> None:
    from tracescribe.runs.jobs.running import show_end

    show_end(end, as_json)
    if not end.complete:
        raise typer.Exit(1)


register_looking(jobs)
