"""`tracescribe graph`: graph files of any origin: find their faults, convert them, see what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json

graph = typer.Typer(help="Graph files: check, convert, show.", no_args_is_help=True)

GraphFile = Annotated[
    Path, typer.Argument(help="A graph file: .json or .json.gz (Neuronpedia, circuit-tracer), .graphml, .tsgraph.")
]


@graph.command("check")
def check(
    file: GraphFile,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Compare activations with a run of this model; see 'trace'.")
    ] = None,
    transcoders: Annotated[
        str | None, typer.Option("--transcoders", "-t", help="The transcoders of the comparison.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a graph file and list its faults, each with its place inside; exit code 1 if there are any.

    With a model and its transcoders, the graph's activations are compared with a clean run of its prompt.
    """
    from tracescribe.runs.graph_checking import check_graph
    from tracescribe.runs.graph_view import show_check

    result = check_graph(file, model, transcoders)
    show_check(result, as_json)
    if result.faults:
        raise typer.Exit(1)


@graph.command("convert")
def convert(
    source: GraphFile,
    target: Annotated[Path, typer.Argument(help="Where to write; the suffix tells the format.")],
    blind: Annotated[
        bool, typer.Option("--blind", help="Leave out everything a person added: labels, pins, groups, notes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a graph in another format: JSON, GraphML, or the native .tsgraph. Nothing is lost."""
    from tracescribe.runs.graph_checking import convert_graph
    from tracescribe.runs.graph_view import show_conversion

    show_conversion(convert_graph(source, target, blinded=blind), as_json)


@graph.command("show")
def show(file: GraphFile, as_json: Json = False) -> None:
    """Tell what a graph holds: prompt, outputs, most influential features, scores, supernodes, oddities."""
    from tracescribe.runs.graph_checking import describe_graph
    from tracescribe.runs.graph_view import show_graph

    show_graph(describe_graph(file), as_json)
