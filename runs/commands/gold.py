"""`tracescribe gold`: circuits whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tracescribe.runs.commands.options import Json

gold = typer.Typer(
    help="Gold circuits, whose truth is known: list, show, check, import and export them; build the oracle's.",
    no_args_is_help=True,
)

GoldSource = Annotated[
    Path | None,
    typer.Option(
        "--gold", "--file", help="A gold file or a folder of gold; without it, the oracle gold of the embedded model."
    ),
]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", help="Only circuits of this kind: oracle, compiled, human or reviewed; may be repeated."),
]
Families = Annotated[list[str] | None, typer.Option("--family", help="Only circuits of this family; may be repeated.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Only circuits with this tag; may be repeated.")]


@gold.command("list")
def list_circuits(
    source: GoldSource = None,
    kind: Kinds = None,
    family: Families = None,
    tag: Tags = None,
    as_json: Json = False,
) -> None:
    """List gold circuits: prompt, answer, concepts, and what each can score."""
    from tracescribe.runs.gold_files import open_gold, some_of
    from tracescribe.runs.gold_view import show_gold_list

    show_gold_list(some_of(open_gold(source), kind or (), family or (), tag or ()), as_json)


@gold.command("show")
def show(
    gold_id: Annotated[str, typer.Argument(help="A circuit's id, as 'gold list' shows it.")],
    source: GoldSource = None,
    as_json: Json = False,
) -> None:
    """Show one gold circuit: supernodes, edges, and what was observed when its concepts were changed."""
    from tracescribe.runs.gold_files import open_gold
    from tracescribe.runs.gold_view import show_gold

    show_gold(open_gold(source).circuit(gold_id), as_json)


@gold.command("check")
def check(
    path: Annotated[Path, typer.Argument(help="A gold file, or a folder of gold.")],
    graph: Annotated[
        Path | None, typer.Option("--graph", help="Check a file's circuits against this graph, not the one they name.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check gold: ids that repeat or that the graph does not have, labels that a graph gives away, hashes, scores.

    Exits with 1 if there are errors. Warnings are things to know; the gold can be used.
    """
    from tracescribe.evals.gold.checking import check_gold
    from tracescribe.runs.gold_view import show_gold_check

    findings, n_circuits = check_gold(path, graph)
    show_gold_check(path, findings, n_circuits, as_json)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


@gold.command("import")
def import_circuits(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder or file of gold, a graph file with pins or supernodes, a saved subgraph of Neuronpedia, the "
            "address of a graph page (read as text, never fetched), a notebook of circuit-tracer, or a report."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="A new .json file, or a folder for gold.json and its graphs.")],
    graph: Annotated[
        Path | None, typer.Option("--graph", help="The graph that the ids belong to, where the source holds none.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Under which the source may be used; SPDX id, or in words.")
    ] = None,
    origin: Annotated[str | None, typer.Option("--origin", help="Where the source comes from, in words.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The circuit's id; made from the source otherwise.")
    ] = None,
    reviewer: Annotated[str | None, typer.Option("--reviewer", help="Who accepts a report, for a report.")] = None,
    corrections: Annotated[
        Path | None, typer.Option("--corrections", help="JSON file of what the reviewer changed in a report.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make gold of what people published or accepted; every id and label that is dropped is told."""
    from tracescribe.evals.gold.importing import ImportRequest
    from tracescribe.runs.gold_files import import_to
    from tracescribe.runs.gold_view import show_gold_import

    request = ImportRequest(source, graph, licence, origin, name, reviewer, corrections)
    show_gold_import(*import_to(request, out), as_json)


@gold.command("export")
def export(
    out: Annotated[Path, typer.Option("--out", help="A new .json file; in our own form a folder too.")],
    gold_id: Annotated[str | None, typer.Argument(help="A circuit's id; without it, all circuits.")] = None,
    source: GoldSource = None,
    form: Annotated[
        Literal["tracescribe", "neuronpedia"],
        typer.Option("--form", help="Our own, or the saved subgraph of Neuronpedia's graph pages."),
    ] = "tracescribe",
    kind: Kinds = None,
    family: Families = None,
    tag: Tags = None,
    as_json: Json = False,
) -> None:
    """Write gold circuits to a file: in our own form with blinded graphs, or as graph pages save pins and supernodes."""
    from tracescribe.runs.gold_files import export_to, open_gold, some_of
    from tracescribe.runs.gold_view import show_gold_export

    found = some_of(open_gold(source), kind or (), family or (), tag or ())
    if gold_id is not None:
        found = found.model_copy(update={"circuits": (found.circuit(gold_id),)})
    show_gold_export(export_to(source, found, form, out), len(found.circuits), as_json)


@gold.command("build")
def build(
    compiled: Annotated[
        bool,
        typer.Option("--compiled", help="Build the compiled suite: transformers with an algorithm in their weights."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The gold file, or the folder of the compiled suite; without it, the oracle gold that ships is renewed, "
            "and the compiled suite lies in the workspace."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of every random draw; each kind has its own otherwise.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build gold whose truth is exact: the oracle's, every effect observed by intervention, or the compiled suite."""
    from tracescribe.runs.gold_files import build_compiled_gold, build_gold
    from tracescribe.runs.gold_view import show_compiled_build, show_gold_build

    if compiled:
        show_compiled_build(*build_compiled_gold(out, seed), as_json)
    else:
        show_gold_build(*build_gold(out, seed), as_json)
