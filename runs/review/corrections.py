"""A review as corrections of its report, which is what gold is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracescribe.evals.gold.parts import GoldEdge
from tracescribe.evals.gold.reviewed import Corrections, NewSupernode
from tracescribe.runs.review.act_words import named

if TYPE_CHECKING:
    from tracescribe.runs.review.states import EdgeState, LabelState, ReviewState, SupernodeState

MAX_NOTES = 1_000
"""Comments that go into gold."""


def stands(supernode: SupernodeState) -> bool:
    """Whether the reviewer counts a supernode as part of the circuit.

    One that the report itself rejected stands only where the reviewer accepted it, or put more into it.
    """
    if supernode.gone or supernode.decision == "rejected":
        return False
    return not supernode.rejected_by_report or supernode.decision == "accepted" or _grew(supernode)


def corrections_of(state: ReviewState) -> Corrections:
    """What a reviewer changed in a report; what they let stand is not named.

    Labels of single features are named where the reviewer accepted or wrote them. Comments become notes.
    """
    old = [one for one in state.supernodes if one.label_before is not None]
    standing = {one.supernode_id for one in state.supernodes if stands(one)}
    kept = [one for one in old if one.supernode_id in standing]
    new = [one for one in state.supernodes if one.label_before is None and one.supernode_id in standing]
    return Corrections(
        labels={one.supernode_id: one.label for one in kept if one.label != one.label_before},
        members={
            one.supernode_id: one.members for one in kept if one.members != one.members_before or one.rejected_by_report
        },
        removed=tuple(
            one.supernode_id for one in old if one.supernode_id not in standing and not one.rejected_by_report
        ),
        roles={one.supernode_id: one.role for one in kept if one.role != one.role_before},
        new=tuple(
            NewSupernode(supernode_id=one.supernode_id, label=one.label, role=one.role, members=one.members)
            for one in new
        ),
        edges=_edges(state),
        edges_known=links_known(state),
        node_labels=vouched_labels(state),
        undecided=state.undecided,
        notes=tuple(f"{named(one.target, state)}: {one.text}" for one in state.comments[:MAX_NOTES]),
    )


def _grew(supernode: SupernodeState) -> bool:
    return bool(set(supernode.members) - set(supernode.members_before))


def holding_links(state: ReviewState) -> list[EdgeState]:
    """Links that hold between what stands: what nobody rejected, and nothing of which it is not known any more."""
    out = {one.supernode_id for one in state.supernodes if not stands(one)}
    return [
        edge
        for edge in state.edges
        if edge.decision != "rejected" and not edge.stale and not {edge.source, edge.destination} & out
    ]


def _edges(state: ReviewState) -> tuple[GoldEdge, ...] | None:
    """Links that hold; None where the reviewer left the report's as they are."""
    as_reported = all(edge.decision != "rejected" and edge.sign == edge.sign_before for edge in state.edges)
    if as_reported and not any(one.changed for one in state.supernodes):
        return None
    return tuple(
        GoldEdge(source=edge.source, destination=edge.destination, sign=edge.sign) for edge in holding_links(state)
    )


def links_known(state: ReviewState) -> bool:
    """Whether all links are known between what stands; without a graph those of regrouped supernodes are not."""
    return state.graph_kept or not any(one.changed and stands(one) for one in state.supernodes)


def vouched_labels(state: ReviewState) -> dict[str, tuple[str, ...]]:
    """Labels that the reviewer stands by, for every place where the feature fires in a supernode."""
    labels = {(label.layer, label.feature): label.text for label in state.labels if _is_vouched(label)}
    if not labels:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for supernode in state.supernodes:
        for node in supernode.members if stands(supernode) else ():
            layer, feature, _ = node.split("_")
            text = labels.get((int(layer), int(feature)))
            if text is not None:
                found[node] = (text,)
    return found


def _is_vouched(label: LabelState) -> bool:
    if label.decision == "rejected":
        return False
    return label.decision == "accepted" or label.text != label.text_before
