"""Experiments on the embedded model: matched controls, all six kinds of claims, and what cannot be tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tests.agents.test_planted_claims import asking, strongest_at, supernode, swap
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.case_tools import CaseTools
from tracescribe.agents.claims import (
    CLAIM_KINDS,
    Claim,
    EdgeClaim,
    LabelClaim,
    NecessityClaim,
    Predicate,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
)
from tracescribe.agents.findings import ExperimentPlan, Supernode, Verdict
from tracescribe.agents.testing.decision_rules import LABEL_RULE, RULE, metric_of, rule_faults
from tracescribe.agents.testing.doses import doses_for
from tracescribe.agents.testing.experiment_settings import MIN_CONTROLS, ExperimentSettings
from tracescribe.agents.testing.experiments import ExperimentBatch, run_experiments
from tracescribe.agents.testing.planning import InterventionDesign, design_intervention
from tracescribe.agents.testing.verdicts import judge
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.edits import FeatureShift, ablation, as_shifts, scaling
from tracescribe.tracer.errors import RegistrationError
from tracescribe.tracer.graph import FeatureNode, IntArray
from tracescribe.tracer.provenance import sha256_json

FEW = ExperimentSettings(n_controls=99, n_paraphrases=0)
TWO_FACTS = (
    "the capital of Germany is Berlin . the currency of Japan is yen . the capital of the state containing Dallas is"
)
"""A prompt with features enough for fifty random circuits of one size."""


@pytest.fixture
def tools(embedded_toolbox: Toolbox) -> CaseTools:
    return embedded_toolbox.open(InterpretationCase("dallas", prompt=DALLAS), Budget())


def texas_of(tools: CaseTools) -> Supernode:
    return supernode(tools, "Texas", strongest_at(tools, DALLAS, "Dallas"))


def answer_of(tools: CaseTools) -> Supernode:
    return supernode(tools, "say Austin", strongest_at(tools, DALLAS, "is"))


def silent_of(tools: CaseTools) -> Supernode:
    return supernode(tools, "Ohio", strongest_at(tools, asking("Cleveland"), "Cleveland"))


def necessity(tools: CaseTools, of: Supernode, target: str = "Austin") -> NecessityClaim:
    return NecessityClaim(
        claim_id=tools.new_claim_id(), statement="needed", supernode=of.supernode_id, target_token=target
    )


def steering(
    tools: CaseTools, of: Supernode, multiplier: float, direction: str, token: str = "Austin"
) -> SteeringClaim:
    return SteeringClaim.model_validate(
        {
            "claim_id": tools.new_claim_id(),
            "statement": "steered",
            "supernode": of.supernode_id,
            "multiplier": multiplier,
            "expected_token": token,
            "direction": direction,
        }
    )


def edge(tools: CaseTools, source: Supernode, destination: Supernode) -> EdgeClaim:
    return EdgeClaim(
        claim_id=tools.new_claim_id(),
        statement="drives",
        source=source.supernode_id,
        destination=destination.supernode_id,
    )


def sufficiency(tools: CaseTools, of: Supernode, target: str = "Austin") -> SufficiencyClaim:
    return SufficiencyClaim(
        claim_id=tools.new_claim_id(), statement="enough", supernodes=(of.supernode_id,), target_token=target
    )


def label(tools: CaseTools, of: Supernode, *words: str) -> LabelClaim:
    member = of.members[0]
    return LabelClaim(
        claim_id=tools.new_claim_id(),
        statement="fires",
        layer=member.layer,
        feature=member.feature,
        predicate=Predicate(on="token", words=words),
    )


def run(
    tools: CaseTools, supernodes: Sequence[Supernode], claims: Sequence[Claim], settings: ExperimentSettings = FEW
) -> tuple[ExperimentBatch, tuple[Verdict, ...]]:
    for one in supernodes:
        tools.registry.define(one)
    for claim in claims:
        tools.registry.register(claim)
    batch = run_experiments(tools, supernodes, claims, settings)
    return batch, judge(claims, batch.plans, batch.measurements, dict(batch.untestable))


# -- controls -----------------------------------------------------------------------------------------------------------


def _designs(tools: CaseTools) -> list[InterventionDesign]:
    """Experiments of several shapes: one member, many members, sets, and shifts by a multiple."""
    active = tools.active_features()
    whole = supernode(tools, "all", active)
    texas, answer = texas_of(tools), answer_of(tools)
    donor = asking("Oakland")
    members = {s.supernode_id: tuple(m.node for m in s.members) for s in (whole, texas, answer)}
    claims: list[Claim] = [
        necessity(tools, texas),
        necessity(tools, whole),
        steering(tools, whole, -3.5, "down"),
        steering(tools, answer, 2.0, "up"),
        edge(tools, texas, answer),
        swap(tools, texas, donor, strongest_at(tools, donor, "Oakland")),
    ]
    return [design_intervention(tools, members, claim, FEW).design for claim in claims]


@pytest.mark.parametrize("prompt", [DALLAS, TWO_FACTS])
def test_every_control_matches_in_number_layer_position_and_size(embedded_toolbox: Toolbox, prompt: str) -> None:
    """Not on the average: each edit of each control has its counterpart among the tested ones, push for push."""
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=prompt), Budget())
    designs = _designs(tools) if prompt == DALLAS else [_whole(tools)]
    for design in designs:
        clean = tools.clean()
        tested = as_shifts(design.tested, clean, clean.n_pos)
        assert len(design.controls) >= MIN_CONTROLS
        barred = {shift.ref for shift in tested} | {node.ref for node in design.read}
        assert len({tuple(control) for control in design.controls}) == len(design.controls)
        for control in design.controls:
            assert len(control) == len(tested)
            for mine, theirs in zip(tested, control, strict=True):
                assert isinstance(theirs, FeatureShift)
                assert (theirs.layer, theirs.position) == (mine.layer, mine.position)
                assert theirs.ref not in barred
                assert _push(tools, theirs) == pytest.approx(_push(tools, mine), rel=1e-5)


def _whole(tools: CaseTools) -> InterventionDesign:
    whole = supernode(tools, "all", tools.active_features())
    members = {whole.supernode_id: tuple(m.node for m in whole.members)}
    return design_intervention(tools, members, necessity(tools, whole, "euro"), FEW).design


def _push(tools: CaseTools, shift: FeatureShift) -> float:
    """Signed length of what a shift adds to the stream, straight from the decoder rows."""
    import torch

    rows = tools.transcoders.decoder_rows(shift.layer, torch.tensor([shift.feature])).double()
    return shift.amount * float(rows.norm())


def test_random_circuits_have_the_circuit_s_size_in_every_layer(embedded_toolbox: Toolbox) -> None:
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=TWO_FACTS), Budget())
    active = tools.active_features()
    kept = supernode(tools, "four", [*active[:2], *active[-2:]])  # of four in the lowest layer, and five above
    members = {kept.supernode_id: tuple(m.node for m in kept.members)}
    design = design_intervention(tools, members, sufficiency(tools, kept, "euro"), FEW).design
    assert len(design.controls) >= MIN_CONTROLS
    assert {len(control) for control in design.controls} == {len(design.tested)}
    layers = sorted(edit.layer for edit in design.tested)
    assert all(sorted(edit.layer for edit in control) == layers for control in design.controls)


def test_more_claims_get_more_controls(tools: CaseTools) -> None:
    answer = answer_of(tools)
    claims = [necessity(tools, answer) for _ in range(12)]
    batch, _ = run(tools, [answer], claims, ExperimentSettings(n_controls=50, alpha=0.2, n_paraphrases=0))
    assert {plan.controls.n for plan in batch.plans} == {59}  # 12 / .2 - 1


# -- plans --------------------------------------------------------------------------------------------------------------


def test_a_plan_registers_all_that_decides_before_anything_runs(tools: CaseTools) -> None:
    texas = texas_of(tools)
    claims: list[Claim] = [steering(tools, texas, -1.0, "down"), label(tools, texas, "Dallas", "Houston")]
    batch, _ = run(tools, [texas], claims, ExperimentSettings(n_controls=99))
    assert rule_faults(claims, batch.plans) == []
    assert [event.event for event in tools.registry.entries][-4:] == ["planned", "measured"] * 2
    for claim, plan in zip(claims, batch.plans, strict=True):
        planned = next(e for e in tools.registry.entries if e.event == "planned" and e.subject == claim.claim_id)
        assert planned.sha256 == sha256_json(plan.model_dump(mode="json"))
        assert plan.rule is not None and plan.rule.name == (LABEL_RULE if isinstance(claim, LabelClaim) else RULE)
        assert (plan.hypothesis, plan.metric, plan.rule.threshold) == (claim.statement, *metric_of(claim))
        assert plan.seed == tools.seed and plan.controls.n >= MIN_CONTROLS
    assert batch.plans[0].doses == doses_for(-1.0)
    assert batch.plans[0].paraphrases and len(batch.plans[0].paraphrases) == len(batch.measurements[0].paraphrases)


@pytest.mark.parametrize("update", [{"threshold": 0.1}, {"min_controls": 0}, {"min_dose_trend": -1.0}])
def test_a_rule_that_was_changed_after_planning_is_noticed(tools: CaseTools, update: dict[str, float]) -> None:
    texas = texas_of(tools)
    batch, _ = run(tools, [texas], [steering(tools, texas, -1.0, "down")])
    (plan,), (measurement,) = batch.plans, batch.measurements
    assert plan.rule is not None
    easier: ExperimentPlan = plan.model_copy(update={"rule": plan.rule.model_copy(update=update)})
    with pytest.raises(RegistrationError, match="was not registered in this form"):
        tools.registry.measure(easier, measurement)


# -- all six kinds, right and wrong -------------------------------------------------------------------------------------


def test_each_kind_of_claim_is_supported_where_it_is_true_and_refuted_where_it_is_false(tools: CaseTools) -> None:
    """Texas is the step and Ohio is not; each pair differs in what is said alone."""
    texas, answer, ohio = texas_of(tools), answer_of(tools), silent_of(tools)
    donor = asking("Oakland")
    there = strongest_at(tools, donor, "Oakland")
    assert there[0] != ohio.members[0].node
    whole, capital = (
        supernode(tools, "all", tools.active_features()),
        supernode(tools, "x", strongest_at(tools, DALLAS, "capital")),
    )
    true: list[Claim] = [
        necessity(tools, texas),
        sufficiency(tools, whole),
        steering(tools, texas, -1.0, "down"),
        steering(tools, answer, 0.0, "down"),
        swap(tools, texas, donor, there),
        edge(tools, texas, answer),
        label(tools, texas, "Dallas", "Houston", "Lubbock", "Plano", "Amarillo", "Laredo"),
    ]
    false: list[Claim] = [
        necessity(tools, ohio),
        sufficiency(tools, capital),
        steering(tools, texas, -1.0, "up"),
        steering(tools, ohio, -4.0, "down"),
        swap(tools, ohio, donor, there),
        edge(tools, ohio, answer),
        label(tools, texas, "Cleveland", "capital", "is"),
    ]
    _, verdicts = run(tools, [texas, answer, ohio, whole, capital], [*true, *false])
    assert {claim.kind for claim in true} == {claim.kind for claim in false} == set(CLAIM_KINDS)
    told = [(claim.kind, verdict.outcome) for claim, verdict in zip([*true, *false], verdicts, strict=True)]
    assert told == [(c.kind, "supported") for c in true] + [(c.kind, "refuted") for c in false]


def test_sufficiency_is_supported_for_the_features_that_do_it_and_refuted_for_the_others(
    embedded_toolbox: Toolbox,
) -> None:
    """Known by leaving one feature out at a time: those whose absence costs the answer, against the rest."""
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=TWO_FACTS), Budget())
    active = tools.active_features()
    token = tools.model.token_id("euro")
    result = tools.intervene([ablation([node]) for node in active])
    cost = (result.clean_log_probabilities[token] - result.log_probabilities[:, token]).tolist()
    ordered = sorted(active, key=lambda node: -cost[active.index(node)])
    doing, others = supernode(tools, "needed", ordered[:4]), supernode(tools, "idle", ordered[4:8])
    claims = [sufficiency(tools, doing, "euro"), sufficiency(tools, others, "euro")]
    batch, verdicts = run(tools, [doing, others], claims)
    assert [v.outcome for v in verdicts] == ["supported", "refuted"]
    assert all(v.n_controls >= MIN_CONTROLS for v in verdicts)
    assert [c.token for c in batch.measurements[0].changes] == ["euro"]


# -- what is measured besides -------------------------------------------------------------------------------------------


def test_changes_tell_probability_logit_and_rank_as_the_model_has_them(tools: CaseTools) -> None:
    """Against the raw logits of one further intervention."""
    texas, donor = texas_of(tools), asking("Oakland")
    claims: list[Claim] = [
        necessity(tools, texas),
        swap(tools, texas, donor, strongest_at(tools, donor, "Oakland")),
        edge(tools, texas, answer := answer_of(tools)),
        label(tools, texas, "Dallas", "Houston"),
    ]
    batch, _ = run(tools, [texas, answer], claims)
    needed, swapped, drives, labelled = batch.measurements
    assert [c.token for c in needed.changes] == ["Austin"]
    assert [c.token for c in swapped.changes] == ["Sacramento", "Austin"]
    assert drives.changes == () and labelled.changes == ()
    (change,) = needed.changes
    edited = tools.intervene([ablation(m.node for m in texas.members)]).logits[0, -1].double()
    clean = tools.clean().logits[-1].double()
    token = tools.model.token_id("Austin")
    for logits, found in (
        (clean, (change.probability_before, change.logit_before, change.rank_before)),
        (edited, (change.probability_after, change.logit_after, change.rank_after)),
    ):
        wanted = (float(logits.softmax(-1)[token]), float(logits[token]), 1 + int((logits > logits[token]).sum()))
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert needed.effect == pytest.approx(np.log(change.probability_before / change.probability_after), abs=1e-6)
    assert needed.details["probability_after"] == pytest.approx(change.probability_after)


def test_doses_are_what_the_same_edit_does_with_less(tools: CaseTools) -> None:
    answer = answer_of(tools)
    batch, _ = run(tools, [answer], [steering(tools, answer, -2.0, "down")])
    (measured,), clean = batch.measurements, tools.clean()
    assert tuple(point.multiplier for point in measured.doses) == doses_for(-2.0)
    assert measured.doses[0].effect == pytest.approx(0.0, abs=1e-5)
    nodes, token = [m.node for m in answer.members], tools.model.token_id("Austin")
    for point in measured.doses:
        result = tools.intervene([scaling(nodes, point.multiplier, clean)])
        change = float(result.clean_log_probabilities[token] - result.log_probabilities[0, token])
        assert point.effect == pytest.approx(change, abs=1e-4)
        assert point.probability == pytest.approx(float(result.probabilities[0, token]), abs=1e-6)


# -- what cannot be tested ----------------------------------------------------------------------------------------------


def test_what_cannot_be_tested_is_told_with_its_reason_and_stops_nothing(tools: CaseTools) -> None:
    """Nine claims that nobody can test, and one behind them that anybody can."""
    texas, answer, ohio = texas_of(tools), answer_of(tools), silent_of(tools)
    nowhere = FeatureNode(0, 1, 10**6)
    outside = supernode(tools, "outside", [nowhere])
    donor = asking("Oakland")
    there = strongest_at(tools, donor, "Oakland")
    base = swap(tools, texas, donor, there)
    claims: list[tuple[Claim, str]] = [
        (base.model_copy(update={"claim_id": "c101", "donor_prompt": "asdf qwer"}), "asdf"),
        (base.model_copy(update={"claim_id": "c102", "donor_prompt": " "}), "empty"),
        (base.model_copy(update={"claim_id": "c103", "donor_prompt": "word " * 500}), "words|tokens"),
        (base.model_copy(update={"claim_id": "c104", "expected_token": "Sacramentoo"}), "Sacramentoo"),
        (_with_silent_donor(base), "does not fire"),
        (necessity(tools, texas, "Qwertz"), "Qwertz"),
        (necessity(tools, outside), "no feature 0/1000000"),
        (label(tools, outside, "Dallas"), "1000000"),
        (edge(tools, texas, ohio), "nothing to share"),
        (steering(tools, texas, 1e38, "down"), "not finite"),
    ]
    last = necessity(tools, texas)
    batch, verdicts = run(tools, [texas, answer, ohio, outside], [*(claim for claim, _ in claims), last])
    for (claim, reason), verdict in zip(claims, verdicts, strict=False):
        assert verdict.outcome == "untested", claim
        assert any(word in verdict.reason for word in reason.split("|")), verdict.reason
    assert verdicts[-1].outcome == "supported"
    assert batch.cut_short is None
    for entry in tools.registry.entries:
        if entry.event == "planned":  # whatever was planned has a result in the log, be it a failure
            assert any(e.event == "measured" and e.subject == entry.subject for e in tools.registry.entries)


def _with_silent_donor(claim: SwapClaim) -> SwapClaim:
    feature = claim.donor_features[0].model_copy(update={"feature": claim.donor_features[0].feature + 1})
    return claim.model_copy(update={"claim_id": "c105", "donor_features": (feature,)})


def test_a_silent_supernode_does_nothing_and_is_refuted(tools: CaseTools) -> None:
    ohio = silent_of(tools)
    claims: list[Claim] = [necessity(tools, ohio), steering(tools, ohio, 5.0, "down")]
    batch, verdicts = run(tools, [ohio], claims)
    assert [v.outcome for v in verdicts] == ["refuted", "refuted"]
    assert [m.effect for m in batch.measurements] == [pytest.approx(0.0, abs=1e-6)] * 2


def test_donor_prompts_that_the_model_reads_otherwise_are_passed_over(tools: CaseTools) -> None:
    """Tokens without a text of their own, or that the tokenizer would cut otherwise, make no prompt to claim about."""
    from tracescribe.agents.testing.donors import readable

    ids = np.array(tools.clean().tokens.tolist())
    assert readable(tools, ids) == DALLAS
    assert tools.store is not None
    for strange in (ids[:0], ids[:1], np.append(ids, ids[0]), np.append(ids, 10**6), np.append(ids[:1], ids)):
        assert readable(tools, strange) is None


def test_donors_are_found_though_some_candidates_cannot_be_read(
    tools: CaseTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tokenizer that refuses every other candidate: the search goes on with the rest, where it once failed."""
    from tracescribe.agents.grouping.graph_facts import graph_facts
    from tracescribe.agents.testing import donors as search

    seen: list[str | None] = []

    def picky(case: CaseTools, ids: IntArray) -> str | None:
        seen.append(text := readable(case, ids))
        return text if len(seen) % 2 else None

    readable = search.readable
    monkeypatch.setattr(search, "readable", picky)
    found = search.find_donors(tools, graph_facts(tools.full), texas_of(tools), search.DonorSettings())
    refused = set(seen[1::2])
    assert found and not {donor.prompt for donor in found} & refused
