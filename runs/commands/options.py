"""Options that several commands share, so that one thing has one name, one default and one help text."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer


def finite(value: float | None) -> float | None:
    """Refuse `inf` and `nan`, which are numbers to a parser and no limit to anyone."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number; leave the option out for no limit of your own")
    return value


Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on stdout.")]
Prompt = Annotated[str | None, typer.Option("--prompt", "-p", help="The prompt, in words of the model's vocabulary.")]
PromptFile = Annotated[Path | None, typer.Option("--prompt-file", help="A UTF-8 text file that holds the prompt.")]
Model = Annotated[
    str, typer.Option("--model", "-m", help="'embedded', a folder, or the id of a model on the Hugging Face hub.")
]
Transcoders = Annotated[
    str, typer.Option("--transcoders", "-t", help="'embedded', or the folder of a transcoder set for the model.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw; one seed, one report.")]
Evidence = Annotated[
    Path | None,
    typer.Option("--evidence", help="Folder of an evidence scan; without it the embedded model's own is used."),
]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float64"],
    typer.Option("--dtype", help="Of the model's weights; bfloat16 is computed with in float32 where sums matter."),
]
Device = Annotated[str, typer.Option("--device", help="Where model and transcoders run: cpu, cuda or cuda:N.")]
EMBEDDED = "embedded"
"""The model and transcoders that ship inside the package."""
