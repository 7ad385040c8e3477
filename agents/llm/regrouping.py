"""New supernodes and claims in answer to verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracescribe.agents.agent import Findings, Revision
from tracescribe.agents.claims import Claim, supernodes_of
from tracescribe.agents.findings import FeatureLabel, Role, Supernode
from tracescribe.agents.grouping.supernodes import GroupSettings, role_of
from tracescribe.agents.llm.answers import (
    ClaimAnswer,
    EdgeAnswer,
    NecessityAnswer,
    RevisionAnswer,
    SteeringAnswer,
    SufficiencyAnswer,
)
from tracescribe.agents.llm.case_view import CaseView, Json, short
from tracescribe.agents.llm.claiming import Offer, known_of
from tracescribe.agents.llm.groups import Members, new_supernodes
from tracescribe.agents.llm.ids import node_id
from tracescribe.agents.llm.settings import LlmAgentSettings
from tracescribe.agents.llm.told import told
from tracescribe.agents.llm.typed_claims import checked_claims
from tracescribe.agents.stopping import COMPLETE_SUFFICIENCY
from tracescribe.tracer.graph import FeatureNode, FeatureRef

MAX_FREE = 40
"""Features outside every supernode that are shown; what carries less influence seldom decides anything."""


def members_of(view: CaseView, labels: Sequence[FeatureLabel], nodes: Sequence[FeatureNode] | None = None) -> Members:
    """Features that may be grouped, with the role that the graph shows; the surveyed ones where none are given."""
    by_ref = {FeatureRef(label.layer, label.feature): label for label in labels}
    chosen = view.survey.features if nodes is None else nodes
    settings = GroupSettings()
    roles: dict[FeatureNode, Role] = {
        node: role_of(view.tools, view.facts, node, by_ref.get(node.ref), settings) for node in chosen
    }
    return Members(roles, view.survey.influence)


def worth_revising(findings: Findings) -> bool:
    """Whether there is anything to answer: a claim that was not supported, or a circuit that does not carry the answer."""
    if any(verdict.outcome in ("refuted", "inconclusive") for verdict in findings.verdicts):
        return True
    incomplete = findings.circuit is not None and findings.circuit.sufficiency < COMPLETE_SUFFICIENCY
    return incomplete and any(verdict.outcome == "supported" for verdict in findings.verdicts)


def free_features(view: CaseView, findings: Findings) -> list[Json]:
    """The most influential surveyed features that are in no supernode."""
    grouped = {member.node for supernode in findings.supernodes for member in supernode.members}
    labels = {FeatureRef(label.layer, label.feature): label.text for label in findings.labels}
    free = [node for node in view.survey.features if node not in grouped]
    return [
        {
            "feature": node_id(node),
            "at": view.token_at(node.position),
            "label": labels.get(node.ref),
            "influence": short(view.survey.influence[node]),
        }
        for node in free[:MAX_FREE]
    ]


def regrouped(
    view: CaseView, answer: RevisionAnswer, offer: Offer, findings: Findings, settings: LlmAgentSettings
) -> Revision:
    """New supernodes, claims on them and on old ones, and what was dropped and why.

    A new supernode that no claim is about would change nothing and is left out.
    """
    nodes = sorted({*view.survey.features, *(m.node for s in findings.supernodes for m in s.members)})
    made, faults = new_supernodes(
        answer.supernodes,
        members_of(view, findings.labels, nodes),
        view.tools.new_supernode_id,
        existing=findings.supernodes,
        most=settings.max_revised_claims,
    )
    known = known_of(view, findings.labels, (*findings.supernodes, *made.values()), offer.known.donors)
    ids = {given: supernode.supernode_id for given, supernode in made.items()}
    claims, dropped = checked_claims(
        view,
        [renamed(claim, lambda i: ids.get(i, i)) for claim in answer.claims],
        known,
        settings.max_revised_claims,
        earlier=findings.claims,
    )
    supernodes = claimed_only(tuple(made.values()), claims)
    unused = len(made) - len(supernodes)
    idle = [f"{unused} new supernodes that no claim is about were left out"] if unused else []
    return Revision(supernodes, claims, told("revise", [*faults, *(f"proposed {fault}" for fault in dropped), *idle]))


def claimed_only(supernodes: Sequence[Supernode], claims: Sequence[Claim]) -> tuple[Supernode, ...]:
    """Those supernodes that some claim is about."""
    named = {supernode_id for claim in claims for supernode_id in supernodes_of(claim)}
    return tuple(supernode for supernode in supernodes if supernode.supernode_id in named)


def renamed(claim: ClaimAnswer, named: Callable[[str], str]) -> ClaimAnswer:
    """The claim with the answer's own supernode ids replaced by ours."""
    match claim:
        case NecessityAnswer() | SteeringAnswer():
            return claim.model_copy(update={"supernode": named(claim.supernode)})
        case SufficiencyAnswer():
            return claim.model_copy(update={"supernodes": [named(i) for i in claim.supernodes]})
        case EdgeAnswer():
            return claim.model_copy(update={"source": named(claim.source), "destination": named(claim.destination)})
        case _:
            return claim
