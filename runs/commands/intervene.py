"""`tracescribe intervene`: ablate, scale, set, add to or swap features by hand, and see what the model then says."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tracescribe.runs.commands.options import (
    EMBEDDED,
    Device,
    Dtype,
    Json,
    Model,
    Prompt,
    PromptFile,
    Seed,
    Transcoders,
)


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
    add: Annotated[
        list[str] | None, typer.Option("--add", help="Add to it: LAYER/FEATURE@POSITION=AMOUNT. May be repeated.")
    ] = None,
    error: Annotated[
        list[str] | None,
        typer.Option(
            "--error", help="Multiply what an MLP wrote beyond the features: LAYER@POSITION=FACTOR. May be repeated."
        ),
    ] = None,
    direction: Annotated[
        list[str] | None,
        typer.Option(
            "--direction",
            help="Change the residual stream along the direction of a token's logit: LAYER/POINT@POSITION=TOKEN=NUMBER, "
            "the point being resid_pre, resid_mid or resid_post. May be repeated.",
        ),
    ] = None,
    how: Annotated[
        Literal["add", "set", "scale"],
        typer.Option(help="What the numbers of --direction do: add so much, set the component to it, or multiply it."),
    ] = "add",
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
    read: Annotated[
        list[str] | None,
        typer.Option("--read", help="Measure a feature too: LAYER/FEATURE@POSITION. May be repeated."),
    ] = None,
    generate: Annotated[
        int,
        typer.Option("--generate", min=0, help="Write so many tokens after the prompt, with the edits and without."),
    ] = 0,
    temperature: Annotated[
        float, typer.Option(min=0, help="Of the tokens written: 0 takes the most probable one.")
    ] = 0.0,
    seed: Seed = 0,
    top: Annotated[int, typer.Option(min=1, max=50, help="How many tokens to show.")] = 8,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Edit transcoder features and show the most probable tokens before and after.

    A position is a number (0 is the token that begins every prompt, -1 the last) or a word that stands once in the
    prompt: --ablate 0/100@Dallas. 3: stands for position 3 and all behind it, generated tokens included. Several
    features with commas between them are edited as one: --scale 0/100@7,1/20@7=2.
    """
    from tracescribe.runs.intervening import InterventionRequest, run_intervention
    from tracescribe.runs.intervention_view import show_intervention
    from tracescribe.runs.workspace import read_prompt
    from tracescribe.runs.written_edits import WrittenEdits

    outcome = run_intervention(
        InterventionRequest(
            prompt=read_prompt(prompt, prompt_file),
            model=model,
            transcoders=transcoders,
            edits=WrittenEdits(
                ablate=tuple(ablate or ()),
                scale=tuple(scale or ()),
                set_to=tuple(set_to or ()),
                add=tuple(add or ()),
                error=tuple(error or ()),
                direction=tuple(direction or ()),
                how=how,
                swap_from=swap_from,
                swap=tuple(swap or ()),
            ),
            mode=mode,
            constrained_layers=tuple(constrain or ()),
            freeze_attention=freeze_attention,
            read=tuple(read or ()),
            generate=generate,
            temperature=temperature,
            seed=seed,
            top=top,
            dtype=dtype,
            device=device,
        )
    )
    show_intervention(outcome, as_json)
