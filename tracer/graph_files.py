"""One door for graph files: the suffix of a name tells the format, for reading and for writing.

| suffix | format | module |
|---|---|---|
| `.json`, `.json.gz` | Neuronpedia / circuit-tracer | `graph_json` |
| `.graphml`, `.graphml.gz` | GraphML | `graphml` |
| `.tsgraph` | native | `graph_native` |
"""

from __future__ import annotations

from pathlib import Path

from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_document import GraphFaultsError

FORMATS = {
    ".json": "json",
    ".json.gz": "json",
    ".graphml": "graphml",
    ".graphml.gz": "graphml",
    ".tsgraph": "native",
}
"""Formats by suffix."""


def format_of(path: str | Path) -> str:
    """The format that a file's name tells: `json`, `graphml` or `native`.

    Raises:
        GraphFormatError: the name has another suffix.
    """
    name = Path(path).name.lower()
    for suffix, found in FORMATS.items():
        if name.endswith(suffix):
            return found
    raise GraphFormatError(f"{path}: which format? expected a name that ends in {', '.join(FORMATS)}")


def read_graph_file(path: str | Path) -> AttributionGraph:
    """Read a graph file of any format.

    Raises:
        GraphFormatError: a name without a known suffix, no such file, or one that is malformed, truncated, hostile or
            enormous; the message names the place inside.
    """
    found = format_of(path)
    if found == "native":
        from tracescribe.tracer.graph_native import read_native

        return read_native(path)
    if found == "graphml":
        from tracescribe.tracer.graphml import read_graphml

        return read_graphml(path)
    from tracescribe.tracer.graph_json import read_graph

    return read_graph(path)


def write_graph_file(path: str | Path, graph: AttributionGraph) -> None:
    """Write a graph in the format that the name tells; readers see the old file or the new, never a part.

    Raises:
        GraphFormatError: a name without a known suffix.
        OutputError: the file cannot be written.
    """
    found = format_of(path)
    if found == "native":
        from tracescribe.tracer.graph_native import write_native

        write_native(path, graph)
    elif found == "graphml":
        from tracescribe.tracer.graphml import write_graphml

        write_graphml(path, graph)
    else:
        from tracescribe.tracer.graph_json import write_graph

        write_graph(path, graph)


def file_faults(path: str | Path) -> tuple[str, ...]:
    """All faults of a graph file, each with its place inside; empty if it can be used."""
    try:
        read_graph_file(path)
    except GraphFaultsError as error:
        return error.faults
    except GraphFormatError as error:
        return (str(error),)
    return ()
