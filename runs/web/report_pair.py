"""Two reports on one prompt, held against each other: supernodes by shared members, labels, links, claims, cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracescribe.runs.job_results.report_differences import (
    circuit_features,
    group_likeness,
    jaccard,
    label_pairs,
    supernode_sets,
)
from tracescribe.runs.web.report_pair_told import (
    ClaimPair,
    ClaimTold,
    LabelPair,
    Likeness,
    LinkPair,
    ReportPair,
    SupernodePair,
    SupernodeTold,
)

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport

SAME = 0.5
"""Jaccard index from which two supernodes count as one when claims and links about them are compared."""
_OPPOSED = frozenset({("supported", "refuted"), ("refuted", "supported")})
_NOT_THE_QUESTION = frozenset(
    {"claim_id", "statement", "predicate", "donor_features", "min_effect", "min_auc", "min_recovered"}
)
"""Fields of a claim that two agents may set differently and still ask the same; of a label the predicate is the question."""
_SUPERNODES = frozenset({"supernode", "supernodes", "source", "destination"})

Member = tuple[int, int, int]
"""Layer, position, feature."""


def compare_pair(a: CircuitReport, b: CircuitReport) -> ReportPair:
    """Hold two reports on one prompt against each other."""
    one, other = a.model_dump(mode="json"), b.model_dump(mode="json")
    same = a.provenance.transcoder_sha256 == b.provenance.transcoder_sha256
    pairs = _supernode_pairs(one, other) if same else _unpaired(one, other)
    as_first = {
        pair.b.supernode_id: pair.a.supernode_id
        for pair in pairs
        if pair.a and pair.b and (pair.jaccard or 0.0) >= SAME
    }
    names = _Names(as_first)
    return ReportPair(
        same_features=same,
        likeness=Likeness(
            features=jaccard(circuit_features(one), circuit_features(other)) if same else None,
            groups=group_likeness(supernode_sets(one), supernode_sets(other)) if same else None,
            labels=jaccard(label_pairs(one), label_pairs(other)) if same else None,
        ),
        supernodes=pairs,
        labels=_label_pairs(one, other) if same else (),
        links=_link_pairs(one, other, names),
        claims=_claim_pairs(one, other, names),
    )


class _Names:
    """What things of the second report are called in the first: matched supernodes by their partner's id.

    Args:
        as_first: id of a supernode of the second report -> id of its partner.
    """

    def __init__(self, as_first: Mapping[str, str]) -> None:
        self._as_first = as_first

    def of(self, name: str, second: bool, supernodes: frozenset[str]) -> str:
        """One name for what is one thing; what has no partner keeps a name that nothing else has."""
        if name not in supernodes:
            return name  # a token's or an answer's node: the same in both
        if not second:
            return f"a {name}"
        return f"a {self._as_first[name]}" if name in self._as_first else f"b {name}"


def _ids(report: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(one["supernode_id"] for one in report["supernodes"])


def _members(supernode: Mapping[str, Any]) -> frozenset[Member]:
    return frozenset((m["layer"], m["position"], m["feature"]) for m in supernode["members"])


def _told(supernode: Mapping[str, Any]) -> SupernodeTold:
    return SupernodeTold(
        supernode_id=supernode["supernode_id"],
        label=supernode["label"],
        role=supernode["role"],
        members=len(supernode["members"]),
        rejected=supernode["rejected"],
    )


def _supernode_pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[SupernodePair, ...]:
    """Partners such that the sum of Jaccard indices is largest; the most alike first, then those without."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    first, second = one["supernodes"], other["supernodes"]
    sets = [_members(node) for node in first], [_members(node) for node in second]
    likeness = np.array([[jaccard(x, y) or 0.0 for y in sets[1]] for x in sets[0]]).reshape(len(first), len(second))
    chosen = [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(-likeness), strict=True) if likeness[i, j] > 0]
    chosen.sort(key=lambda pair: -likeness[pair])
    pairs = [
        SupernodePair(
            a=_told(first[i]), b=_told(second[j]), shared=len(sets[0][i] & sets[1][j]), jaccard=float(likeness[i, j])
        )
        for i, j in chosen
    ]
    taken = {i for i, _ in chosen}, {j for _, j in chosen}
    pairs += [SupernodePair(a=_told(node), b=None) for i, node in enumerate(first) if i not in taken[0]]
    pairs += [SupernodePair(a=None, b=_told(node)) for j, node in enumerate(second) if j not in taken[1]]
    return tuple(pairs)


def _unpaired(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[SupernodePair, ...]:
    found = [SupernodePair(a=_told(node), b=None) for node in one["supernodes"]]
    return (*found, *(SupernodePair(a=None, b=_told(node)) for node in other["supernodes"]))


def _label_pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[LabelPair, ...]:
    """Features that either labels; those whose labels differ first."""
    texts = [
        {(label["layer"], label["feature"]): label["text"] for label in report["labels"]} for report in (one, other)
    ]
    pairs = [
        LabelPair(layer=key[0], feature=key[1], a=texts[0].get(key), b=texts[1].get(key))
        for key in sorted(texts[0].keys() | texts[1].keys())
    ]

    def rank(pair: LabelPair) -> int:
        return 1 if pair.a is None or pair.b is None else 2 if pair.a == pair.b else 0

    return tuple(sorted(pairs, key=rank))


def _link_pairs(one: Mapping[str, Any], other: Mapping[str, Any], names: _Names) -> tuple[LinkPair, ...]:
    """Links of either, the strongest first; ends are named as people read them."""
    words: dict[str, str] = {}
    found: list[dict[tuple[str, str], float]] = []
    for second, report in enumerate((one, other)):
        ids, weights = _ids(report), {}
        labels = {node["supernode_id"]: node["label"] for node in report["supernodes"]}
        labels |= {target["node_id"]: target["token"] for target in report["targets"]}
        for edge in report["edges"]:
            ends = [names.of(edge[end], bool(second), ids) for end in ("source", "destination")]
            for end, name in zip(("source", "destination"), ends, strict=True):
                words.setdefault(name, _end(edge[end], labels, report["tokens"]))
            weights[ends[0], ends[1]] = float(edge["weight"])
        found.append(weights)
    keys = found[0].keys() | found[1].keys()
    pairs = [(key, found[0].get(key), found[1].get(key)) for key in sorted(keys)]
    pairs.sort(key=lambda pair: -max(abs(pair[1] or 0.0), abs(pair[2] or 0.0)))
    return tuple(LinkPair(source=words[key[0]], destination=words[key[1]], a=x, b=y) for key, x, y in pairs)


def _end(node_id: str, labels: Mapping[str, str], tokens: Sequence[str]) -> str:
    """A supernode's label, an answer, or the token that an embedding's node id ends in the position of."""
    if node_id in labels:
        return labels[node_id]
    position = node_id.rpartition("_")[2]
    place = int(position) if position.isascii() and position.isdigit() else -1
    return f"token '{tokens[place]}'" if node_id.startswith("E_") and 0 <= place < len(tokens) else node_id


def _claim_pairs(one: Mapping[str, Any], other: Mapping[str, Any], names: _Names) -> tuple[ClaimPair, ...]:
    asked: list[dict[str, list[Mapping[str, Any]]]] = []
    for second, report in enumerate((one, other)):
        ids, by_question = _ids(report), dict[str, list[Mapping[str, Any]]]()
        for claim in report["claims"]:
            by_question.setdefault(_question(claim, names, bool(second), ids), []).append(claim)
        asked.append(by_question)
    verdicts = [{verdict["claim_id"]: verdict for verdict in report["verdicts"]} for report in (one, other)]
    pairs: list[ClaimPair] = []
    for question in dict.fromkeys((*asked[0], *asked[1])):
        first, second_claims = asked[0].get(question, []), asked[1].get(question, [])
        for place in range(max(len(first), len(second_claims))):
            x = first[place] if place < len(first) else None
            y = second_claims[place] if place < len(second_claims) else None
            kind = (x or y or {})["kind"]
            pairs.append(ClaimPair(kind=kind, a=_claim(x, verdicts[0]), b=_claim(y, verdicts[1])))
    return tuple(sorted(pairs, key=_rank))


def _question(claim: Mapping[str, Any], names: _Names, second: bool, ids: frozenset[str]) -> str:
    """What a claim asks, the same text for the same question of either report."""
    from tracescribe.tracer.provenance import canonical_json

    def resolved(value: Any) -> Any:
        if isinstance(value, str):
            return names.of(value, second, ids)
        return sorted(map(resolved, value)) if isinstance(value, Iterable) else value

    told = {
        name: resolved(value) if name in _SUPERNODES else value
        for name, value in claim.items()
        if name not in _NOT_THE_QUESTION or (name == "predicate" and claim["kind"] == "label")
    }
    return canonical_json(told)


def _claim(claim: Mapping[str, Any] | None, verdicts: Mapping[str, Mapping[str, Any]]) -> ClaimTold | None:
    if claim is None:
        return None
    verdict = verdicts.get(claim["claim_id"], {})
    return ClaimTold(
        claim_id=claim["claim_id"],
        statement=claim["statement"],
        outcome=verdict.get("outcome"),
        effect=verdict.get("effect"),
    )


def _rank(pair: ClaimPair) -> int:
    """Opposed verdicts, other differences, agreement, then what only one asks."""
    if pair.a is None or pair.b is None:
        return 3
    if (pair.a.outcome, pair.b.outcome) in _OPPOSED:
        return 0
    return 1 if pair.differs else 2
