"""The claim registry: an append-only log, hash-chained, that proves what was fixed before what was tested.

Five events: `defined` fixes a supernode's members, `registered` a claim, `planned` its experiment, `measured` the
result, and `reported`, the last one, the report as a whole. Each entry hashes the one before it, so that an entry cannot be changed, dropped or moved unseen.

With a log, every entry is written before the act that it announces. A run that goes on in another process finds there
what the first one did after its last checkpoint: doing the same again adds nothing, and what was measured is recalled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracescribe.agents.claims import Claim, claim_sha256, supernodes_of
from tracescribe.agents.findings import ExperimentPlan, Measurement, Supernode, supernode_sha256
from tracescribe.agents.registration import (
    FIRST_PREVIOUS,
    Event,
    Registration,
    RegistryLogError,
    chain_sha256,
    verify_chain,
)
from tracescribe.agents.registry_log import (
    LogLine,
    RegistryLog,
    RegistryMark,
    Spent,
    measurement_sha256,
    plan_sha256,
)
from tracescribe.tracer.errors import RegistrationError

START_AGAIN = "start again with --fresh, or choose another folder with --out"
"""What to do about a log that cannot be gone on from."""


class ClaimRegistry:
    """Registers supernodes and claims, and lets nothing be planned or measured out of order.

    Attributes:
        spent: tells what the run has spent, for the log's measurements; None where nobody keeps count.
    """

    def __init__(self, log: RegistryLog | None = None, earlier: Sequence[LogLine] = ()) -> None:
        """A registry, empty or as an earlier process left it.

        Args:
            log: where entries are written; None keeps them in memory alone.
            earlier: the lines that `log` holds.

        Raises:
            RegistryLogError: the lines are not a whole chain, or one's content is not what its entry fixed.
        """
        try:
            verify_chain([line.entry for line in earlier])
        except RegistrationError as error:
            raise RegistryLogError(f"{error}; {START_AGAIN}") from error
        for number, line in enumerate(earlier):
            if line.body_sha256() != (line.entry.event, line.entry.sha256):
                raise RegistryLogError(
                    f"registry line {number} ({line.entry.event} {line.entry.subject}) does not hold what its entry fixed: "
                    f"the log was changed after it was written; {START_AGAIN}"
                )
        self.spent: Callable[[], Spent] | None = None
        self._log = log
        self._entries = [line.entry for line in earlier]
        self._fixed: dict[tuple[Event, str], str] = {(e.event, e.subject): e.sha256 for e in self._entries}
        self._earlier = {(line.entry.event, line.entry.subject): line for line in earlier}
        self._unconfirmed: set[tuple[Event, str]] = set()
        self._settled = True

    @property
    def entries(self) -> tuple[Registration, ...]:
        """The log so far, in order."""
        return tuple(self._entries)

    @property
    def mark(self) -> RegistryMark:
        """How far the log has come."""
        return RegistryMark(
            length=len(self._entries), chain=self._entries[-1].chain if self._entries else FIRST_PREVIOUS
        )

    def settle(self) -> None:
        """Have every entry on the disk before a checkpoint speaks of it.

        Raises:
            OutputError: the log cannot be written.
        """
        if self._log is not None and not self._settled:
            self._log.sync()
        self._settled = True

    def go_on_from(self, mark: RegistryMark) -> None:
        """Go on from a checkpoint: what the log holds beyond it was done by a process that died before the next one.

        Raises:
            RegistryLogError: the log is shorter than at the checkpoint, or another.
        """
        chain = FIRST_PREVIOUS
        if 0 < mark.length <= len(self._entries):
            chain = self._entries[mark.length - 1].chain
        if mark.length > len(self._entries) or chain != mark.chain:
            raise RegistryLogError(
                f"the registry log does not fit the checkpoint: it holds {len(self._entries)} entries, the checkpoint "
                f"knows {mark.length} ending in {mark.chain[:12]}; {START_AGAIN}"
            )
        self._unconfirmed = {(entry.event, entry.subject) for entry in self._entries[mark.length :]}

    def recall(self, claim: Claim) -> tuple[ExperimentPlan, Measurement, Spent | None] | None:
        """Plan and measurement of an experiment that an earlier process ran after its last checkpoint; None if none did.

        Raises:
            RegistryLogError: the log tells another claim under this id.
        """
        planned, measured = ("planned", claim.claim_id), ("measured", claim.claim_id)
        if measured not in self._unconfirmed or planned not in self._earlier:
            return None
        plan, result = self._earlier["planned", claim.claim_id].plan, self._earlier["measured", claim.claim_id]
        assert plan is not None and result.measurement is not None  # as checked when the registry was made
        if self._fixed.get(("registered", claim.claim_id)) != claim_sha256(claim):
            raise RegistryLogError(
                f"the registry log has measured another claim {claim.claim_id}; it belongs to another run: {START_AGAIN}"
            )
        self._unconfirmed -= {("planned", claim.claim_id), ("measured", claim.claim_id)}
        return plan, result.measurement, result.spent

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
        self._append("defined", supernode.supernode_id, sha256, supernode=supernode)

    def register(self, claim: Claim) -> None:
        """Fix a claim.

        Raises:
            RegistrationError: the claim id is taken, or the claim names a supernode that was never defined.
        """
        missing = [i for i in supernodes_of(claim) if ("defined", i) not in self._fixed]
        if missing:
            raise RegistrationError(f"claim {claim.claim_id} names undefined supernodes {missing}; define them first")
        sha256 = claim_sha256(claim)
        if self._is_new("registered", claim.claim_id, sha256):
            self._append("registered", claim.claim_id, sha256, claim=claim)

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
        sha256 = plan_sha256(plan)
        if self._is_new("planned", plan.claim_id, sha256):
            self._append("planned", plan.claim_id, sha256, plan=plan)

    def measure(self, plan: ExperimentPlan, measurement: Measurement) -> None:
        """Log the result of a planned experiment.

        Raises:
            RegistrationError: the experiment was not planned, differs from the plan, or was measured already.
        """
        if self._fixed.get(("planned", plan.claim_id)) != plan_sha256(plan):
            raise RegistrationError(
                f"plan {plan.plan_id} was not registered in this form; plan the test of {plan.claim_id} before it runs"
            )
        sha256 = measurement_sha256(measurement)
        if self._is_new("measured", plan.claim_id, sha256):
            self._append("measured", plan.claim_id, sha256, measurement=measurement)

    def report(self, report_id: str, sha256: str) -> None:
        """Seal a report: nothing can be logged after it.

        Args:
            sha256: content hash of the report, see `reporting.report_seal`.

        Raises:
            RegistrationError: a report was sealed before.
            RegistryLogError: a process that died had sealed another one.
        """
        if self._is_new("reported", report_id, sha256):
            self._append("reported", report_id, sha256, report_sha256=sha256)

    def _is_new(self, event: Event, subject: str, sha256: str) -> bool:
        """Whether an entry is to be written; False for one that an earlier process wrote after its last checkpoint."""
        key = (event, subject)
        if key not in self._fixed:
            return True
        if key not in self._unconfirmed:
            raise RegistrationError(
                f"{_what(event, subject)} was {event} before; the registry is append-only, use a new id"
            )
        if self._fixed[key] != sha256:
            raise RegistryLogError(
                f"the registry log says that {_what(event, subject)} was {event} in another form than now: the log does not "
                f"fit this run; {START_AGAIN}"
            )
        self._unconfirmed.discard(key)
        return False

    def _append(
        self,
        event: Event,
        subject: str,
        sha256: str,
        *,
        supernode: Supernode | None = None,
        claim: Claim | None = None,
        plan: ExperimentPlan | None = None,
        measurement: Measurement | None = None,
        report_sha256: str | None = None,
    ) -> None:
        if self._entries and self._entries[-1].event == "reported":
            raise RegistrationError(
                f"{_what(event, subject)} cannot be {event} after the report was sealed; begin a run of its own for it"
            )
        previous = self.mark.chain
        sequence = len(self._entries)
        chain = chain_sha256(sequence, event, subject, sha256, previous)
        entry = Registration(
            sequence=sequence, event=event, subject=subject, sha256=sha256, previous=previous, chain=chain
        )
        if self._log is not None:
            # A plan announces an act, so it must outlast even the machine; its write makes the lines before it last.
            spent = self.spent() if self.spent is not None and event == "measured" else None
            line = LogLine(
                entry=entry,
                supernode=supernode,
                claim=claim,
                plan=plan,
                measurement=measurement,
                report_sha256=report_sha256,
                spent=spent,
            )
            self._log.append(line, lasting=event == "planned")
            self._settled = event == "planned"
        self._fixed[event, subject] = sha256
        self._entries.append(entry)


def _what(event: Event, subject: str) -> str:
    kinds = {"defined": "supernode", "reported": "report"}
    return f"{kinds.get(event, 'claim')} {subject}"
