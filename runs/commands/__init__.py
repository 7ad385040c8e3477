"""The commands, one file each. A command reads its options, calls a room, and shows what came back; no method is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add every command to the application, in the order in which help lists them."""
    from tracescribe.runs.commands.doctor import doctor
    from tracescribe.runs.commands.intervene import intervene
    from tracescribe.runs.commands.models import models
    from tracescribe.runs.commands.prompts import prompts
    from tracescribe.runs.commands.trace import trace

    app.command()(trace)
    app.command()(intervene)
    app.add_typer(models, name="models")
    app.add_typer(prompts, name="prompts")
    app.command()(doctor)
