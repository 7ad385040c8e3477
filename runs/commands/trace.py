"""`tracescribe trace`: prompt to attribution graph, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import EMBEDDED, Device, Dtype, Json, Model, Prompt, PromptFile, Transcoders


def trace(
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The graph file: .json, .json.gz, .graphml or .tsgraph. "
            "Without it: a JSON file named after the prompt in tracescribe-workspace/graphs."
        ),
    ] = None,
    model: Model = EMBEDDED,
    transcoders: Transcoders = EMBEDDED,
    prune: Annotated[bool, typer.Option("--prune/--no-prune", help="Write the pruned graph, or all of it.")] = True,
    node_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Pruning: share of influence that kept nodes carry.")
    ] = 0.8,
    edge_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Pruning: share of influence that kept edges carry.")
    ] = 0.98,
    max_logits: Annotated[int, typer.Option(min=1, help="Most output tokens that become targets.")] = 10,
    logit_probability: Annotated[
        float, typer.Option(min=0, max=1, help="Fewer targets where the most probable reach this share together.")
    ] = 0.95,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="An output to trace instead of the most probable ones: a token, or 'A - B' with spaces around the "
            "sign. May be repeated."
        ),
    ] = None,
    target_difference: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Trace how far the logit of A lies above that of B: two tokens."),
    ] = None,
    max_feature_nodes: Annotated[
        int | None, typer.Option(min=1, help="Trace only so many feature nodes, the most influential first.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Attribution rows computed at once; less needs less memory.")
    ] = 256,
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="What the process may hold, such as 8GB: batches are cut to fit, and what cannot fit is refused "
            "before the work. Default: most of what is free.",
        ),
    ] = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Trace a prompt: which features, errors and tokens lead to the next token, and how strongly.

    A JSON file is in Neuronpedia's graph format; 'tracescribe interpret --graph' reads it back.
    """
    from tracescribe.runs.trace_view import show_trace
    from tracescribe.runs.tracing import TraceRequest, trace_prompt
    from tracescribe.runs.workspace import default_graph_file, read_prompt

    text = read_prompt(prompt, prompt_file)
    result = trace_prompt(
        TraceRequest(
            prompt=text,
            model=model,
            transcoders=transcoders,
            out=out or default_graph_file(text),
            pruned=prune,
            node_threshold=node_threshold,
            edge_threshold=edge_threshold,
            max_logits=max_logits,
            logit_probability=logit_probability,
            targets=tuple(target or ()),
            target_difference=target_difference,
            max_feature_nodes=max_feature_nodes,
            batch_size=batch_size,
            max_memory=max_memory,
            dtype=dtype,
            device=device,
        )
    )
    show_trace(result, as_json)
