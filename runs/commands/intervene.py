"""`tracescribe intervene`: ablate, scale, set or swap features by hand, and see what the model then says."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tracescribe.runs.commands.options import EMBEDDED, Json, Model, Prompt, PromptFile, Transcoders


def intervene(
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    model: Model = EMBEDDED,
    transcoders: Transcoders = EMBEDDED,
    ablate: Annotated[
        list[str] | None, typer.Option("--ablate", help="Set a feature to 0: LAYER/FEATURE@POSITION. May be repeated.")
    ] = None,
    scale: Annotated[
        list[str] | None, typer.Option("--scale", help="Multiply it: LAYER/FEATURE@POSITION=FACTOR. May be repeated.")
    ] = None,
    set_to: Annotated[
        list[str] | None, typer.Option("--set", help="Set it: LAYER/FEATURE@POSITION=ACTIVATION. May be repeated.")
    ] = None,
    swap_from: Annotated[
        str | None, typer.Option("--swap-from", help="A donor prompt of the same length, whose activations are put in.")
    ] = None,
    swap: Annotated[
        list[str] | None,
        typer.Option(
            "--swap",
            help="Where: LAYER/FEATURE@POSITION, LAYER@POSITION or @POSITION. Without it: wherever the prompts differ.",
        ),
    ] = None,
    mode: Annotated[
        Literal["open", "constrained", "direct"],
        typer.Option(help="open: everything above reacts. constrained: only the layers below. direct: linear effects."),
    ] = "open",
    constrain: Annotated[
        list[int] | None,
        typer.Option(help="A layer that keeps its clean output (constrained mode); default: all from the edit up."),
    ] = None,
    freeze_attention: Annotated[
        bool, typer.Option("--freeze-attention", help="Keep the clean attention patterns in open mode.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, max=50, help="How many tokens to show.")] = 8,
    as_json: Json = False,
) -> None:
    """Edit transcoder features and show the most probable tokens before and after.

    A position is a number (0 is the token that begins every prompt, -1 the last) or a word that stands once in the
    prompt: --ablate 0/100@Dallas.
    """
    from tracescribe.runs.intervening import InterventionRequest, run_intervention
    from tracescribe.runs.intervention_view import show_intervention
    from tracescribe.runs.workspace import read_prompt

    outcome = run_intervention(
        InterventionRequest(
            prompt=read_prompt(prompt, prompt_file),
            model=model,
            transcoders=transcoders,
            ablate=tuple(ablate or ()),
            scale=tuple(scale or ()),
            set_to=tuple(set_to or ()),
            swap_from=swap_from,
            swap=tuple(swap or ()),
            mode=mode,
            constrained_layers=tuple(constrain or ()),
            freeze_attention=freeze_attention,
            top=top,
        )
    )
    show_intervention(outcome, as_json)
