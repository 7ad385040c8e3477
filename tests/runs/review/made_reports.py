"""Reports of any shape, for the folding alone: they have supernodes, links, labels and claims, and no log."""

from __future__ import annotations

from itertools import pairwise

from tracescribe.agents.claims import FeatureAt, NecessityClaim
from tracescribe.agents.findings import FeatureLabel, Supernode, SupernodeEdge
from tracescribe.agents.report import CircuitReport, TargetLogit
from tracescribe.runs.review.drafts import GraphNodes

ENDS = GraphNodes(
    features=frozenset(f"{layer}_{feature}_{layer + 1}" for layer in range(3) for feature in range(6)),
    sources=frozenset({"E_5_1", "E_7_2"}),
    destinations=frozenset({"4_9_3"}),
)


def made_report(sizes: tuple[int, ...] = (3, 2, 1), rejected: int | None = None) -> CircuitReport:
    """Supernodes of these sizes, in a row of links.

    Args:
        rejected: number of the supernode that the report itself rejected.
    """
    nodes = sorted(ENDS.features)
    supernodes, at = [], 0
    for number, size in enumerate(sizes, start=1):
        members = [tuple(map(int, node.split("_"))) for node in nodes[at : at + size]]
        at += size
        supernodes.append(
            Supernode(
                supernode_id=f"s{number}",
                label=f"step {number}",
                role="intermediate",
                members=tuple(FeatureAt(layer=l, feature=f, position=p) for l, f, p in members),
                rejected=number == rejected,
            )
        )
    chain = ["E_5_1", *(one.supernode_id for one in supernodes), "4_9_3"]
    edges = [
        SupernodeEdge(source=source, destination=destination, weight=1.5 if number % 2 else -0.5)
        for number, (source, destination) in enumerate(pairwise(chain))
    ]
    labels = [FeatureLabel(layer=0, feature=f, text=f"word {f}", proposed_by="offline") for f in range(3)]
    claims = [
        NecessityClaim(claim_id=f"c{n}", statement="it needs it", supernode=one.supernode_id, target_token="Austin")
        for n, one in enumerate(supernodes, start=1)
    ]
    # what a review never looks at is left out, so the report is not checked
    return CircuitReport.model_construct(
        report_id="made",
        prompt="a prompt",
        targets=(TargetLogit(node_id="4_9_3", token="Austin", probability=0.9),),
        labels=tuple(labels),
        supernodes=tuple(supernodes),
        edges=tuple(edges),
        claims=tuple(claims),
        importance=(),
    )
