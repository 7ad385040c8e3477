"""What the sentences of a story are made from: a report, looked up by claim, and where in it every value stands."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import ExperimentPlan, Measurement, Verdict
from tracescribe.agents.reporting.phrases import Piece, amount, probability
from tracescribe.agents.reporting.report_model import CircuitReport

MAX_PLACES = 3
"""Tokens that name where a supernode stands; more do not help to find it."""


class Teller:
    """A report with its values by claim, and JSON Pointers to them."""

    def __init__(self, report: CircuitReport) -> None:
        self.report = report
        self._claim_at = {claim.claim_id: place for place, claim in enumerate(report.claims)}
        self._verdict_at = {verdict.claim_id: place for place, verdict in enumerate(report.verdicts)}
        plan_of: Mapping[str, str] = {plan.plan_id: plan.claim_id for plan in report.plans}
        self._measurement_at = {plan_of[m.plan_id]: place for place, m in enumerate(report.measurements)}
        self._supernodes = {supernode.supernode_id: supernode for supernode in report.supernodes}

    def name(self, supernode_id: str) -> str:
        """A supernode by its label and the tokens at which it stands."""
        supernode = self._supernodes[supernode_id]
        positions = sorted({member.position for member in supernode.members})
        words = [f"'{self.report.tokens[p].strip()}'" for p in positions[:MAX_PLACES] if p < len(self.report.tokens)]
        return f"'{supernode.label}'" + (f" (at {' and '.join(words)})" if words else "")

    def verdict(self, claim: Claim) -> Verdict:
        """A claim's verdict."""
        return self.report.verdicts[self._verdict_at[claim.claim_id]]

    def plan(self, claim: Claim) -> ExperimentPlan | None:
        """A claim's plan; None where it was never planned."""
        return next((plan for plan in self.report.plans if plan.claim_id == claim.claim_id), None)

    def measurement(self, claim: Claim) -> Measurement | None:
        """A claim's measurement; None where there is none."""
        place = self._measurement_at.get(claim.claim_id)
        return None if place is None else self.report.measurements[place]

    def at_claim(self, claim: Claim, field: str) -> str:
        """Where the report holds a field of a claim."""
        return f"/claims/{self._claim_at[claim.claim_id]}/{field}"

    def at_verdict(self, claim: Claim, field: str) -> str:
        """Where the report holds a field of a claim's verdict."""
        return f"/verdicts/{self._verdict_at[claim.claim_id]}/{field}"

    def at_measurement(self, claim: Claim, field: str) -> str:
        """Where the report holds a field of a claim's measurement."""
        return f"/measurements/{self._measurement_at[claim.claim_id]}/{field}"

    def detail(self, claim: Claim, key: str) -> Piece:
        """A measured detail in the form that its name asks for; `?` where it was not measured."""
        measurement = self.measurement(claim)
        value = measurement.details.get(key) if measurement is not None else None
        if isinstance(value, str) or value is None or not math.isfinite(value):
            return "?"
        source = self.at_measurement(claim, f"details/{key}")
        return probability(value, source) if key.startswith("probability") else amount(value, source)

    def text_detail(self, claim: Claim, key: str) -> str:
        """A measured token; `?` where there is none."""
        measurement = self.measurement(claim)
        value = measurement.details.get(key) if measurement is not None else None
        return value.strip() if isinstance(value, str) else "?"
