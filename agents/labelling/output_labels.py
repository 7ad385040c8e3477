"""What the label of a logit node says: the output token's text."""

from __future__ import annotations

import re

from tracescribe.tracer.graph import AttributionGraph

_OUTPUT_LABEL = re.compile(r"""output:? *"(.*)"(?: \(p=[\d.]+\))?""", re.DOTALL | re.IGNORECASE)
"""How circuit-tracer and Neuronpedia spell an output token in a logit node's label."""


def output_text(graph: AttributionGraph, index: int) -> str:
    """Text of a logit node as its label tells it; the token id where there is no label."""
    label = graph.labels[index]
    match = _OUTPUT_LABEL.search(label)
    return (match.group(1) if match else label).strip() or f"token {int(graph.nodes.feature[index])}"
