"""`tracescribe doctor`: what is installed, what is missing, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json
from tracescribe.runs.workspace import DEFAULT_WORKSPACE


def doctor(
    workspace: Annotated[Path, typer.Option(help="The folder that results would go to.")] = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Examine the installation: versions, embedded files, keys, workspace; say what is missing and what to do.

    Exit code 1 when something is broken. Keys are only reported as present or absent.
    """
    from tracescribe.runs.doctor import examine, healthy
    from tracescribe.runs.doctor_view import show_findings

    findings = examine(workspace)
    show_findings(findings, as_json)
    if not healthy(findings):
        raise typer.Exit(1)
