"""`tracescribe evidence`: scan a corpus once, then look any feature up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import EMBEDDED, Evidence, Json, Model, Transcoders

evidence = typer.Typer(help="What features do in ordinary text: build a scan, show a feature.", no_args_is_help=True)


@evidence.command("show")
def show(
    feature: Annotated[str, typer.Argument(help="LAYER/FEATURE, for example 0/100.")],
    folder: Evidence = None,
    contexts: Annotated[int, typer.Option(min=1, max=100, help="How many contexts to show, strongest first.")] = 10,
    as_json: Json = False,
) -> None:
    """Show one feature: contexts with its activation on each token, how often it fires, which tokens it raises."""
    from tracescribe.runs.edit_grammar import parse_ref
    from tracescribe.runs.evidence_view import show_feature
    from tracescribe.runs.scanning import open_evidence

    show_feature(open_evidence(folder).feature(parse_ref(feature)), contexts, as_json)


@evidence.command("build")
def build(
    out: Annotated[
        Path | None, typer.Option(help="The folder for the evidence; without it, the embedded model's own is renewed.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="UTF-8 text, one sentence a line; without it, the embedded model's corpus.")
    ] = None,
    model: Model = EMBEDDED,
    transcoders: Transcoders = EMBEDDED,
    as_json: Json = False,
) -> None:
    """Scan a corpus: every activation of every feature on every token, kept sparsely."""
    from tracescribe.runs.evidence_view import show_scan
    from tracescribe.runs.scanning import build_evidence

    show_scan(build_evidence(model, transcoders, corpus, out), as_json)
