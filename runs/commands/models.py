"""`tracescribe models`: which models are at hand, whether a transcoder set fits one, and the embedded one from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import EMBEDDED, Json, Model, Seed, Transcoders

models = typer.Typer(help="Models and their transcoders: list, check, train the embedded one.", no_args_is_help=True)


@models.command("list")
def list_models(as_json: Json = False) -> None:
    """List the models at hand without a download, and the architectures that can be traced."""
    from tracescribe.runs.model_views import models_at_hand, show_models

    show_models(models_at_hand(), as_json)


@models.command("check")
def check(
    model: Model = EMBEDDED,
    transcoders: Transcoders = EMBEDDED,
    quick: Annotated[
        bool, typer.Option("--quick", help="Recompute the card from smaller samples: a minute instead of several.")
    ] = False,
    text: Annotated[
        Path | None, typer.Option("--text", help="Measure reconstruction on this file: one document a line, or .jsonl.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=1, help="Stop after this many tokens of the text.")
    ] = None,
    context: Annotated[int, typer.Option("--context", min=2, help="Most tokens in one window of the text.")] = 128,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every decoder row, also of a set of many gigabytes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check that a transcoder set fits a model, and how well it reconstructs a text's MLP outputs and predictions.

    Without a text, a pair that has a model card (the embedded one) has the card recomputed from its weights; exit code 1
    when a figure is worse than the card says.
    """
    from tracescribe.runs.model_check import TextChoice, check_models
    from tracescribe.runs.model_views import show_check

    chosen = None if text is None else TextChoice(text, context, tokens)
    result = check_models(model, transcoders, quick=quick, deep=deep, text=chosen)
    show_check(result, as_json)
    if not result.passed:
        raise typer.Exit(1)


@models.command("train-embedded")
def train_embedded(
    out: Annotated[Path, typer.Option(help="Folder for the model, the CLT, the corpus, the card and the oracle.")],
    seed: Seed = 0,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads; seed 0 on one thread gave the shipped weights.")
    ] = 1,
    scale: Annotated[
        float, typer.Option(min=0.0001, max=1, help="Multiply step counts and sample sizes; below 1 only for trials.")
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Train the embedded model and its cross-layer transcoder from nothing; within forty minutes on two CPU cores.

    A second call with the same folder goes on after the last finished stage.
    """
    from tracescribe.runs.embedded_build import train
    from tracescribe.runs.model_views import show_build

    show_build(train(out, seed=seed, threads=threads, scale=scale), as_json)
