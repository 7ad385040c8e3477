"""What a feature stands for in this prompt, in a few words: where it fires, what feeds it, and which outputs it feeds.

Read from its attribution profile, so from this graph alone; beside it stands the label, which holds for all texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.grouping.graph_facts import GraphFacts

MIN_SOURCE_SHARE = 0.2
"""A token is named as a source from this share of the feature's input attribution: at most five can have it."""
MAX_SOURCES = 2
"""Most sources that are named; with more, none of them stands out."""
MAX_PLACES = 3
"""Most words at which a feature is said to fire."""


def local_meaning(tools: CaseTools, facts: GraphFacts, nodes: Sequence[FeatureNode]) -> str:
    """As in "at 'Dallas': from 'Dallas', towards 'Austin'".

    Args:
        facts: of the graph that the nodes stand in.
        nodes: of one feature, the most influential first; its profile is told.
    """
    words = dict.fromkeys(facts.graph.tokens[node.position].strip() for node in nodes)
    where = f"at {_quoted(list(words)[:MAX_PLACES])}"
    row = facts.row_of.get(nodes[0])
    if row is None:
        return where
    told = [part for part in (_sources(facts, row), _output(tools, facts, row)) if part]
    return f"{where}: {', '.join(told)}" if told else where


def _sources(facts: GraphFacts, row: int) -> str:
    """The tokens of the prompt that feed a feature most."""
    fed = np.asarray(facts.profiles.inputs[row], dtype=np.float64)
    strongest = [int(p) for p in np.argsort(-fed, kind="stable")[:MAX_SOURCES] if fed[p] >= MIN_SOURCE_SHARE]
    if not strongest:
        return ""
    return f"from {_quoted([facts.graph.tokens[position].strip() for position in sorted(strongest)])}"


def _output(tools: CaseTools, facts: GraphFacts, row: int) -> str:
    """The output that a feature moves most, and whether it is raised."""
    effects = np.asarray(facts.profiles.outputs[row], dtype=np.float64)
    if not len(effects) or not effects.any():
        return ""
    best = int(np.argmax(np.abs(effects)))
    token = tools.token_of_logit(facts.graph, int(facts.profiles.logits[best])).strip()
    return f"{'towards' if effects[best] > 0 else 'away from'} {_quoted([token])}"


def _quoted(words: Sequence[str]) -> str:
    return " and ".join(f"'{word}'" for word in dict.fromkeys(words))
