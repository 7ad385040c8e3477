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
    as_json: Json = False,
) -> None:
    """Check that a transcoder set fits a model; for the embedded pair, recompute the model card from the weights.

    Exit code 1 when a recomputed figure is worse than the card says.
    """
    from tracescribe.runs.model_check import check_models
    from tracescribe.runs.model_views import show_check

    result = check_models(model, transcoders, quick=quick)
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
