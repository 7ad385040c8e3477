"""What an investigator may look at: features, tokens and edges of one graph. Plain JSON values, evidence of the labelling
half alone; nothing here runs an experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tracescribe.agents.llm.actions import ListFeatures, LookAtFeature, LookAtToken, Neighbours
from tracescribe.agents.llm.case_view import CaseView, Json, fitting, short, short_token
from tracescribe.agents.llm.evidence_view import feature_inputs
from tracescribe.agents.llm.feature_table import feature_row
from tracescribe.agents.llm.ids import node_id, read_node, read_ref
from tracescribe.agents.llm.settings import DialogueSettings
from tracescribe.tracer.errors import UnknownIdError
from tracescribe.tracer.graph import FeatureNode, FeatureRef, IntArray, NodeKind

MAX_NEIGHBOURS = 10
"""Of each direction, by absolute weight."""
CLOSE_UP = 10
"""Contexts, and words of each table, of one feature: several features are looked at in one dialogue."""
LookAction = ListFeatures | LookAtFeature | LookAtToken | Neighbours


def look(
    view: CaseView, action: LookAction, labels: Mapping[FeatureRef, str], settings: DialogueSettings
) -> dict[str, Json]:
    """What a looking action shows.

    Args:
        labels: texts of the labels so far.

    Raises:
        UnknownIdError: no such page, feature or token.
    """
    match action:
        case ListFeatures():
            return _page(view, action.page, settings)
        case LookAtFeature():
            return _feature(view, action.feature, settings)
        case LookAtToken():
            return _token(view, action.position, settings)
        case Neighbours():
            return _neighbours(view, known_node(view, action.feature), labels)


def known_node(view: CaseView, text: str) -> FeatureNode:
    """A feature of the graph at one position, by its id.

    Raises:
        UnknownIdError: there is none.
    """
    node = read_node(text)
    if node is None or node not in view.facts.row_of:
        raise UnknownIdError(f"no feature {text[:30]!r} with a position in this graph; ids are layer/feature@position")
    return node


def places_in_graph(view: CaseView, text: str) -> tuple[FeatureNode, ...]:
    """The nodes of a feature, most influential first; of one position alone if the id names one.

    Raises:
        UnknownIdError: there is none.
    """
    ref, node = read_ref(text), read_node(text)
    found = [n for n in view.facts.row_of if n.ref == ref and (node is None or n == node)]
    if not found:
        raise UnknownIdError(f"no feature {text[:30]!r} in this graph; ids are layer/feature or layer/feature@position")
    return tuple(sorted(found, key=lambda n: (-view.survey.influence.get(n, 0.0), n)))


def _page(view: CaseView, page: int, settings: DialogueSettings) -> dict[str, Json]:
    nodes = view.survey.features
    pages = max(1, -(-len(nodes) // settings.page))
    if page > pages:
        raise UnknownIdError(f"no page {page}: there are {pages}")
    start = (page - 1) * settings.page
    return {"page": page, "pages": pages, **_rows(view, nodes[start : start + settings.page], settings)}


def _rows(view: CaseView, nodes: Sequence[FeatureNode], settings: DialogueSettings) -> dict[str, Json]:
    rows = fitting([feature_row(view, node) for node in nodes], settings.max_result_chars - 200)
    missing = [node_id(node) for node in nodes[len(rows) :]]
    return {"features": rows, **({"not_shown": missing} if missing else {})}


def _feature(view: CaseView, text: str, settings: DialogueSettings) -> dict[str, Json]:
    close = replace(view, settings=replace(view.settings, contexts=CLOSE_UP, words=CLOSE_UP))
    inputs = feature_inputs(close, places_in_graph(view, text))
    del inputs["prompt"]
    rest = sum(len(json.dumps(value)) for name, value in inputs.items() if name not in ("contexts", "silent"))
    room = max(0, settings.max_result_chars - rest)
    for name, share in (("contexts", 0.7), ("silent", 0.2)):
        rows = inputs[name]
        if isinstance(rows, list):
            inputs[name] = fitting(rows, int(share * room))
    return inputs


def _token(view: CaseView, position: int, settings: DialogueSettings) -> dict[str, Json]:
    tokens = view.survey.full.tokens
    if position >= len(tokens):
        raise UnknownIdError(f"no token {position}: positions are 0 to {len(tokens) - 1}")
    following = view.tools.next_tokens()
    here = [node for node in view.facts.row_of if node.position == position]
    here.sort(key=lambda node: (-view.survey.influence.get(node, 0.0), node))
    return {
        "token": short_token(tokens[position]),
        "position": position,
        "model_says_next": following[position] if following else "not known",
        "features_in_all": len(here),
        **_rows(view, here[: settings.page], settings),
    }


def _neighbours(view: CaseView, node: FeatureNode, labels: Mapping[FeatureRef, str]) -> dict[str, Json]:
    graph = view.survey.full
    index, edges = graph.node_of_feature[node], graph.edges
    return {
        "feature": node_id(node),
        "inputs": _ends(view, edges.source, np.flatnonzero(edges.target == index), labels),
        "outputs": _ends(view, edges.target, np.flatnonzero(edges.source == index), labels),
    }


def _ends(view: CaseView, ends: IntArray, chosen: IntArray, labels: Mapping[FeatureRef, str]) -> list[dict[str, Json]]:
    weight = view.survey.full.edges.weight
    strongest = chosen[np.argsort(-np.abs(weight[chosen]), kind="stable")][:MAX_NEIGHBOURS]
    return [{**_end(view, int(ends[edge]), labels), "effect": short(float(weight[edge]))} for edge in strongest]


def _end(view: CaseView, index: int, labels: Mapping[FeatureRef, str]) -> dict[str, Json]:
    graph = view.survey.full
    kind, position = graph.nodes.kind[index], int(graph.nodes.position[index])
    if kind == NodeKind.FEATURE:
        node = graph.feature_node(index)
        label = labels.get(node.ref)
        return {"feature": node_id(node), "at": view.token_at(position), **({"label": label} if label else {})}
    if kind == NodeKind.LOGIT:
        return {"output": short_token(view.tools.token_of_logit(graph, index).strip())}
    if kind == NodeKind.EMBEDDING:
        return {"token": view.token_at(position)}
    return {"not_explained_by_features": view.token_at(position)}
