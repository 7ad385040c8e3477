"""What the drawing of the supernode graph needs beside the review: tokens, targets, single nodes, how claims came out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from tracescribe.agents.claims import EdgeClaim
from tracescribe.agents.findings import Outcome
from tracescribe.agents.rendering.circuit import OUTCOMES, claims_about
from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.tracer.graph import NodeKind

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.tracer.graph import AttributionGraph

MAX_LOOSE = 60
"""Feature nodes outside every supernode that are offered for grouping, most important first."""


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CircuitToken(_Shown):
    """A token of the prompt; `node_id` is its embedding's, None where the report knows none."""

    position: int
    text: str
    node_id: str | None


class CircuitTarget(_Shown):
    """An output token."""

    node_id: str
    text: str
    probability: float


class CircuitNode(_Shown):
    """A single node.

    Attributes:
        layer, position, feature: of a feature; of an embedding or a logit only what is known.
        importance: in the report's ranking, larger matters more; None where it is not ranked.
    """

    node_id: str
    kind: Literal["feature", "embedding", "logit"]
    layer: int
    position: int
    feature: int
    importance: float | None


class CircuitSupernode(_Shown):
    """What the report measured of a supernode."""

    supernode_id: str
    influence: float
    outcomes: dict[Outcome, int]


class CircuitEdgeClaim(_Shown):
    """A claim that one connection matters."""

    source: str
    destination: str
    claim_id: str
    outcome: Outcome


class CircuitData(_Shown):
    """Everything to draw but what the review decides."""

    case_id: str
    tokens: tuple[CircuitToken, ...]
    targets: tuple[CircuitTarget, ...]
    nodes: tuple[CircuitNode, ...]
    supernodes: tuple[CircuitSupernode, ...]
    edge_claims: tuple[CircuitEdgeClaim, ...]
    has_graph: bool


def circuit_data(case_id: str, report: CircuitReport, graph: AttributionGraph | None) -> CircuitData:
    """Collect it.

    Args:
        graph: that the report interprets; without it embeddings are not known.
    """
    verdict_of: dict[str, Outcome] = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    supernodes = []
    for supernode in report.supernodes:
        found = [verdict_of[claim.claim_id] for claim in claims_about(report, supernode.supernode_id)]
        tally = Counter(found)
        outcomes: dict[Outcome, int] = {outcome: tally[outcome] for outcome in OUTCOMES if tally[outcome]}
        supernodes.append(
            CircuitSupernode(supernode_id=supernode.supernode_id, influence=supernode.influence, outcomes=outcomes)
        )
    return CircuitData(
        case_id=case_id,
        tokens=_tokens(report, graph),
        targets=tuple(
            CircuitTarget(node_id=t.node_id, text=visible_token(t.token), probability=t.probability)
            for t in report.targets
        ),
        nodes=_nodes(report, graph),
        supernodes=tuple(supernodes),
        edge_claims=tuple(
            CircuitEdgeClaim(
                source=claim.source,
                destination=claim.destination,
                claim_id=claim.claim_id,
                outcome=verdict_of[claim.claim_id],
            )
            for claim in report.claims
            if isinstance(claim, EdgeClaim)
        ),
        has_graph=graph is not None,
    )


def _tokens(report: CircuitReport, graph: AttributionGraph | None) -> tuple[CircuitToken, ...]:
    node_at: dict[int, str] = {}
    if graph is not None:
        for index in graph.of_kind(NodeKind.EMBEDDING):
            node_at[int(graph.nodes.position[index])] = graph.node_ids[int(index)]
    for edge in report.edges:
        kind, _, rest = edge.source.partition("_")
        position = rest.rpartition("_")[2]
        if kind == "E" and position.isascii() and position.isdecimal():
            node_at.setdefault(int(position), edge.source)
    return tuple(
        CircuitToken(position=position, text=visible_token(text), node_id=node_at.get(position))
        for position, text in enumerate(report.tokens or (visible_text(report.prompt),))
    )


def _nodes(report: CircuitReport, graph: AttributionGraph | None) -> tuple[CircuitNode, ...]:
    """Members of supernodes, then what is important beside them, then embeddings and targets."""
    importance = {item.node.node_id: item.score for item in report.importance}
    wanted = {member.node_id: member for supernode in report.supernodes for member in supernode.members}
    n_members = len(wanted)
    ranked = sorted(report.importance, key=lambda item: (-item.score, item.node.node_id))
    for item in ranked:
        if len(wanted) >= n_members + MAX_LOOSE:
            break
        wanted.setdefault(item.node.node_id, item.node)
    nodes = [
        CircuitNode(
            node_id=node_id,
            kind="feature",
            layer=node.layer,
            position=node.position,
            feature=node.feature,
            importance=importance.get(node_id),
        )
        for node_id, node in wanted.items()
    ]
    if graph is not None:
        ends: tuple[tuple[NodeKind, Literal["embedding", "logit"]], ...] = (
            (NodeKind.EMBEDDING, "embedding"),
            (NodeKind.LOGIT, "logit"),
        )
        for kind, name in ends:
            nodes += [
                CircuitNode(
                    node_id=graph.node_ids[index],
                    kind=name,
                    layer=int(graph.nodes.layer[index]),
                    position=int(graph.nodes.position[index]),
                    feature=int(graph.nodes.feature[index]),
                    importance=None,
                )
                for index in map(int, graph.of_kind(kind))
            ]
    return tuple(nodes)
