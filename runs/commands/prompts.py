"""`tracescribe prompts`: which texts a language model is sent, word for word."""

from __future__ import annotations

from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json

prompts = typer.Typer(help="The prompt templates that language models are sent: list, show.", no_args_is_help=True)


@prompts.command("list")
def list_all(as_json: Json = False) -> None:
    """List every template with its version, inputs and what the version changed."""
    from tracescribe.prompts import list_prompts
    from tracescribe.runs.prompt_views import show_prompts

    show_prompts(list_prompts(), as_json)


@prompts.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A template's name, or name@version; without a version, the newest.")],
    as_json: Json = False,
) -> None:
    """Show one template word for word."""
    from tracescribe.prompts import load_prompt
    from tracescribe.runs.prompt_views import show_prompt

    show_prompt(load_prompt(name), as_json)
