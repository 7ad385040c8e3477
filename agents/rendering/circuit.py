"""What the drawing shows, before any geometry: prompt tokens, steps (supernodes), outputs, and links between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median_low

from tracescribe.agents.claims import Claim, EdgeClaim, SufficiencyClaim, supernodes_of
from tracescribe.agents.findings import Outcome, Role, Supernode, SupernodeEdge
from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.agents.report import CircuitReport
from tracescribe.tracer.graph import AttributionGraph, NodeKind

OUTCOMES: tuple[Outcome, ...] = ("supported", "refuted", "inconclusive", "untested")
MAX_OUTPUTS = 4
"""Output tokens drawn; further ones are in the list of answers above the drawing."""
MAX_LINKS = 48
"""Links drawn, strongest first; beyond it lines can no longer be told apart. The table of links has them all."""


@dataclass(frozen=True)
class Token:
    """A prompt token at its position."""

    node: str
    position: int
    text: str


@dataclass(frozen=True)
class Step:
    """A supernode as drawn.

    Attributes:
        position: token position on which it stands: the one that most of its members share.
        layer: middle layer of its members, which decides its height.
        layers: lowest and highest layer of its members.
        outcomes: how many claims about it came out how, in the order of `OUTCOMES`; none left out.
        influence: None where nobody measured it of these members.
        rejected: whether it is a guess that failed, drawn faded.
    """

    node: str
    label: str
    role: Role
    position: int
    layer: int
    layers: tuple[int, int]
    influence: float | None
    outcomes: tuple[tuple[Outcome, int], ...]
    rejected: bool = False


@dataclass(frozen=True)
class Output:
    """An output token with its probability."""

    node: str
    text: str
    probability: float


@dataclass(frozen=True)
class Link:
    """A summed direct effect between two drawn things.

    Attributes:
        outcome: of the claim that this very connection matters, None where no claim says so.
        claim: id of that claim.
        faded: whether it starts or ends at a rejected step.
    """

    source: str
    destination: str
    weight: float
    outcome: Outcome | None = None
    claim: str | None = None
    faded: bool = False


@dataclass(frozen=True)
class Circuit:
    """Everything to draw. `undrawn` counts links of the report that are left out of the drawing."""

    tokens: tuple[Token, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Output, ...]
    links: tuple[Link, ...]
    undrawn: int


def step_position(supernode: Supernode) -> int:
    """The position that most members share; the later one on a tie, where more of the prompt has been read."""
    tally = Counter(member.position for member in supernode.members)
    return max(tally, key=lambda position: (tally[position], position))


def step_layers(supernode: Supernode) -> tuple[int, int]:
    """Lowest and highest layer of the members."""
    layers = [member.layer for member in supernode.members]
    return min(layers), max(layers)


def claims_about(report: CircuitReport, supernode_id: str) -> tuple[Claim, ...]:
    """Claims that speak of one step: all that name it but sufficiency, which is about the circuit as a whole."""
    return tuple(
        claim
        for claim in report.claims
        if not isinstance(claim, SufficiencyClaim) and supernode_id in supernodes_of(claim)
    )


def outcomes_of(report: CircuitReport, supernode_id: str) -> tuple[tuple[Outcome, int], ...]:
    """How the claims about one step came out: (outcome, count), only outcomes that occur."""
    verdict_of = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    tally = Counter(verdict_of[claim.claim_id] for claim in claims_about(report, supernode_id))
    return tuple((outcome, tally[outcome]) for outcome in OUTCOMES if tally[outcome])


def _tokens(report: CircuitReport, graph: AttributionGraph | None) -> tuple[Token, ...]:
    node_at: dict[int, str] = {}
    if graph is not None:
        for index in graph.of_kind(NodeKind.EMBEDDING):
            node_at[int(graph.nodes.position[index])] = graph.node_ids[int(index)]
    for edge in report.edges:
        kind, _, rest = edge.source.partition("_")
        position = rest.rpartition("_")[2]
        if kind == "E" and position.isdecimal():
            node_at.setdefault(int(position), edge.source)
    texts = report.tokens or (report.prompt,)
    return tuple(
        Token(node_at.get(position, f"token-{position}"), position, visible_token(text))
        for position, text in enumerate(texts)
    )


def _steps(report: CircuitReport) -> tuple[Step, ...]:
    last = max(0, len(report.tokens) - 1)
    return tuple(
        Step(
            node=supernode.supernode_id,
            label=visible_text(supernode.label).strip() or supernode.supernode_id,
            role=supernode.role,
            position=min(step_position(supernode), last),
            layer=median_low(member.layer for member in supernode.members),
            layers=step_layers(supernode),
            influence=supernode.influence,
            outcomes=outcomes_of(report, supernode.supernode_id),
            rejected=supernode.rejected,
        )
        for supernode in report.supernodes
    )


def _outputs(report: CircuitReport, edges: Iterable[SupernodeEdge]) -> tuple[Output, ...]:
    """The likeliest output, then those that something feeds, likeliest first."""
    fed = {edge.destination for edge in edges}
    ranked = sorted(report.targets, key=lambda target: (-target.probability, target.node_id))
    chosen = ranked[:1] + [target for target in ranked[1:] if target.node_id in fed]
    return tuple(
        Output(target.node_id, visible_token(target.token), target.probability) for target in chosen[:MAX_OUTPUTS]
    )


def _strongest(links: list[Link], limit: int) -> list[Link]:
    """At most `limit` links: first the strongest into and out of every end, then by strength."""
    ranked = sorted(links, key=lambda link: (-abs(link.weight), link.source, link.destination))
    seen: set[tuple[str, str]] = set()
    first: list[Link] = []
    rest: list[Link] = []
    for link in ranked:
        ends = {("out", link.source), ("in", link.destination)}
        (rest if ends <= seen else first).append(link)
        seen |= ends
    return (first + rest)[:limit]


def _links(report: CircuitReport, drawn: set[str]) -> list[Link]:
    verdict_of: Mapping[str, Outcome] = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    claim_of = {
        (claim.source, claim.destination): claim.claim_id for claim in report.claims if isinstance(claim, EdgeClaim)
    }
    rejected = {supernode.supernode_id for supernode in report.supernodes if supernode.rejected}
    links: list[Link] = []
    for edge in report.edges:
        if edge.source in drawn and edge.destination in drawn and edge.weight and edge.source != edge.destination:
            claim = claim_of.get((edge.source, edge.destination))
            outcome = verdict_of.get(claim) if claim else None
            faded = edge.source in rejected or edge.destination in rejected
            links.append(Link(edge.source, edge.destination, edge.weight, outcome, claim, faded))
    return links


def circuit_of(report: CircuitReport, graph: AttributionGraph | None = None) -> Circuit:
    """Choose what the drawing shows.

    Args:
        report: a valid report.
        graph: the graph that it interprets; only helps to find prompt tokens by their node ids.
    """
    tokens, steps = _tokens(report, graph), _steps(report)
    outputs = _outputs(report, report.edges)
    drawn = {token.node for token in tokens} | {step.node for step in steps} | {output.node for output in outputs}
    links = _links(report, drawn)
    kept = _strongest(links, MAX_LINKS)
    return Circuit(tokens, steps, outputs, tuple(kept), undrawn=len(report.edges) - len(kept))
