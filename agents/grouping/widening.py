"""Widen a supernode by the features that stand where it stands, but that pruning had left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracescribe.agents.agent import Findings
from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import Supernode
from tracescribe.agents.grouping.graph_facts import GraphFacts
from tracescribe.agents.survey import Survey
from tracescribe.tracer.profiles import similarity
from tracescribe.tracer.prune import node_influence

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

MIN_LIKENESS = 0.5
"""Least likeness of attribution profiles to the nearest member, as in grouping."""
MIN_SHARE = 0.02
"""Least influence of a further member, as a share of the supernode's: smaller ones change nothing measurable."""
MIN_GAIN = 0.1
"""Least influence that all further members add, as a share of the supernode's: below it a second try is idle."""


def widened(
    tools: CaseTools, survey: Survey, facts: GraphFacts, supernode: Supernode, findings: Findings
) -> Supernode | None:
    """A new supernode with further members, or None where there are none.

    Features of the unpruned graph join if they stand at the same layers and positions, have a like attribution profile,
    and belong to no supernode yet.

    Raises:
        AttributionError: the graph has a cycle.
    """
    members = [member.node for member in supernode.members]
    places = {(node.layer, node.position) for node in members}
    taken = {member.node for other in findings.supernodes for member in other.members}
    further = [n for n in facts.row_of if (n.layer, n.position) in places and n not in taken]
    if not further:
        return None
    influence = node_influence(survey.full)
    weight = {n: float(influence[facts.profiles.nodes[facts.row_of[n]]]) for n in further}
    rows = [facts.row_of[n] for n in (*members, *further)]
    likeness = similarity(facts.profiles.inputs[rows], facts.profiles.outputs[rows], facts.profiles.destinations[rows])
    nearest = likeness[len(members) :, : len(members)].max(axis=1)
    joined = [
        n
        for n, like in zip(further, nearest, strict=True)
        if like >= MIN_LIKENESS and weight[n] >= MIN_SHARE * supernode.influence
    ]
    if sum(weight[n] for n in joined) < MIN_GAIN * supernode.influence:
        return None
    return Supernode(
        supernode_id=tools.new_supernode_id(),
        label=f"{supernode.label} (wider)",
        role=supernode.role,
        members=(*supernode.members, *(FeatureAt.of(n) for n in sorted(joined, key=lambda n: (-weight[n], n)))),
        influence=supernode.influence + sum(weight[n] for n in joined),
    )
