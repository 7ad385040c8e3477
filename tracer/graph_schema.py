"""The JSON Schema of graph files, generated from `graph_rows`, so that the written schema and the reader cannot drift.

The schema says what one row may hold. What rows must be to each other (unique ids, links between nodes that exist, no
cycle, ids that agree with their rows) is beyond JSON Schema and checked by the reader alone.

    python -m tracescribe.tracer.graph_schema            # prints the schema as the models say it
    python -m tracescribe.tracer.graph_schema --write    # renews the file that ships
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tracescribe.tracer.graph_rows import GraphFile
from tracescribe.tracer.shipped_schema import ShippedSchema

SCHEMA = ShippedSchema(
    "tracescribe.tracer",
    "graph.schema.json",
    "urn:tracescribe:graph:1",
    "Attribution graph",
    GraphFile,
    "validation",
)


def graph_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a graph document, as the package ships it."""
    return SCHEMA.shipped()


def generated_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a graph document, as the models say it."""
    return SCHEMA.generated()


if __name__ == "__main__":
    SCHEMA.main(Path(__file__).resolve().parent / "schemas")
