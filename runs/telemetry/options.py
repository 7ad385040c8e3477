"""The options of commands that work on a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TelemetryOption = Annotated[
    str | None,
    typer.Option(
        "--telemetry",
        metavar="off|console|otlp",
        help="Where traces and metrics go, secrets and personal data cut out; see docs/telemetry.md. Default: off.",
        envvar="TRACESCRIBE_TELEMETRY",
        show_envvar=False,
    ),
]
LogFileOption = Annotated[
    Path | None,
    typer.Option(
        "--log-file", metavar="FILE", help="Also log what is done, as lines of JSON; workers write to the same file."
    ),
]
LogLevelOption = Annotated[
    str | None,
    typer.Option("--log-level", metavar="LEVEL", help="Least level of the log file: debug, info, warning or error."),
]
