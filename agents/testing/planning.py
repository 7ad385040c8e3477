"""From a registered claim to a fixed experiment: what is edited, what is measured, and the matched random controls.

Nothing here measures an effect: the prompt's clean run and the donor's clean run are read, edits and controls are fixed,
and the whole plan is hashed before the first perturbed run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    LabelClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
    claim_sha256,
)
from tracescribe.agents.findings import Controls, ExperimentPlan
from tracescribe.agents.testing.decision_rules import metric_of, rule_for
from tracescribe.agents.testing.doses import doses_for
from tracescribe.agents.testing.effects import tokens_of
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.testing.paraphrases import Wording, design_wordings, members_of
from tracescribe.agents.testing.random_circuits import random_circuits
from tracescribe.tracer.controls import SHIFTS_MATCHED_ON, matched_shifts
from tracescribe.tracer.edits import FeatureEdit, FeatureShift, Row, ablation, as_shifts, scaling, swap
from tracescribe.tracer.errors import InterventionError
from tracescribe.tracer.graph import FeatureNode, FeatureRef
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

__all__ = ["InterventionDesign", "InterventionTest", "Members", "design_intervention", "edit_json", "metric_of"]

Members = Mapping[str, tuple[FeatureNode, ...]]
"""Feature nodes by supernode id."""


@dataclass(frozen=True, eq=False)
class InterventionDesign:
    """What an intervention experiment runs.

    Attributes:
        claim: the claim under test.
        tested: the edits that the claim is about.
        controls: edits of every control.
        matched_on: what each control shares with the tested edits.
        reference: a further run that the metric needs (sufficiency: nothing left; swap: the donor's features added and
            nothing taken away), or None.
        read: feature nodes whose activations are read in every run (edges).
        riders: swap: members that stand where no donor feature is brought in.
        doses: steering: the same edits at multipliers short of the claimed one, each with its multiplier.
        wordings: the edits in other wordings of the prompt.
    """

    claim: Claim
    tested: Row
    controls: tuple[Row, ...]
    matched_on: tuple[str, ...]
    reference: Row | None = None
    read: tuple[FeatureNode, ...] = ()
    riders: tuple[FeatureNode, ...] = ()
    doses: tuple[tuple[float, Row], ...] = ()
    wordings: tuple[Wording, ...] = ()

    def rows(self) -> list[Row]:
        """All runs on the case's own prompt: what is tested, the controls, the doses, and the reference as the last."""
        last = [self.reference] if self.reference is not None else []
        return [self.tested, *self.controls, *(row for _, row in self.doses), *last]


@dataclass(frozen=True, eq=False)
class InterventionTest:
    """A planned intervention experiment: the plan as it is registered, and the design that its hashes stand for."""

    plan: ExperimentPlan
    design: InterventionDesign


def design_intervention(
    tools: CaseTools, members: Members, claim: Claim, settings: ExperimentSettings
) -> InterventionTest:
    """Fix the experiment of any claim but a label.

    Raises:
        InterventionError: there is nothing to edit, or nothing to read.
        PromptError: a donor prompt that the model cannot read.
        UnknownIdError: the claim speaks of a token that the model does not have.
        BudgetExceededError: the forward passes are used up.
    """
    for token in tokens_of(claim):
        tools.model.token_id(token)  # refused before anything is planned, not after half of it was run
    design = _design(tools, members, claim, settings)
    wordings = design_wordings(tools, claim, members_of(claim, members), settings)
    design = replace(design, wordings=wordings)
    return InterventionTest(_plan(tools, design, settings), design)


def _design(tools: CaseTools, members: Members, claim: Claim, settings: ExperimentSettings) -> InterventionDesign:
    match claim:
        case NecessityClaim():
            return _against_matched(tools, claim, ablation(members[claim.supernode]), settings)
        case SteeringClaim():
            of, clean = members[claim.supernode], tools.clean()
            design = _against_matched(tools, claim, scaling(of, claim.multiplier, clean), settings)
            doses = tuple((dose, scaling(of, dose, clean)) for dose in doses_for(claim.multiplier))
            return replace(design, doses=doses)
        case SwapClaim():
            donor = donor_activations(tools, claim)
            _same_places(claim, members[claim.supernode], donor)
            row, reference = swap(members[claim.supernode], donor), _added_alone(tools, members[claim.supernode], donor)
            design = _against_matched(tools, claim, row, settings, reference=reference)
            return replace(design, riders=_riders(members[claim.supernode], donor))
        case EdgeClaim():
            source, read = members[claim.source], _readable(members[claim.destination], members[claim.source])
            return _against_matched(tools, claim, ablation(source), settings, read=read)
        case SufficiencyClaim():
            return _sufficiency(tools, members, claim, settings)
        case LabelClaim():
            raise InterventionError(f"claim {claim.claim_id} is about a label, which no intervention tests")


def donor_activations(tools: CaseTools, claim: SwapClaim) -> dict[FeatureNode, float]:
    """Activations that the donor prompt gives the donor's features, at positions of *this* prompt.

    Positions are aligned from the end, so that the two answers come from the same place; with prompts of equal length,
    the usual case, this changes nothing.

    Raises:
        InterventionError: a donor feature that does not fire in the donor prompt, or lies outside either prompt.
    """
    donor = tools.clean(claim.donor_prompt)
    offset = tools.clean().n_pos - donor.n_pos
    found: dict[FeatureNode, float] = {}
    for feature in claim.donor_features:
        value = donor.activation(feature.node)
        if value == 0.0:
            raise InterventionError(
                f"claim {claim.claim_id}: feature {feature.ref} does not fire at position {feature.position} of "
                f"the donor prompt {claim.donor_prompt!r}; name features that do"
            )
        found[FeatureNode(feature.layer, feature.position + offset, feature.feature)] = value
    return found


def _same_places(claim: SwapClaim, members: Sequence[FeatureNode], donor: Iterable[FeatureNode]) -> None:
    """Refuse a swap whose donor features stand where the supernode has no member.

    Features brought in elsewhere could carry the donor's answer by themselves; removing any part that the old answer
    needs would then look like a swap of that part.
    """
    places = {(node.layer, node.position) for node in members}
    strangers = sorted(node for node in donor if (node.layer, node.position) not in places)
    if strangers:
        first = strangers[0]
        raise InterventionError(
            f"claim {claim.claim_id}: {len(strangers)} of the donor's features stand where supernode {claim.supernode} "
            f"has no member (first: layer {first.layer}, position {first.position}); a swap replaces like by like"
        )


def _riders(members: Sequence[FeatureNode], donor: Iterable[FeatureNode]) -> tuple[FeatureNode, ...]:
    """Members of a swapped supernode that stand where no donor feature is brought in.

    They are removed and not replaced, so a swap that does what it claims says nothing of them: they may ride along on
    what the other members do. A supernode over many layers seldom has a counterpart in each of them, so such a swap is
    not refused; its plan names these members instead.
    """
    filled = {(node.layer, node.position) for node in donor}
    return tuple(sorted(node for node in members if (node.layer, node.position) not in filled))


def _added_alone(
    tools: CaseTools, members: Sequence[FeatureNode], donor: Mapping[FeatureNode, float]
) -> tuple[FeatureEdit, ...]:
    """The donor's features set, and every member left as it is.

    Adding them may bring the donor's answer whatever is cleared: that much is not the supernode's doing.
    """
    clean = tools.clean()
    kept = {node: clean.activation(node) for node in members}
    return swap((), {**donor, **kept})


def _readable(destination: Sequence[FeatureNode], source: Sequence[FeatureNode]) -> tuple[FeatureNode, ...]:
    """Destination members that the ablation itself does not set."""
    read = tuple(node for node in destination if node not in set(source))
    if not read:
        raise InterventionError("source and destination have the same members, so nothing is left to read")
    return read


def _against_matched(
    tools: CaseTools,
    claim: Claim,
    tested: Row,
    settings: ExperimentSettings,
    *,
    read: tuple[FeatureNode, ...] = (),
    reference: Row | None = None,
) -> InterventionDesign:
    """The tested edits against random live features of the same layers, positions and sizes."""
    clean = tools.clean()
    shifts = as_shifts(tested, clean, clean.n_pos)
    # Edits of silent features change nothing: no control can match that, and the measured effect of zero refutes the claim
    exclude = {FeatureRef(s.layer, s.feature) for s in shifts} | {node.ref for node in read}
    live = {layer: tools.live(layer) for layer in sorted({shift.layer for shift in shifts})}
    norms = {layer: tools.toolbox.decoder_norms(layer) for layer in live}
    rng = tools.rng("controls", claim.claim_id)
    controls = matched_shifts(rng, shifts, live, exclude, settings.n_controls, norms) if shifts else []
    return InterventionDesign(claim, tested, tuple(controls), SHIFTS_MATCHED_ON, reference, read)


def _sufficiency(
    tools: CaseTools, members: Members, claim: SufficiencyClaim, settings: ExperimentSettings
) -> InterventionDesign:
    """Everything but the circuit ablated, against random circuits of the same size in every layer."""
    active = tools.active_features()
    circuit_members = {node for supernode in claim.supernodes for node in members[supernode]}
    keep = [node for node in active if node in circuit_members]
    if not keep:
        raise InterventionError(
            f"claim {claim.claim_id}: none of the circuit's {len(circuit_members)} features fires in the prompt, so "
            "there is nothing to keep"
        )
    rng = tools.rng("controls", claim.claim_id)
    drawn = random_circuits(tools, rng, keep, active, settings.n_controls)
    rest = ablation(node for node in active if node not in circuit_members)
    # with nothing to remove the model is left as it is, and random stand-ins alone can tell the circuit
    tested = rest or scaling(keep, 1.0, tools.clean())
    return InterventionDesign(claim, tested, drawn.alone, drawn.matched_on, reference=ablation(active))


def _plan(tools: CaseTools, design: InterventionDesign, settings: ExperimentSettings) -> ExperimentPlan:
    """The design as data, with everything that decides its outcome in it or hashed into it."""
    claim, controls = design.claim, design.controls
    metric, threshold = metric_of(claim)
    intervention: dict[str, object] = {"edits": _row_json(design.tested)}
    if design.reference is not None:
        intervention["reference"] = _row_json(design.reference)
    if design.read:
        intervention["read"] = [list(node) for node in design.read]
    if design.riders:
        intervention["riders"] = [list(node) for node in design.riders]
    if design.doses:
        intervention["doses"] = [_row_json(row) for _, row in design.doses]
    if design.wordings:
        intervention["paraphrases"] = [[_row_json(row) for row in wording.rows] for wording in design.wordings]
    return ExperimentPlan(
        plan_id=f"p-{claim.claim_id}",
        claim_id=claim.claim_id,
        claim_sha256=claim_sha256(claim),
        metric=metric,
        intervention=intervention,
        mode="open",
        freeze_attention=False,
        controls=Controls(
            n=len(controls),
            matched_on=design.matched_on,
            seed=tools.seed,
            sha256=sha256_json([_row_json(row) for row in controls]),
        ),
        threshold=threshold,
        alpha=settings.alpha,
        seed=tools.seed,
        hypothesis=claim.statement,
        rule=rule_for(claim, settings.alpha),
        doses=tuple(dose for dose, _ in design.doses),
        paraphrases=tuple(wording.prompt for wording in design.wordings),
    )


def _row_json(row: Row) -> list[dict[str, object]]:
    return [edit_json(edit) for edit in row]


def edit_json(edit: FeatureEdit | FeatureShift) -> dict[str, object]:
    """One edit as plain JSON values."""
    assert isinstance(edit.position, int), "agents edit one position at a time"
    where: dict[str, object] = {"layer": edit.layer, "position": edit.position, "feature": edit.feature}
    return where | ({"set": edit.value} if isinstance(edit, FeatureEdit) else {"add": edit.amount})
