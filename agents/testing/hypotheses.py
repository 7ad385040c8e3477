"""Claims from templates over the graph: what must be observed if the supernodes are what they seem to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    LabelClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
)
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.grouping.circuit_edges import circuit_edges
from tracescribe.agents.grouping.graph_facts import GraphFacts, graph_facts
from tracescribe.agents.labelling.labels import MIXED
from tracescribe.agents.labelling.predicates import in_words
from tracescribe.agents.survey import Survey
from tracescribe.agents.testing.donors import Donor, DonorSettings, find_donors
from tracescribe.tracer.graph import FeatureNode, FeatureRef

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

AMPLIFIED = 3.0
"""Multiplier of a claim that more of a supernode moves a token: within the grid of -4 to 4 that others steer by."""
INVERTED = -1.0
"""Multiplier of a claim that a supernode's opposite moves a token."""
MAX_HELP = 0.1
"""Share of its effect by which a supernode may help the answer and still be taken for a suppressor."""
MAX_PROBABILITY_TO_RAISE = 0.4
"""Probability up to which a token is claimed to be pushed up: a claim needs it to double, and it ends at 1."""


@dataclass(frozen=True)
class HypothesisSettings:
    """How many claims of each kind are made; the total stays near 25, since every claim makes the others' q larger.

    Attributes:
        max_necessity: supernodes, by influence, claimed to be necessary.
        max_swapped: supernodes, by influence, for which donors are looked for. Outputs are among them: a supernode that
            says the answer must say the donor's answer once it is the donor's.
        max_screened: supernodes with members that the screen brought in, for which donors are looked for besides.
        max_suppressing: supernodes, by influence, claimed to hold the answer down.
        max_edges: edges, by weight.
        max_labels: labels, by influence of their features.
        max_steered: supernodes that say an output token, or else lead to the answer, for which steering is claimed.
        min_edge_share: an edge is claimed if it is at least this share of what its destination receives.
        min_influence: supernodes below this influence are not claimed to do anything.
    """

    max_necessity: int = 6
    max_swapped: int = 5
    max_screened: int = 2
    max_suppressing: int = 2
    max_edges: int = 5
    max_labels: int = 5
    max_steered: int = 1
    min_edge_share: float = 0.2
    min_influence: float = 0.05

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return asdict(self)


def propose_claims(
    tools: CaseTools,
    survey: Survey,
    labels: Sequence[FeatureLabel],
    supernodes: Sequence[Supernode],
    settings: HypothesisSettings,
    donor_settings: DonorSettings,
) -> tuple[Claim, ...]:
    """All claims of a first round.

    Raises:
        BudgetExceededError: the forward passes are used up.
    """
    facts = graph_facts(survey.full)
    target = survey.target_token
    strong = [s for s in supernodes if s.influence >= settings.min_influence]
    brought_in = [s for s in supernodes if any(m.node in survey.screened for m in s.members)]
    claims: list[Claim] = []
    opposing = [s for s in strong if s.role == "suppressor" or (tools.can_test and opposes(facts, s))]
    for supernode in [s for s in strong if s not in opposing and s not in brought_in][: settings.max_necessity]:
        claims.append(necessity(tools, facts, supernode, target))
    if tools.can_test:
        movable = [s for s in strong if s.role != "suppressor" and s not in brought_in][: settings.max_swapped]
        for supernode in movable + brought_in[: settings.max_screened]:
            claims += [
                swap_claim(tools, facts, supernode, donor, target)
                for donor in find_donors(tools, facts, supernode, donor_settings)
            ]
    claims += [suppression(tools, facts, s, target) for s in opposing[: settings.max_suppressing]]
    claims += _steered(tools, survey, facts, [s for s in strong if s not in brought_in], settings)
    claims += _edges(tools, survey, strong, settings)
    if supernodes and _can_be_decided(tools, supernodes):
        claims.append(sufficiency(tools, supernodes, target))
    claims += _labels(tools, survey, labels, supernodes, settings)
    return tuple(claims)


def opposes(facts: GraphFacts, supernode: Supernode) -> bool:
    """Whether all that a supernode does, as far as the graph shows it, holds the answer down.

    Each direct effect counts by the sign with which its destination moves the answer: what drives the answer and its rival
    alike is no suppressor, though the graph's linear sum may come out negative.
    """
    moved = facts.moves_answer([facts.row_of[member.node] for member in supernode.members])
    hinders = float(-moved[moved < 0].sum())
    return hinders > 0 and float(moved[moved > 0].sum()) <= MAX_HELP * float(np.abs(moved).sum())


def place_of(facts: GraphFacts, supernode: Supernode) -> str:
    """Where a supernode stands, for people: the words of its positions."""
    positions = sorted({member.position for member in supernode.members})
    return " and ".join(f"'{facts.graph.tokens[p].strip()}'" for p in positions)


def necessity(tools: CaseTools, facts: GraphFacts, supernode: Supernode, target: str) -> NecessityClaim:
    """The answer needs this supernode."""
    return NecessityClaim(
        claim_id=tools.new_claim_id(),
        statement=(
            f"Switching off '{supernode.label}' (at {place_of(facts, supernode)}) at least halves the probability of "
            f"'{target.strip()}'."
        ),
        supernode=supernode.supernode_id,
        target_token=target,
    )


def swap_claim(tools: CaseTools, facts: GraphFacts, supernode: Supernode, donor: Donor, target: str) -> SwapClaim:
    """Replacing this supernode by the donor's counterpart gives the donor's answer."""
    return SwapClaim(
        claim_id=tools.new_claim_id(),
        statement=(
            f"Replacing '{supernode.label}' (at {place_of(facts, supernode)}) by what stands there for "
            f"'{donor.words}' turns the answer '{target.strip()}' into '{donor.expected_token.strip()}'."
        ),
        supernode=supernode.supernode_id,
        donor_prompt=donor.prompt,
        donor_features=donor.features,
        expected_token=donor.expected_token,
    )


def suppression(tools: CaseTools, facts: GraphFacts, supernode: Supernode, target: str) -> SteeringClaim:
    """A suppressor, amplified, holds the answer down."""
    return SteeringClaim(
        claim_id=tools.new_claim_id(),
        statement=(
            f"Tripling '{supernode.label}' (at {place_of(facts, supernode)}) at least halves the probability of "
            f"'{target.strip()}'."
        ),
        supernode=supernode.supernode_id,
        multiplier=3.0,
        expected_token=target,
        direction="down",
    )


def steering(
    tools: CaseTools,
    facts: GraphFacts,
    supernode: Supernode,
    multiplier: float,
    token: str,
    direction: Literal["up", "down"],
) -> SteeringClaim:
    """Pushing this supernode moves a token, and the more so the harder it is pushed."""
    moved = "doubles" if direction == "up" else "halves"
    return SteeringClaim(
        claim_id=tools.new_claim_id(),
        statement=(
            f"Multiplying '{supernode.label}' (at {place_of(facts, supernode)}) by {multiplier:g} at least {moved} the "
            f"probability of '{token.strip()}', step by step with the dose."
        ),
        supernode=supernode.supernode_id,
        multiplier=multiplier,
        expected_token=token,
        direction=direction,
    )


def sufficiency(tools: CaseTools, supernodes: Sequence[Supernode], target: str) -> SufficiencyClaim:
    """These supernodes alone give the answer."""
    return SufficiencyClaim(
        claim_id=tools.new_claim_id(),
        statement=(
            f"With every other feature switched off, {_groups(len(supernodes))} at least half of the probability of "
            f"'{target.strip()}'."
        ),
        supernodes=tuple(s.supernode_id for s in supernodes),
        target_token=target,
    )


def _groups(n: int) -> str:
    return "this one group alone keeps" if n == 1 else f"these {n} groups alone keep"


def _can_be_decided(tools: CaseTools, supernodes: Sequence[Supernode]) -> bool:
    """Whether a sufficiency claim can be tested: some member fires. Without weights nothing can be, and all is told."""
    if not tools.can_test:
        return True
    active = set(tools.active_features())
    return any(member.node in active for supernode in supernodes for member in supernode.members)


def _steered(
    tools: CaseTools, survey: Survey, facts: GraphFacts, supernodes: Sequence[Supernode], settings: HypothesisSettings
) -> list[SteeringClaim]:
    """Claims on what a push moves, where there is room for the token to move.

    An answer that the model half doubts can be pushed up: more of what says it must say it louder. One that it is sure of
    can only be pushed down: the step before it is turned round, from where it stands through nothing to its opposite.
    """
    target = survey.target_token
    probability = survey.targets[0].probability if survey.targets else 1.0
    if probability <= MAX_PROBABILITY_TO_RAISE:
        chosen = [s for s in supernodes if s.role == "output"] or [s for s in supernodes if s.role != "suppressor"]
        return [steering(tools, facts, s, AMPLIFIED, target, "up") for s in chosen[: settings.max_steered]]
    chosen = [s for s in supernodes if s.role == "intermediate"] or [s for s in supernodes if s.role == "input"]
    return [steering(tools, facts, s, INVERTED, target, "down") for s in chosen[: settings.max_steered]]


def _edges(
    tools: CaseTools, survey: Survey, supernodes: Sequence[Supernode], settings: HypothesisSettings
) -> list[EdgeClaim]:
    """Claims on the strongest positive edges between supernodes."""
    named = {s.supernode_id: s for s in supernodes}
    received = _received(survey, supernodes)
    found = [
        edge
        for edge in circuit_edges(survey.full, supernodes)
        if edge.source in named
        and edge.destination in named
        and edge.weight >= settings.min_edge_share * received[edge.destination]
    ]
    found.sort(key=lambda e: (-e.weight / received[e.destination], e.source, e.destination))
    return [
        EdgeClaim(
            claim_id=tools.new_claim_id(),
            statement=(
                f"'{named[edge.source].label}' drives '{named[edge.destination].label}': with the first switched off, "
                "the second loses at least a quarter of its activity."
            ),
            source=edge.source,
            destination=edge.destination,
        )
        for edge in found[: settings.max_edges]
    ]


def _received(survey: Survey, supernodes: Sequence[Supernode]) -> dict[str, float]:
    """Summed positive direct input of every supernode."""
    graph = survey.full
    received: dict[str, float] = {}
    for supernode in supernodes:
        members = {graph.node_of_feature[m.node] for m in supernode.members if m.node in graph.node_of_feature}
        mine = [t in members for t in graph.edges.target.tolist()]
        weights = graph.edges.weight[mine]
        received[supernode.supernode_id] = float(weights[weights > 0].sum()) or 1.0
    return received


def _labels(
    tools: CaseTools,
    survey: Survey,
    labels: Sequence[FeatureLabel],
    supernodes: Sequence[Supernode],
    settings: HypothesisSettings,
) -> list[LabelClaim]:
    """Claims on the labels of the most influential members, one for each feature."""
    by_ref = {FeatureRef(label.layer, label.feature): label for label in labels}
    members: list[FeatureNode] = [m.node for s in supernodes for m in s.members]
    members.sort(key=lambda node: (-survey.influence.get(node, 0.0), node))
    claims: list[LabelClaim] = []
    claimed: set[FeatureRef] = set()
    for node in members:
        label = by_ref.get(node.ref)
        if label is None or label.predicate is None or label.text.startswith(MIXED) or node.ref in claimed:
            continue
        claimed.add(node.ref)
        claims.append(
            LabelClaim(
                claim_id=tools.new_claim_id(),
                statement=f"Feature {node.ref} fires where {in_words(label.predicate)}, and hardly elsewhere.",
                layer=node.layer,
                feature=node.feature,
                predicate=label.predicate,
            )
        )
        if len(claims) == settings.max_labels:
            break
    return claims
