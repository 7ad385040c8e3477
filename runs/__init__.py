"""The room of people and machines: the command line, workspaces, the demo, and what a run needs to be trusted.

In: what a person types. Out: exit codes, one-line errors, tables, JSON, and files in a workspace that the person names.
Here lives no method: tracing, interpreting and scoring belong to the rooms below, which know nothing of this one.
Nothing heavy is imported before a command needs it, so that `tracescribe --help` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracescribe.runs.cli import app, main
    from tracescribe.runs.doctor import Finding, examine
    from tracescribe.runs.workspace import prepare_file, prepare_folder

__all__ = ["Finding", "app", "examine", "main", "prepare_file", "prepare_folder"]

_HOME = {
    "Finding": "doctor",
    "app": "cli",
    "examine": "doctor",
    "main": "cli",
    "prepare_file": "workspace",
    "prepare_folder": "workspace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"tracescribe.runs.{_HOME[name]}"), name)
