"""What a review gives to others: gold, the graph as graph pages save it, the report page with its review, a drawing; and
the report and its graph as they are stored.

Nothing here is logged or refused by role; whoever hands an export out calls `log_export` first.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tracescribe.runs.review.corrections import corrections_of, holding_links, stands, vouched_labels
from tracescribe.runs.review.errors import ReviewUnfinishedError
from tracescribe.runs.review.loading import load_review
from tracescribe.runs.review.stored import (
    REPORT_FILE,
    artefacts_of_case,
    graph_artefact,
    graph_of_case,
    report_of_case,
    whole_graph_of_case,
)
from tracescribe.tracer.errors import UnknownIdError

if TYPE_CHECKING:
    from tracescribe.agents.rendering import EvidenceLookup
    from tracescribe.agents.report import CircuitReport
    from tracescribe.evals.gold import GoldCircuit
    from tracescribe.runs.review.states import ReviewState
    from tracescribe.runs.store.database import Store
    from tracescribe.tracer.graph import AttributionGraph

Form = Literal["gold", "neuronpedia", "html", "svg", "report", "graph"]
LICENCE_NOT_TOLD = "not told"
PAGE_FILE = "report.html"
_ADDED_WEIGHT = 1e-6
"""Of a link that the reviewer drew, in drawings: it has no weight, so it is drawn as thin as any."""


def exported(
    store: Store, case_id: str, form: Form, review_id: str | None, reviewer: str, *, licence: str = LICENCE_NOT_TOLD
) -> bytes:
    """A report, its graph, or what a review of it gives.

    Args:
        review_id: which; None for the reviewer's own; of no account for `report` and `graph`, which are as they are stored.
        reviewer: who asks.
        licence: under which gold may be used.

    Raises:
        ReviewUnfinishedError, GoldFormatError, OutputError: as the functions below.
        UnknownIdError: there is no such report or review, or it has no such file.
        StoreError: as `load_review`.
    """
    match form:
        case "gold":
            return gold_json(store, case_id, review_id, reviewer, licence=licence)
        case "neuronpedia":
            return neuronpedia_json(store, case_id, review_id, reviewer)
        case "html":
            return review_html(store, case_id, review_id, reviewer)
        case "svg":
            return circuit_svg(store, case_id, review_id, reviewer)
        case "report" | "graph":
            had = artefacts_of_case(store, case_id)
            graph = graph_artefact(had)
            sha256 = had.get(REPORT_FILE) if form == "report" else None if graph is None else graph[1]
            if sha256 is None:
                raise UnknownIdError(f"case {case_id} has no {form}; none was kept, or retention has deleted it")
            return store.artefacts.read(sha256)


def gold_json(
    store: Store, case_id: str, review_id: str | None, reviewer: str, *, licence: str = LICENCE_NOT_TOLD
) -> bytes:
    """An accepted review as a gold file, which `tracescribe score`, `bench run` and `gold import` take.

    Args:
        review_id: which; None for the reviewer's own.
        reviewer: who asks.
        licence: under which the gold may be used.

    Raises:
        ReviewUnfinishedError: the review was not accepted.
        GoldFormatError: nothing is left of the report.
        UnknownIdError, StoreError: as `load_review`.
    """
    return _json(gold_circuit(store, case_id, review_id, reviewer, licence=licence).model_dump(mode="json"))


def gold_circuit(
    store: Store, case_id: str, review_id: str | None, reviewer: str, *, licence: str = LICENCE_NOT_TOLD
) -> GoldCircuit:
    """`gold_json` before it is written."""
    state = load_review(store, case_id, review_id, reviewer)
    return gold_of_state(report_of_case(store, case_id).report, state, licence=licence)


def gold_of_state(report: CircuitReport, state: ReviewState, *, licence: str = LICENCE_NOT_TOLD) -> GoldCircuit:
    """Gold of a report and what a review of it comes to.

    Raises:
        ReviewUnfinishedError: the review was not accepted.
        GoldFormatError: nothing is left of the report.
    """
    from tracescribe.evals.gold.reviewed import gold_of_report

    if state.status != "accepted":
        told = "is still open" if state.status == "open" else "rejected the report"
        raise ReviewUnfinishedError(
            f"the review by {state.reviewer} {told}; close it as accepted, then gold can be made of it"
        )
    people = ", ".join(dict.fromkeys((state.reviewer, *(done.actor for done in state.history))))
    return gold_of_report(report, people, licence.strip() or LICENCE_NOT_TOLD, corrections_of(state))


def neuronpedia_json(store: Store, case_id: str, review_id: str | None, reviewer: str) -> bytes:
    """The graph with the review's supernodes, pins and labels, as Neuronpedia and circuit-tracer's frontend save them.

    Raises:
        UnknownIdError: there is no such report or review, or no graph was kept with the report.
        OutputError: the graph is larger than such files may be.
        StoreError: as `load_review`.
    """
    from tracescribe.tracer.graph_json import dump

    state = load_review(store, case_id, review_id, reviewer)
    graph = whole_graph_of_case(store, case_id)
    if graph is None:
        raise UnknownIdError(
            f"no graph was kept with the report of case {case_id}; export the gold or the page instead"
        )
    return dump(graph_document(graph, state), Path("graph.json"))


def graph_document(graph: AttributionGraph, state: ReviewState) -> dict[str, Any]:
    """A graph as a JSON document with what a review says of it; a rejected supernode is not in it.

    Every label is its node's; `clerps`, which are what a person says, has those that the reviewer stands by. Embeddings and
    outputs are pinned so that graph pages show the links, and named as such, so that nobody takes them for chosen.
    """
    from tracescribe.evals.gold.neuronpedia import PINNED_ENDS
    from tracescribe.tracer.graph_json import to_json

    texts = {f"{one.layer}_{one.feature}": one.text for one in state.labels if one.decision != "rejected"}
    labels = {
        node: texts[feature]
        for node in graph.node_ids
        if (feature := node.rpartition("_")[0]) in texts and not node.startswith("E_")
    }
    named = tuple(labels.get(node, label) for node, label in zip(graph.node_ids, graph.labels, strict=True))
    document = to_json(replace(graph, labels=named))
    standing = [one for one in state.supernodes if stands(one)]
    pins = [node for node in dict.fromkeys(node for one in standing for node in one.members) if node in graph.index_of]
    named_ends = {end for edge in holding_links(state) for end in (edge.source, edge.destination)}
    ends = [node for node in graph.node_ids if node in named_ends]
    document["metadata"] = {**document["metadata"], PINNED_ENDS: ends}
    document["qParams"] = {
        **document["qParams"],
        "pinnedIds": [*pins, *ends],
        "supernodes": [[one.label, *one.members] for one in standing],
        "clerps": [[node, text] for node, vouched in vouched_labels(state).items() for text in vouched],
        "clickedId": "",
    }
    return document


def review_html(
    store: Store, case_id: str, review_id: str | None, reviewer: str, *, evidence: EvidenceLookup | None = None
) -> bytes:
    """The report's page with the review as a section of its own: one file that loads nothing and runs nothing.

    Args:
        evidence: where example contexts come from, for reports that were stored without a page.

    Raises:
        UnknownIdError, StoreError: as `load_review`.
    """
    from tracescribe.agents.rendering import render_html
    from tracescribe.runs.review.page import with_review

    state = load_review(store, case_id, review_id, reviewer)
    stored = report_of_case(store, case_id)
    sha256 = artefacts_of_case(store, case_id).get(PAGE_FILE)
    if sha256 is not None:
        page = store.artefacts.read(sha256).decode("utf-8", "replace")
    else:
        page = render_html(stored.report, graph_of_case(store, case_id), evidence=evidence)
    return with_review(page, stored.report, state).encode()


def circuit_svg(store: Store, case_id: str, review_id: str | None, reviewer: str) -> bytes:
    """The circuit as the review has it, as a drawing of its own.

    Raises:
        UnknownIdError, StoreError: as `load_review`.
    """
    from tracescribe.agents.rendering import render_svg

    state = load_review(store, case_id, review_id, reviewer)
    report = report_of_case(store, case_id).report
    return render_svg(drawn_report(report, state), graph_of_case(store, case_id)).encode()


def drawn_report(report: CircuitReport, state: ReviewState) -> CircuitReport:
    """A report with the supernodes and links of a review, for drawing alone: its log does not know of them.

    Claims about supernodes with other members than the report's are left out: they were tested on those that it had.
    """
    from tracescribe.agents.claims import SufficiencyClaim, supernodes_of
    from tracescribe.agents.findings import Supernode, SupernodeEdge

    before = {one.supernode_id: one for one in report.supernodes}
    supernodes = []
    for one in state.supernodes:
        if not stands(one):
            continue
        changed = {"label": one.label, "role": one.role, "members": _members(one.members), "rejected": False}
        if one.changed:  # what was measured was measured of other members
            changed |= {"influence": None, "quality": None}
        # not checked: the id of a supernode that the review made is none that a report may have
        drawn = before.get(one.supernode_id) or Supernode.model_construct(supernode_id=one.supernode_id)
        supernodes.append(drawn.model_copy(update=changed))
    edges = [
        SupernodeEdge(
            source=edge.source,
            destination=edge.destination,
            weight=edge.sign * (_ADDED_WEIGHT if edge.weight is None else abs(edge.weight)),
        )
        for edge in holding_links(state)
    ]
    regrouped = {one.supernode_id for one in state.supernodes if one.changed}
    claims = tuple(
        claim
        for claim in report.claims
        if isinstance(claim, SufficiencyClaim) or not regrouped & set(supernodes_of(claim))
    )
    return report.model_copy(update={"supernodes": tuple(supernodes), "edges": tuple(edges), "claims": claims})


def _members(nodes: tuple[str, ...]) -> tuple[Any, ...]:
    from tracescribe.agents.claims import FeatureAt

    found = []
    for node in nodes:
        layer, feature, position = (int(part) for part in node.split("_"))
        found.append(FeatureAt(layer=layer, feature=feature, position=position))
    return tuple(found)


def _json(document: Any) -> bytes:
    return (json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()
