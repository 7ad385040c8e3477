"""The report's validator: what a report must not do, done to a real report."""

from __future__ import annotations

import json

import pytest

from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.registration import FIRST_PREVIOUS, Registration, chain_sha256
from tracescribe.agents.report import CircuitReport, Sentence, parse_report, validate_report
from tracescribe.tracer.errors import ReportError


def changed(report: CircuitReport, **update: object) -> CircuitReport:
    return report.model_copy(update=update)


def rechained(entries: list[Registration]) -> tuple[Registration, ...]:
    """The entries in this order with a chain that fits: what a careful forger would write."""
    previous, out = FIRST_PREVIOUS, []
    for number, entry in enumerate(entries):
        chain = chain_sha256(number, entry.event, entry.subject, entry.sha256, previous)
        out.append(entry.model_copy(update={"sequence": number, "previous": previous, "chain": chain}))
        previous = chain
    return tuple(out)


def test_a_real_report_is_valid_and_survives_its_json(dallas_report: CircuitReport) -> None:
    validate_report(dallas_report)
    assert parse_report(dallas_report.model_dump_json()) == dallas_report


def test_an_uncited_sentence_is_refused(dallas_report: CircuitReport) -> None:
    document = dallas_report.model_dump(mode="json")
    document["summary"][0]["claims"] = []
    with pytest.raises(ReportError, match=r"summary\.0\.claims"):
        parse_report(json.dumps(document))


def test_unknown_ids_are_refused_all_at_once(dallas_report: CircuitReport) -> None:
    sentence = Sentence(text="Made up.", claims=("c999",))
    faulty = changed(dallas_report, summary=(sentence,), supernodes=dallas_report.supernodes[1:])
    with pytest.raises(ReportError) as error:
        validate_report(faulty)
    assert "summary[0] cites unknown claim c999" in str(error.value)
    assert f"names unknown supernode {dallas_report.supernodes[0].supernode_id}" in str(error.value)


def test_a_claim_tested_before_it_was_registered_is_refused(dallas_report: CircuitReport) -> None:
    """Even by someone who makes the chain fit."""
    entries = list(dallas_report.registry)
    registered = next(i for i, e in enumerate(entries) if e.event == "registered" and e.subject == "c1")
    measured = next(i for i, e in enumerate(entries) if e.event == "measured" and e.subject == "c1")
    entries.insert(measured, entries.pop(registered))
    with pytest.raises(ReportError, match="claim c1 was planned before it was registered"):
        validate_report(changed(dallas_report, registry=rechained(entries)))


def test_a_claim_changed_after_registration_is_refused(dallas_report: CircuitReport) -> None:
    first = dallas_report.claims[0].model_copy(update={"min_effect": 0.001})
    with pytest.raises(ReportError, match="claim c1 differs from what was registered"):
        validate_report(changed(dallas_report, claims=(first, *dallas_report.claims[1:])))


def test_a_supernode_changed_after_its_claims_is_refused(dallas_report: CircuitReport) -> None:
    first = dallas_report.supernodes[0]
    grown = first.model_copy(update={"members": (*first.members, FeatureAt(layer=0, position=1, feature=0))})
    with pytest.raises(
        ReportError, match=f"the members of supernode {first.supernode_id} differ from what was defined"
    ):
        validate_report(changed(dallas_report, supernodes=(grown, *dallas_report.supernodes[1:])))


def test_a_log_that_was_tampered_with_is_refused(dallas_report: CircuitReport) -> None:
    with pytest.raises(ReportError, match="the log was changed"):
        validate_report(changed(dallas_report, registry=dallas_report.registry[1:]))


def test_a_verdict_without_an_experiment_is_refused(dallas_report: CircuitReport) -> None:
    with pytest.raises(ReportError, match="supported without an experiment"):
        validate_report(changed(dallas_report, plans=()))


def test_a_claim_without_a_verdict_is_refused(dallas_report: CircuitReport) -> None:
    with pytest.raises(ReportError, match="claim c1 has no verdict"):
        validate_report(changed(dallas_report, verdicts=dallas_report.verdicts[1:]))


def test_a_verdict_that_the_rule_does_not_give_is_refused(dallas_report: CircuitReport) -> None:
    first = dallas_report.verdicts[0]
    assert first.outcome == "supported"
    for update in ({"outcome": "refuted"}, {"q_value": 0.0001}, {"effect": 99.0}):
        verdicts = (first.model_copy(update=update), *dallas_report.verdicts[1:])
        with pytest.raises(ReportError, match="but the rule makes it supported"):
            validate_report(changed(dallas_report, verdicts=verdicts))
