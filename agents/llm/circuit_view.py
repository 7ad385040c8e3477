"""What a language model is shown of a circuit: prompt, groups, supernodes, edges, donors, verdicts, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tracescribe.agents.circuit_edges import circuit_edges
from tracescribe.agents.donors import Donor
from tracescribe.agents.findings import FeatureLabel, Supernode, Verdict
from tracescribe.agents.llm.case_view import CaseView, Json, short
from tracescribe.agents.predicates import in_words
from tracescribe.agents.survey import Survey
from tracescribe.tracer.graph import FeatureRef


def prompt_tokens(survey: Survey) -> list[Json]:
    """The prompt, token by token."""
    return [{"position": position, "token": token} for position, token in enumerate(survey.full.tokens)]


def prompt_outputs(survey: Survey) -> list[Json]:
    """The model's most probable next tokens."""
    return [{"token": target.token, "probability": short(target.probability)} for target in survey.targets]


def groups_as_data(
    view: CaseView, candidates: Sequence[Supernode], labels: Mapping[FeatureRef, FeatureLabel]
) -> list[Json]:
    """Candidate groups with their members' labels, and what feeds and is fed by each as a whole."""
    described: list[Json] = []
    for group in candidates:
        rows = [view.facts.row_of[member.node] for member in group.members]
        fed = view.facts.profiles.inputs[rows].mean(axis=0)
        feeds = view.facts.profiles.outputs[rows].sum(axis=0)
        best = int(np.argmax(np.abs(feeds)))
        members = group.members[: view.settings.members]
        described.append(
            {
                **_supernode(view, group),
                "members": [
                    {"feature": str(m.ref), "label": labels[m.ref].text if m.ref in labels else None} for m in members
                ],
                "fed_by": [view.token_at(int(p)) for p in np.argsort(-np.abs(fed), kind="stable")[:3]],
                "feeds_most": {"output": view.output(best), "effect": short(feeds[best])},
            }
        )
    return described


def supernodes_as_data(view: CaseView, supernodes: Sequence[Supernode]) -> list[Json]:
    """Supernodes as claims may name them."""
    return [_supernode(view, supernode) for supernode in supernodes]


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
            "models_answer_to_it": donor.expected_token,
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


def verdicts_as_data(statements: Mapping[str, str], verdicts: Sequence[Verdict]) -> list[Json]:
    """What was claimed, measured and ruled so far."""
    return [
        {
            "claim": statements.get(verdict.claim_id, verdict.claim_id),
            "effect": None if verdict.effect is None else short(verdict.effect),
            "needed": None if verdict.threshold is None else short(verdict.threshold),
            "verdict": verdict.outcome,
            "reason": verdict.reason,
        }
        for verdict in verdicts
    ]
