"""Features of a graph as rows of a table: a line each, short enough that many fit into one prompt."""

from __future__ import annotations

import numpy as np

from tracescribe.agents.labelling.triggers import read_firing
from tracescribe.agents.llm.case_view import CaseView, Json, short
from tracescribe.agents.llm.evidence_view import next_token_rows, trigger_rows
from tracescribe.agents.llm.ids import node_id
from tracescribe.tracer.graph import FeatureNode

ROW_WORDS = 4
"""Words of each kind in a row: the strongest tell most, and a table of a hundred rows must fit."""


def feature_row(view: CaseView, node: FeatureNode) -> dict[str, Json]:
    """One feature at one position: where it fires, on what and before what, what it raises, what feeds it, what it feeds."""
    row = view.facts.row_of[node]
    fed, feeds = view.facts.profiles.inputs[row], view.facts.profiles.outputs[row]
    strongest = np.argsort(-np.abs(fed), kind="stable")[:ROW_WORDS]
    return {
        "id": node_id(node),
        "at": view.survey.full.tokens[node.position].strip(),
        "influence": short(view.survey.influence.get(node, 0.0)),
        **_elsewhere(view, node),
        "fed_by": [view.token_at(int(p)) for p in strongest if abs(fed[p]) >= view.settings.min_source_share],
        "feeds": [
            {"output": view.output(int(column)), "effect": short(feeds[column])}
            for column in np.argsort(-np.abs(feeds), kind="stable")[:2]
        ],
    }


def _elsewhere(view: CaseView, node: FeatureNode) -> dict[str, Json]:
    """What the corpus says of the feature; nothing where there is none."""
    evidence, store = view.tools.evidence(node.ref), view.tools.store
    found: dict[str, Json] = {}
    if store is not None:
        firing = read_firing(store, store.dense(node.ref), view.settings.strong_share)
        found["fires_on"] = [row["token"] for row in trigger_rows(store, firing, view.settings)[:ROW_WORDS]]
        found["next"] = [
            {"token": row["token"], "share": row["share_of_firings"]}
            for row in next_token_rows(store, firing, view.settings)[: ROW_WORDS // 2]
        ]
    if evidence is not None:
        found["raises"] = [effect.token for effect in evidence.promoted[:ROW_WORDS]]
    return found
