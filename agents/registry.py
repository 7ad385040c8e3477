"""The claim registry: an append-only log, hash-chained, that proves what was fixed before what was tested.

Four events: `defined` fixes a supernode's members, `registered` a claim, `planned` its experiment, `measured` the
result. Each entry hashes the one before it, so that an entry cannot be changed, dropped or moved unseen.
"""

from __future__ import annotations

from tracescribe.agents.claims import Claim, claim_sha256, supernodes_of
from tracescribe.agents.findings import ExperimentPlan, Measurement, Supernode, supernode_sha256
from tracescribe.agents.registration import FIRST_PREVIOUS, Event, Registration, chain_sha256
from tracescribe.tracer.errors import RegistrationError
from tracescribe.tracer.provenance import sha256_json


class ClaimRegistry:
    """Registers supernodes and claims, and lets nothing be planned or measured out of order."""

    def __init__(self) -> None:
        self._entries: list[Registration] = []
        self._fixed: dict[tuple[Event, str], str] = {}

    @property
    def entries(self) -> tuple[Registration, ...]:
        """The log so far, in order."""
        return tuple(self._entries)

    def define(self, supernode: Supernode) -> None:
        """Fix the members of a supernode; doing so again with the same members changes nothing.

        Raises:
            RegistrationError: the supernode was defined before with other members.
        """
        sha256 = supernode_sha256(supernode)
        known = self._fixed.get(("defined", supernode.supernode_id))
        if known == sha256:
            return
        if known is not None:
            raise RegistrationError(
                f"supernode {supernode.supernode_id} was defined with other members; give the new one a new id"
            )
        self._append("defined", supernode.supernode_id, sha256)

    def register(self, claim: Claim) -> None:
        """Fix a claim.

        Raises:
            RegistrationError: the claim id is taken, or the claim names a supernode that was never defined.
        """
        missing = [i for i in supernodes_of(claim) if ("defined", i) not in self._fixed]
        if missing:
            raise RegistrationError(f"claim {claim.claim_id} names undefined supernodes {missing}; define them first")
        self._once("registered", claim.claim_id)
        self._append("registered", claim.claim_id, claim_sha256(claim))

    def plan(self, plan: ExperimentPlan) -> None:
        """Fix the experiment of a registered claim.

        Raises:
            RegistrationError: the claim was not registered, differs from what was, or has a plan already.
        """
        if self._fixed.get(("registered", plan.claim_id)) != plan.claim_sha256:
            raise RegistrationError(
                f"plan {plan.plan_id} tests claim {plan.claim_id}, which was not registered in this form; "
                "register the claim before planning its test"
            )
        self._once("planned", plan.claim_id)
        self._append("planned", plan.claim_id, sha256_json(plan.model_dump(mode="json")))

    def measure(self, plan: ExperimentPlan, measurement: Measurement) -> None:
        """Log the result of a planned experiment.

        Raises:
            RegistrationError: the experiment was not planned, differs from the plan, or was measured already.
        """
        if self._fixed.get(("planned", plan.claim_id)) != sha256_json(plan.model_dump(mode="json")):
            raise RegistrationError(
                f"plan {plan.plan_id} was not registered in this form; plan the test of {plan.claim_id} before it runs"
            )
        self._once("measured", plan.claim_id)
        self._append("measured", plan.claim_id, sha256_json(measurement.model_dump(mode="json")))

    def _once(self, event: Event, subject: str) -> None:
        if (event, subject) in self._fixed:
            raise RegistrationError(f"claim {subject} was {event} before; the registry is append-only, use a new id")

    def _append(self, event: Event, subject: str, sha256: str) -> None:
        previous = self._entries[-1].chain if self._entries else FIRST_PREVIOUS
        sequence = len(self._entries)
        chain = chain_sha256(sequence, event, subject, sha256, previous)
        self._fixed[event, subject] = sha256
        self._entries.append(
            Registration(sequence=sequence, event=event, subject=subject, sha256=sha256, previous=previous, chain=chain)
        )
