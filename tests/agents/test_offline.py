"""The offline agent on the embedded model: what it must find, and how it behaves when it may not or cannot test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import SwapClaim
from tracescribe.agents.loop import STEPS, LoopAgent, LoopSettings
from tracescribe.agents.offline import OfflineProposer, offline_agent
from tracescribe.agents.report import CircuitReport, validate_report
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import BudgetExceededError, PromptError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import read_graph, write_graph

TIMES = ("seconds", "seconds_by_step")


def without_times(report: CircuitReport) -> str:
    document = report.model_dump(mode="json")
    for field in TIMES:
        del document["cost"][field]
    return json.dumps(document)


def outcomes(report: CircuitReport) -> dict[str, str]:
    return {verdict.claim_id: verdict.outcome for verdict in report.verdicts}


def test_texas_is_an_intermediate_step_supported_by_a_swap(dallas_report: CircuitReport) -> None:
    (texas,) = [s for s in dallas_report.supernodes if s.label == "Texas" and s.role == "intermediate"]
    assert {dallas_report.tokens[m.position] for m in texas.members} == {"Dallas"}
    swaps = [c for c in dallas_report.claims if isinstance(c, SwapClaim) and c.supernode == texas.supernode_id]
    supported = [c for c in swaps if outcomes(dallas_report)[c.claim_id] == "supported"]
    assert supported
    verdict = next(v for v in dallas_report.verdicts if v.claim_id == supported[0].claim_id)
    assert verdict.n_controls >= 50
    assert verdict.q_value is not None and verdict.q_value <= 0.05
    story = " ".join(sentence.text for sentence in dallas_report.summary)
    assert "'Texas' (at 'Dallas') is an intermediate step" in story


def test_the_answer_and_the_relation_are_found(dallas_report: CircuitReport) -> None:
    assert dallas_report.targets[0].token == "Austin"
    roles = {s.label: s.role for s in dallas_report.supernodes}
    assert roles.get("say Austin") == "output"
    assert roles.get("capital") == "relation"


def test_swaps_expect_the_models_own_answer(dallas_report: CircuitReport, embedded_toolbox: Toolbox) -> None:
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    for claim in (c for c in dallas_report.claims if isinstance(c, SwapClaim)):
        assert tools.predict([claim.donor_prompt])[0].token == claim.expected_token
        members = next(s.members for s in dallas_report.supernodes if s.supernode_id == claim.supernode)
        assert {f.ref for f in claim.donor_features} != {m.ref for m in members}


def test_every_measured_number_can_be_measured_again(dallas_report: CircuitReport, embedded_toolbox: Toolbox) -> None:
    """By hand, from the plan alone: the edits in the report give the effect in the report."""
    import torch

    from tracescribe.tracer.edits import FeatureEdit
    from tracescribe.tracer.interventions import intervene

    model, transcoders = embedded_toolbox.model, embedded_toolbox.transcoders
    assert model is not None and transcoders is not None
    tokens = model.encode(DALLAS)
    checked = 0
    for plan in dallas_report.plans:
        if plan.metric != "log_probability_drop":
            continue
        edits = plan.intervention["edits"]
        assert isinstance(edits, list)
        row = [FeatureEdit(e["layer"], e["position"], e["feature"], e["set"]) for e in edits]
        with torch.no_grad():
            clean = model.hf(input_ids=tokens[None]).logits[0, -1].double().log_softmax(-1)
        changed = intervene(model, transcoders, tokens, [row]).logits[0, -1].double().log_softmax(-1)
        target = model.token_id("Austin")
        measured = next(m for m in dallas_report.measurements if m.plan_id == plan.plan_id)
        assert measured.effect == pytest.approx(float(clean[target] - changed[target]), abs=1e-4)
        checked += 1
    assert checked >= 3


def test_claims_are_registered_before_any_of_them_is_planned(dallas_report: CircuitReport) -> None:
    events = [entry.event for entry in dallas_report.registry]
    assert events[0] == "defined"
    assert events.index("registered") < events.index("planned") < events.index("measured")
    measured = {plan.claim_id for plan in dallas_report.plans}
    assert len(measured) >= 8
    for claim in dallas_report.claims:
        order = [e.event for e in dallas_report.registry if e.subject == claim.claim_id]
        assert order == (["registered", "planned", "measured"] if claim.claim_id in measured else ["registered"])


def test_two_runs_give_the_same_report(dallas_report: CircuitReport, embedded_toolbox: Toolbox) -> None:
    again = offline_agent().interpret(InterpretationCase("dallas", prompt=DALLAS), embedded_toolbox, Budget())
    assert without_times(again) == without_times(dallas_report)


def test_another_seed_draws_other_controls(dallas_report: CircuitReport, embedded_toolbox: Toolbox) -> None:
    case = InterpretationCase("dallas", prompt=DALLAS)
    other = offline_agent(LoopSettings(seed=1)).interpret(case, embedded_toolbox, Budget())
    assert other.report_id != dallas_report.report_id
    assert other.plans[0].controls.sha256 != dallas_report.plans[0].controls.sha256
    assert [s.members for s in other.supernodes] == [s.members for s in dallas_report.supernodes]


def test_every_step_is_told(embedded_toolbox: Toolbox) -> None:
    told: list[tuple[str, str]] = []
    offline_agent().interpret(
        InterpretationCase("x", prompt="in Texas , the capital is"),
        embedded_toolbox,
        Budget(),
        lambda step, status, detail, seconds: told.append((step, status)),
    )
    assert [step for step, status in told if status == "start"][: len(STEPS)] == list(STEPS)
    assert len([s for s in told if s[1] == "start"]) == len([s for s in told if s[1] == "done"])


def test_a_budget_cuts_the_report_short(embedded_toolbox: Toolbox) -> None:
    case = InterpretationCase("dallas", prompt=DALLAS)
    report = offline_agent().interpret(case, embedded_toolbox, Budget(experiments=3))
    validate_report(report)
    assert report.cut_short is not None and "limit 3" in report.cut_short
    assert len(report.measurements) == 3
    assert report.cost.experiments == 3
    untested = [v for v in report.verdicts if v.outcome == "untested"]
    assert len(untested) == len(report.claims) - 3
    assert all("budget for experiments is used up" in v.reason for v in untested)


def test_a_budget_that_runs_out_while_thinking_still_gives_a_report(embedded_toolbox: Toolbox) -> None:
    case = InterpretationCase("dallas", prompt=DALLAS)
    report = offline_agent().interpret(case, embedded_toolbox, Budget(forward_passes=3))
    validate_report(report)
    assert report.cut_short is not None and report.labels and not report.measurements


def test_no_budget_at_all_is_an_error(embedded_toolbox: Toolbox) -> None:
    with pytest.raises(BudgetExceededError, match="forward_passes is used up"):
        case = InterpretationCase("dallas", prompt=DALLAS)
        offline_agent().interpret(case, embedded_toolbox, Budget(forward_passes=0))


def test_a_graph_without_weights_gives_hypotheses(dallas_graph: AttributionGraph, tmp_path: Path) -> None:
    write_graph(tmp_path / "graph.json", dallas_graph)
    case = InterpretationCase("saved", graph=read_graph(tmp_path / "graph.json"))
    report = offline_agent().interpret(case, Toolbox(), Budget())
    validate_report(report)
    assert not report.tested and report.claims
    assert set(outcomes(report).values()) == {"untested"}
    assert all("no model weights" in v.reason for v in report.verdicts)
    assert all("not tested" in s.text for s in report.summary)
    assert any("nothing was tested" in note for note in report.unexplained.notes)
    assert any("Dallas" in s.label for s in report.supernodes)
    assert any(s.label == "say Austin" for s in report.supernodes)


def test_a_saved_graph_of_these_weights_is_tested(
    dallas_graph: AttributionGraph, dallas_report: CircuitReport, embedded_toolbox: Toolbox, tmp_path: Path
) -> None:
    write_graph(tmp_path / "graph.json.gz", dallas_graph)
    case = InterpretationCase("saved", graph=read_graph(tmp_path / "graph.json.gz"))
    report = offline_agent().interpret(case, embedded_toolbox, Budget())
    assert report.tested
    assert outcomes(report) == outcomes(dallas_report)
    assert [s.label for s in report.supernodes] == [s.label for s in dallas_report.supernodes]


def test_a_graph_of_other_weights_is_not_tested(dallas_graph: AttributionGraph, embedded_toolbox: Toolbox) -> None:
    from dataclasses import replace

    foreign = replace(dallas_graph, provenance={**dallas_graph.provenance, "model_sha256": "0" * 64})
    report = offline_agent().interpret(InterpretationCase("foreign", graph=foreign), embedded_toolbox, Budget())
    assert not report.tested
    assert all("not those that this graph was traced from" in v.reason for v in report.verdicts)
    assert report.provenance.evidence_sha256 is None


def test_published_graphs_can_be_read(shared_folder: Path) -> None:
    """Graphs of large models, blinded: labels and groups from the graph alone, every claim plainly untested."""
    read = 0
    for path in sorted((shared_folder / "gold" / "graphs").glob("haiku-c*.json*"))[:3]:
        report = offline_agent().interpret(InterpretationCase(path.name, graph=read_graph(path)), Toolbox(), Budget())
        validate_report(report)
        assert not report.tested and report.supernodes and report.claims
        read += 1
    assert read == 3


def test_a_prompt_with_an_unknown_word_is_refused(embedded_toolbox: Toolbox) -> None:
    with pytest.raises(PromptError, match="Dalas"):
        case = InterpretationCase("x", prompt=DALLAS.replace("Dallas", "Dalas"))
        offline_agent().interpret(case, embedded_toolbox, Budget())


def test_a_step_that_fails_is_recorded_and_the_rest_goes_on(embedded_toolbox: Toolbox) -> None:
    from tracescribe.agents.agent import Proposal
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.findings import FeatureLabel
    from tracescribe.agents.survey import Survey
    from tracescribe.tracer.errors import ProviderError

    class Speechless(OfflineProposer):
        def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
            raise ProviderError("the labeller did not answer")

    report = LoopAgent(Speechless()).interpret(InterpretationCase("x", prompt=DALLAS), embedded_toolbox, Budget())
    assert [(f.step, f.error) for f in report.failures] == [("label", "the labeller did not answer")]
    assert not report.labels and report.supernodes and report.measurements
