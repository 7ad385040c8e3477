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
        str | None,
        typer.Option(
            help="UTF-8 text, one document a line; JSON lines; or, with --split, a data set. "
            "Without it, the embedded model's corpus."
        ),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(help="The field of JSON lines or of the data set that holds the text; 'text' if unset."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Reads --corpus as a data set of the datasets library.")] = None,
    config: Annotated[str | None, typer.Option(help="The configuration of the data set.")] = None,
    context_size: Annotated[
        int | None, typer.Option(min=2, help="Most tokens in a window; 128, or what the model reads, if unset.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="What the scan may take beside the weights, such as 512MB; 2GiB if unset.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Throw away what lies in the folder and start over.")] = False,
    model: Model = EMBEDDED,
    transcoders: Transcoders = EMBEDDED,
    dtype: Annotated[str, typer.Option(help="The model's weights: float32, bfloat16 or float64.")] = "float32",
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda or cuda:N.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Scan a corpus once and keep, of every feature, contexts, counts and logit effects. A scan that was cut short is
    taken up where it stopped: run the same command again."""
    from tracescribe.runs.evidence_view import show_scan
    from tracescribe.runs.scanning import ScanRequest, build_evidence

    request = ScanRequest(
        model=model,
        transcoders=transcoders,
        corpus=corpus,
        out=out,
        field=field,
        split=split,
        config=config,
        context_size=context_size,
        max_memory=max_memory,
        dtype=dtype,
        device=device,
        force=force,
    )
    show_scan(build_evidence(request), as_json)


@evidence.command("export")
def export(
    out: Annotated[Path, typer.Option(help="The folder for the feature files.")],
    features: Annotated[
        list[str] | None, typer.Argument(help="LAYER/FEATURE, for example 0/100; all live ones if none is given.")
    ] = None,
    folder: Evidence = None,
    transcoder_id: Annotated[
        str | None, typer.Option(help="What the files call the transcoders; their name in the evidence if unset.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write features as the files that circuit-tracer's viewer reads: one JSON document for each."""
    from tracescribe.runs.edit_grammar import parse_ref
    from tracescribe.runs.evidence_view import show_export
    from tracescribe.runs.scanning import export_features

    refs = [parse_ref(feature) for feature in features] if features else None
    show_export(export_features(folder, refs, out, transcoder_id), out, as_json)
