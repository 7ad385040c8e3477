"""What a language model is shown of a circuit: prompt, groups, supernodes, edges, donors, verdicts, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.agent import Findings
from tracescribe.agents.claims import FeatureAt, supernodes_of
from tracescribe.agents.findings import CircuitEffect, FeatureLabel, Measurement, Supernode
from tracescribe.agents.grouping.circuit_edges import circuit_edges
from tracescribe.agents.labelling.predicates import in_words
from tracescribe.agents.llm.case_view import CaseView, Json, short, short_token
from tracescribe.agents.llm.ids import node_id
from tracescribe.agents.survey import Survey
from tracescribe.agents.testing.donors import Donor
from tracescribe.tracer.graph import FeatureRef
from tracescribe.tracer.profiles import similarity


def prompt_tokens(survey: Survey) -> list[Json]:
    """The prompt, token by token."""
    return [{"position": position, "token": short_token(token)} for position, token in enumerate(survey.full.tokens)]


def prompt_outputs(survey: Survey) -> list[Json]:
    """The model's most probable next tokens."""
    return [{"token": short_token(target.token), "probability": short(target.probability)} for target in survey.targets]


def groups_as_data(
    view: CaseView, candidates: Sequence[Supernode], labels: Mapping[FeatureRef, FeatureLabel]
) -> list[Json]:
    """Candidate groups with their members' labels, how well they agree, and what feeds and is fed by each as a whole."""
    described: list[Json] = []
    for group in candidates:
        rows = [view.facts.row_of[member.node] for member in group.members]
        fed = view.facts.profiles.inputs[rows].mean(axis=0)
        feeds = view.facts.profiles.outputs[rows].sum(axis=0)
        best = int(np.argmax(np.abs(feeds)))
        likeness = _likeness(view, rows)
        described.append(
            {
                **_supernode(view, group),
                "agreement": None if likeness is None else short(float(likeness.mean())),
                "members": [
                    _member(m, labels.get(m.ref)) | ({} if likeness is None else {"likeness": short(likeness[number])})
                    for number, m in enumerate(group.members[: view.settings.members])
                ],
                "members_not_shown": max(0, len(group.members) - view.settings.members),
                "fed_by": [view.token_at(int(p)) for p in np.argsort(-np.abs(fed), kind="stable")[:3]],
                "feeds_most": {"output": view.output(best), "effect": short(feeds[best])},
            }
        )
    return described


def _likeness(view: CaseView, rows: Sequence[int]) -> NDArray[np.float64] | None:
    """Mean likeness of each member's profile to the other members', `[n]`; None for a single one."""
    if len(rows) < 2:
        return None
    profiles = view.facts.profiles
    alike = similarity(profiles.inputs[rows], profiles.outputs[rows], profiles.destinations[rows]).astype(np.float64)
    result: NDArray[np.float64] = (alike.sum(axis=1) - 1.0) / (len(rows) - 1)
    return result


def _member(member: FeatureAt, label: FeatureLabel | None) -> dict[str, Json]:
    described: dict[str, Json] = {"feature": node_id(member.node), "label": None if label is None else label.text}
    return described | ({"here": label.here} if label is not None and label.here else {})


def supernodes_as_data(view: CaseView, supernodes: Sequence[Supernode], *, members: bool = False) -> list[Json]:
    """Supernodes as claims may name them; with their members where these may be regrouped."""
    return [
        _supernode(view, s)
        | ({"members": [node_id(m.node) for m in s.members[: view.settings.members]]} if members else {})
        | ({"rejected": True} if s.rejected else {})
        for s in supernodes
    ]


def _supernode(view: CaseView, supernode: Supernode) -> dict[str, Json]:
    return {
        "id": supernode.supernode_id,
        "label": supernode.label,
        "role": supernode.role,
        "at": [view.token_at(p) for p in sorted({member.position for member in supernode.members})],
        "features": len(supernode.members),
        "influence": short(supernode.influence),
    }


def edges_as_data(survey: Survey, supernodes: Sequence[Supernode]) -> list[Json]:
    """Summed direct effects between supernodes."""
    ids = {supernode.supernode_id for supernode in supernodes}
    return [
        {"source": edge.source, "destination": edge.destination, "effect": short(edge.weight)}
        for edge in circuit_edges(survey.full, supernodes)
        if edge.source in ids and edge.destination in ids
    ]


def donors_as_data(donors: Mapping[str, tuple[Supernode, Donor]]) -> list[Json]:
    """Possible swaps by donor id."""
    return [
        {
            "id": donor_id,
            "supernode": supernode.supernode_id,
            "donor_prompt": donor.prompt,
            "other_words": donor.words,
            "models_answer_to_it": short_token(donor.expected_token),
            "probability": short(donor.probability),
        }
        for donor_id, (supernode, donor) in donors.items()
    ]


def labels_as_data(labels: Sequence[FeatureLabel]) -> list[Json]:
    """Labels whose predicate can be tested.

    Their scores are left out: they come from the half of the corpus that a label claim is tested on.
    """
    return [
        {"feature": f"{label.layer}/{label.feature}", "label": label.text, "predicate": in_words(label.predicate)}
        for label in labels
        if label.predicate is not None
    ]


def verdicts_as_data(findings: Findings) -> list[Json]:
    """What was claimed, measured and ruled so far, with interval and controls."""
    claims = {claim.claim_id: claim for claim in findings.claims}
    measured = _by_claim(findings)
    rows: list[Json] = []
    for verdict in findings.verdicts:
        claim, measurement = claims.get(verdict.claim_id), measured.get(verdict.claim_id)
        rows.append(
            {
                "claim": verdict.claim_id if claim is None else claim.statement,
                "kind": None if claim is None else claim.kind,
                "about": [] if claim is None else list(supernodes_of(claim)),
                "effect": _short(verdict.effect),
                "needed": _short(verdict.threshold),
                "interval": None
                if verdict.interval is None
                else [short(verdict.interval.low), short(verdict.interval.high)],
                "controls_mean": None if measurement is None else _mean(measurement.control_effects),
                "controls": verdict.n_controls,
                "q": _short(verdict.q_value),
                "doses": [] if measurement is None else _doses(measurement),
                "verdict": verdict.outcome,
                "reason": verdict.reason,
            }
        )
    return rows


def circuit_as_data(circuit: CircuitEffect | None) -> Json:
    """Necessity and sufficiency of the circuit as a whole, beside random circuits of the same size."""
    if circuit is None:
        return "not measured"
    return {
        "answer": circuit.target,
        "against": circuit.foil,
        "features": circuit.n_features,
        "active_features": circuit.n_active,
        "sufficiency": short(circuit.sufficiency),
        "random_sufficiency": _mean(circuit.random_sufficiency),
        "sufficiency_p": _short(circuit.sufficiency_p),
        "necessity": short(circuit.necessity),
        "random_necessity": _mean(circuit.random_necessity),
        "necessity_p": _short(circuit.necessity_p),
    }


def _by_claim(findings: Findings) -> dict[str, Measurement]:
    """Measurements by claim; a plan's id is its claim's with `p-` before it."""
    return {measurement.plan_id.removeprefix("p-"): measurement for measurement in findings.measurements}


def _doses(measurement: Measurement) -> list[Json]:
    return [{"multiplier": point.multiplier, "effect": short(point.effect)} for point in measurement.doses]


def _mean(values: Sequence[float]) -> float | None:
    return short(sum(values) / len(values)) if values else None


def _short(value: float | None) -> float | None:
    return None if value is None else short(value)
