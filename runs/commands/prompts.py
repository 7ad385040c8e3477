"""`tracescribe prompts`: which texts a language model is sent, word for word."""

from __future__ import annotations

from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json

prompts = typer.Typer(
    help="The prompt templates that language models are sent: list, show, diff, lint.", no_args_is_help=True
)


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


@prompts.command("diff")
def diff(
    before: Annotated[str, typer.Argument(help="A template as name@version; alone, what that version changed.")],
    after: Annotated[str | None, typer.Argument(help="Another one, as name@version.")] = None,
    as_json: Json = False,
) -> None:
    """Show what changed between two versions, front matter included, as a unified diff."""
    from tracescribe.runs.prompt_checking import diff_prompts
    from tracescribe.runs.prompt_views import show_diff

    show_diff(diff_prompts(before, after), as_json)


@prompts.command("lint")
def lint(
    write: Annotated[
        bool, typer.Option("--write", help="In a clone: lock new versions in prompts/released.json; never changes one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every template: inputs, data rule, version steps, and that no released file changed; exit code 1 if not."""
    from tracescribe.runs.prompt_checking import check_prompts
    from tracescribe.runs.prompt_views import show_check

    result = check_prompts(write=write)
    show_check(result, as_json)
    if result.faults:
        raise typer.Exit(1)
