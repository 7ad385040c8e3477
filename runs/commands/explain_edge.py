"""`tracescribe explain-edge`: one edge, split by attention head and by path."""

from __future__ import annotations

from typing import Annotated

import typer

from tracescribe.runs.commands.options import EMBEDDED, Device, Dtype, Json, Model, Transcoders


def explain_edge(
    prompt: Annotated[str, typer.Argument(help="The prompt whose graph holds the edge.")],
    source: Annotated[
        str,
        typer.Argument(help="Where the edge starts: a node id as graphs have it, or LAYER/FEATURE@POSITION."),
    ],
    target: Annotated[
        str,
        typer.Argument(
            help="Where it ends: a node id, LAYER/FEATURE@POSITION, an output token, or a difference of two: 'A - B'."
        ),
    ],
    model: Model = EMBEDDED,
    transcoders: Transcoders = EMBEDDED,
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many heads and how many paths to show.")] = 10,
    work: Annotated[
        int, typer.Option(min=0, help="Partial paths to follow in search of the strongest; more can prove more lists.")
    ] = 256,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Explain one edge of a graph: which attention heads and which paths through the layers carry it.

    Exact, since attention patterns are frozen in a graph: the parts sum to the edge. They have signs and may cancel.
    """
    from tracescribe.runs.edge_explaining import EdgeRequest, run_explanation
    from tracescribe.runs.edge_view import show_explanation

    told = run_explanation(
        EdgeRequest(
            prompt=prompt,
            source=source,
            target=target,
            model=model,
            transcoders=transcoders,
            top=top,
            work=work,
            dtype=dtype,
            device=device,
        )
    )
    show_explanation(told, as_json)
