"""A case as an agent from outside is given it: the blinded graph, what the corpus says of its features, and the budget."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from tracescribe.agents.claims import Frozen
from tracescribe.agents.external.answers import SCHEMA_ID
from tracescribe.agents.reporting.assembly import graph_sha256
from tracescribe.agents.survey import Survey
from tracescribe.tracer.graph import AttributionGraph, FeatureRef, NodeKind

if TYPE_CHECKING:
    from tracescribe.agents.budget import Meter
    from tracescribe.agents.case_tools import CaseTools

MAX_LINKS = 200_000
"""Links that are given, strongest first: more of them than pruning ever keeps, in some 10 MB."""
MAX_CONTEXTS = 8
"""Contexts of each feature in the case itself; `evidence` asks for all of them."""
MAX_WORDS = 8
"""Raised and lowered tokens of each feature."""
MAX_TOKEN_CHARS = 160
_KINDS: dict[int, Literal["feature", "error", "embedding", "logit"]] = {
    NodeKind.FEATURE: "feature",
    NodeKind.ERROR: "error",
    NodeKind.EMBEDDING: "embedding",
    NodeKind.LOGIT: "logit",
}


class CaseTarget(Frozen):
    """An output token that the graph explains."""

    node: str
    token: str
    probability: float


class CaseNode(Frozen):
    """A node of the graph.

    Attributes:
        layer: -1 for tokens, the number of layers for outputs.
        feature: index within its layer; None for what is no feature.
        influence: of a feature, the share of the output that passes through it, 0 to 1.
        kept: whether pruning keeps it.
    """

    id: str
    kind: Literal["feature", "error", "embedding", "logit"]
    layer: int
    position: int
    feature: int | None = None
    activation: float | None = None
    influence: float | None = None
    kept: bool = True


class CaseEvidence(Frozen):
    """What the corpus scan says of one feature.

    Attributes:
        density: share of the corpus's tokens on which it fires.
        contexts: in which it fires, strongest first, tokens with activations.
        raises, lowers: output tokens, strongest first.
    """

    density: float
    contexts: tuple[tuple[tuple[str, float], ...], ...]
    raises: tuple[str, ...]
    lowers: tuple[str, ...]


class CaseBudget(Frozen):
    """What may still be spent; None where there is no limit.

    Attributes:
        seconds: until the answer must have come.
        forward_passes: of the studied model, for questions and for the tests of the claims together.
        claims: that are tested.
        questions: that may be asked.
    """

    seconds: float | None
    forward_passes: int | None
    claims: int
    questions: int
    llm_calls: int | None
    tokens: int | None
    usd: float | None


class ExternalCase(Frozen):
    """One case.

    Attributes:
        case: hash of the graph: the same graph has the same name in every run.
        links: source, destination, weight (the direct effect on the destination); strongest `MAX_LINKS`.
        links_left_out: weaker ones that are not given.
        evidence: by `layer/feature`, of the features that pruning keeps; empty without a corpus scan.
        untestable: why no claim can be tested; None where claims can.
    """

    schema_id: Literal["tracescribe-external/1"] = Field(default=SCHEMA_ID, alias="schema")
    case: str
    prompt: str
    tokens: tuple[str, ...]
    targets: tuple[CaseTarget, ...]
    nodes: tuple[CaseNode, ...]
    links: tuple[tuple[str, str, float], ...]
    links_left_out: int = 0
    evidence: dict[str, CaseEvidence]
    untestable: str | None
    budget: CaseBudget


def case_document(tools: CaseTools, survey: Survey, seconds: float, claims: int, questions: int) -> ExternalCase:
    """The case of one survey.

    Args:
        seconds: until the answer must have come.
        claims: that are tested.
        questions: that may be asked.
    """
    graph = survey.full
    links, left_out = _links(graph)
    refs = list(dict.fromkeys(node.ref for node in survey.features))
    evidence = {str(ref): found for ref in refs if (found := feature_evidence(tools, ref, MAX_CONTEXTS)) is not None}
    return ExternalCase(
        schema=SCHEMA_ID,
        case=graph_sha256(graph)[:16],
        prompt=graph.prompt,
        tokens=graph.tokens,
        targets=tuple(
            CaseTarget(node=t.node_id, token=t.token[:MAX_TOKEN_CHARS], probability=t.probability)
            for t in survey.targets
        ),
        nodes=_nodes(survey),
        links=links,
        links_left_out=left_out,
        evidence=evidence,
        untestable=tools.why_untestable(),
        budget=_budget(tools.meter, seconds, claims, questions),
    )


def feature_evidence(tools: CaseTools, ref: FeatureRef, most: int) -> CaseEvidence | None:
    """What the corpus scan says of a feature; None where it says nothing."""
    found = tools.evidence(ref)
    if found is None:
        return None
    return CaseEvidence(
        density=found.density,
        contexts=tuple(
            tuple((token, round(float(value), 4)) for token, value in zip(c.tokens, c.activations, strict=True))
            for c in found.contexts[:most]
        ),
        raises=tuple(effect.token for effect in found.promoted[:MAX_WORDS]),
        lowers=tuple(effect.token for effect in found.suppressed[:MAX_WORDS]),
    )


def _nodes(survey: Survey) -> tuple[CaseNode, ...]:
    graph, table = survey.full, survey.full.nodes
    kept = set(survey.graph.node_ids)
    found = []
    for index, node_id in enumerate(graph.node_ids):
        is_feature = table.kind[index] == NodeKind.FEATURE
        found.append(
            CaseNode(
                id=node_id,
                kind=_KINDS[int(table.kind[index])],
                layer=int(table.layer[index]),
                position=int(table.position[index]),
                feature=int(table.feature[index]) if is_feature else None,
                activation=_number(float(table.activation[index])),
                influence=_number(survey.influence.get(graph.feature_node(index), 0.0)) if is_feature else None,
                kept=node_id in kept,
            )
        )
    return tuple(found)


def _links(graph: AttributionGraph) -> tuple[tuple[tuple[str, str, float], ...], int]:
    edges, ids = graph.edges, graph.node_ids
    usable = np.flatnonzero(np.isfinite(edges.weight) & (edges.weight != 0))
    if len(usable) > MAX_LINKS:
        strongest = np.argsort(-np.abs(edges.weight[usable]), kind="stable")[:MAX_LINKS]
        chosen = np.sort(usable[strongest])
    else:
        chosen = usable
    links = tuple(
        (ids[int(source)], ids[int(target)], float(weight))
        for source, target, weight in zip(edges.source[chosen], edges.target[chosen], edges.weight[chosen], strict=True)
    )
    return links, len(usable) - len(chosen)


def _budget(meter: Meter, seconds: float, claims: int, questions: int) -> CaseBudget:
    budget = meter.budget
    passes = None if budget.forward_passes is None else max(0, budget.forward_passes - meter.forward_passes)
    return CaseBudget(
        seconds=seconds,
        forward_passes=passes,
        claims=claims,
        questions=questions,
        llm_calls=budget.llm_calls,
        tokens=budget.tokens,
        usd=budget.usd,
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
