"""The application with the one command that a line calls: a quick command need not wait until all the others are built."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import typer
from typer.main import get_command_name
from typer.models import CommandInfo, TyperInfo

__all__ = ["only_called"]


def only_called(app: typer.Typer, arguments: Sequence[str]) -> typer.Typer:
    """Leave out every command but the one that is called.

    Typer reads the options of all commands at each start, which takes as long as everything else that a quick command
    does. What people see is the same: whoever asks for help on a group, or names no command that there is, gets all.

    Args:
        app: the application, or a group of it; it is not changed.
        arguments: of the command line, after the name of the application or group.
    """
    if not arguments:
        return app
    called = arguments[0]
    commands = [info for info in app.registered_commands if _name(info) == called]
    groups = [_narrowed(info, arguments[1:]) for info in app.registered_groups if info.name == called]
    if not commands and not groups:
        return app
    narrowed = copy(app)
    narrowed.registered_commands, narrowed.registered_groups = commands, groups
    return narrowed


def _name(info: CommandInfo) -> str | None:
    return info.name or (get_command_name(info.callback.__name__) if info.callback else None)


def _narrowed(info: TyperInfo, arguments: Sequence[str]) -> TyperInfo:
    narrowed = copy(info)
    if info.typer_instance is not None:
        narrowed.typer_instance = only_called(info.typer_instance, arguments)
    return narrowed
