"""The circuit report: the contract between agents, reviewers and scorers, and the validator that enforces it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import Field, ValidationError

from tracescribe.agents.claims import Claim, Frozen, claim_sha256, supernodes_of
from tracescribe.agents.findings import (
    CircuitEffect,
    ExperimentPlan,
    FeatureLabel,
    Measurement,
    Supernode,
    SupernodeEdge,
    SwapSummary,
    Verdict,
    supernode_sha256,
)
from tracescribe.agents.registration import Registration, verify_chain
from tracescribe.agents.verdicts import judge
from tracescribe.tracer.errors import RegistrationError, ReportError

__all__ = [
    "REPORT_SCHEMA",
    "CircuitReport",
    "Cost",
    "Provenance",
    "Registration",
    "Sentence",
    "StepFailure",
    "StopReason",
    "Stopped",
    "TargetLogit",
    "Unexplained",
    "parse_report",
    "validate_report",
]

REPORT_SCHEMA = "tracescribe-report/2"


class Sentence(Frozen):
    """One sentence of the story, with the claims it rests on."""

    text: str = Field(min_length=1)
    claims: tuple[str, ...] = Field(min_length=1)


class Unexplained(Frozen):
    """What the report does not explain.

    Attributes:
        error_influence: share of the influence on the logits that enters through error nodes, 0 to 1.
        replacement_score, completeness_score: of the unpruned graph; None for an imported graph without them.
        features_left_out: feature nodes of the pruned graph that are in no supernode.
        notes: in words.
    """

    error_influence: float
    replacement_score: float | None
    completeness_score: float | None
    features_left_out: int = Field(ge=0)
    notes: tuple[str, ...] = ()


class Cost(Frozen):
    """What the report cost. Seconds are the only fields of a report that differ between two runs with one seed."""

    seconds: float = Field(ge=0)
    seconds_by_step: dict[str, float] = Field(default_factory=dict)
    experiments: int = Field(default=0, ge=0)
    forward_passes: int = Field(default=0, ge=0)
    llm_calls: int = Field(default=0, ge=0)
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    usd: float | None = None


class TargetLogit(Frozen):
    """An output token of the graph."""

    node_id: str
    token: str
    probability: float


class Provenance(Frozen):
    """Where every number comes from."""

    product_version: str
    agent: str
    agent_settings: dict[str, object] = Field(default_factory=dict)
    seed: int
    model: str | None
    model_sha256: str | None
    transcoder: str | None
    transcoder_sha256: str | None
    evidence_sha256: str | None
    graph_sha256: str
    prompt_versions: dict[str, str] = Field(default_factory=dict)


class StepFailure(Frozen):
    """A step that failed without failing the run: recorded, never scored as a zero in silence."""

    step: str
    error: str


StopReason = Literal["budget", "complete", "nothing new", "round limit", "untestable"]
"""Why revision ended: the budget is gone; the circuit carries the answer and nothing is undecided; the agent proposed
nothing new; the limit on rounds; nothing can be tested here."""


class Stopped(Frozen):
    """Why an agent stopped, and after how many rounds of revision.

    Attributes:
        detail: in words, with the figure that decided it.
    """

    reason: StopReason
    detail: str
    rounds: int = Field(ge=0)


class CircuitReport(Frozen):
    """A structured circuit report. `validate_report` holds the rules that types cannot express."""

    schema_id: Literal["tracescribe-report/2"] = "tracescribe-report/2"
    report_id: str
    prompt: str
    tokens: tuple[str, ...]
    targets: tuple[TargetLogit, ...]
    tested: bool
    """False for an imported graph without weights: every claim is then untested."""
    cut_short: str | None = None
    """Why the agent stopped early (a budget), or None."""
    summary: tuple[Sentence, ...]
    labels: tuple[FeatureLabel, ...]
    supernodes: tuple[Supernode, ...]
    edges: tuple[SupernodeEdge, ...]
    claims: tuple[Claim, ...]
    plans: tuple[ExperimentPlan, ...]
    measurements: tuple[Measurement, ...]
    verdicts: tuple[Verdict, ...]
    registry: tuple[Registration, ...]
    circuit: CircuitEffect | None = None
    """Of the circuit as a whole; None where nothing could be run, or no circuit was found."""
    swaps: tuple[SwapSummary, ...] = ()
    stopped: Stopped | None = None
    unexplained: Unexplained
    failures: tuple[StepFailure, ...] = ()
    cost: Cost
    provenance: Provenance

    def verdict_counts(self) -> dict[str, int]:
        """Number of claims by outcome, every outcome named."""
        counts = {"supported": 0, "refuted": 0, "inconclusive": 0, "untested": 0}
        for verdict in self.verdicts:
            counts[verdict.outcome] += 1
        return counts


def _repeated(ids: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {i for i in ids if i in seen or seen.add(i)}  # type: ignore[func-returns-value]


def _id_faults(report: CircuitReport) -> list[str]:
    claims = {claim.claim_id for claim in report.claims}
    supernodes = {supernode.supernode_id for supernode in report.supernodes}
    faults = [f"claim id {i} is used twice" for i in sorted(_repeated(c.claim_id for c in report.claims))]
    faults += [f"supernode id {i} is used twice" for i in sorted(_repeated(s.supernode_id for s in report.supernodes))]
    for number, sentence in enumerate(report.summary):
        faults += [f"summary[{number}] cites unknown claim {i}" for i in sentence.claims if i not in claims]
    for claim in report.claims:
        faults += [
            f"claim {claim.claim_id} names unknown supernode {s}" for s in supernodes_of(claim) if s not in supernodes
        ]
    for verdict in report.verdicts:
        if verdict.claim_id not in claims:
            faults.append(f"a verdict names unknown claim {verdict.claim_id}")
    judged = {verdict.claim_id for verdict in report.verdicts}
    faults += [f"claim {i} has no verdict" for i in sorted(claims - judged)]
    faults += [f"claim {i} has two verdicts" for i in sorted(_repeated(v.claim_id for v in report.verdicts))]
    return faults


def _order_faults(report: CircuitReport) -> list[str]:
    """Claims tested before they were registered, changed after it, or judged without a measurement."""
    at: dict[tuple[str, str], Registration] = {(entry.event, entry.subject): entry for entry in report.registry}
    faults: list[str] = []
    for claim in report.claims:
        entry = at.get(("registered", claim.claim_id))
        if entry is None:
            faults.append(f"claim {claim.claim_id} was never registered")
        elif entry.sha256 != claim_sha256(claim):
            faults.append(f"claim {claim.claim_id} differs from what was registered")
        for event in ("planned", "measured"):
            later = at.get((event, claim.claim_id))
            if later is not None and (entry is None or later.sequence < entry.sequence):
                faults.append(f"claim {claim.claim_id} was {event} before it was registered")
    faults += _member_faults(report, at)
    measured = {plan.claim_id for plan in report.plans}
    for verdict in report.verdicts:
        if verdict.outcome in ("supported", "refuted") and verdict.claim_id not in measured:
            faults.append(f"claim {verdict.claim_id} is {verdict.outcome} without an experiment")
    return faults


def _member_faults(report: CircuitReport, at: Mapping[tuple[str, str], Registration]) -> list[str]:
    """Supernodes that a claim names, but whose members were not fixed before it, or were changed after."""
    members = {s.supernode_id: supernode_sha256(s) for s in report.supernodes}
    faults: list[str] = []
    for claim in report.claims:
        registered = at.get(("registered", claim.claim_id))
        for supernode in supernodes_of(claim):
            defined = at.get(("defined", supernode))
            if defined is None or (registered is not None and defined.sequence > registered.sequence):
                faults.append(f"supernode {supernode} was not defined before claim {claim.claim_id}")
            elif supernode in members and members[supernode] != defined.sha256:
                faults.append(f"the members of supernode {supernode} differ from what was defined")
    return faults


def _verdict_faults(report: CircuitReport) -> list[str]:
    """Verdicts that the rule does not give for these plans and measurements: someone else set them."""
    told = {verdict.claim_id: verdict for verdict in report.verdicts}
    ruled = judge(report.claims, report.plans, report.measurements, {})
    return [
        f"claim {v.claim_id} is {told[v.claim_id].outcome}, but the rule makes it {v.outcome}"
        for v in ruled
        if v.claim_id in told and not _same_verdict(told[v.claim_id], v)
    ]


def _same_verdict(told: Verdict, ruled: Verdict) -> bool:
    """Equal in all that is computed; why a claim is untested is told by the loop alone."""
    return told.model_copy(update={"reason": ""}) == ruled.model_copy(update={"reason": ""})


def validate_report(report: CircuitReport) -> None:
    """Check the rules of a report that types cannot express; all faults are reported at once.

    Raises:
        ReportError: an uncited sentence, an unknown or repeated id, a claim that was tested before it was registered
            or changed afterwards, a verdict without an experiment, or one that the rule does not give.
    """
    faults = _id_faults(report) + _order_faults(report) + _verdict_faults(report)
    try:
        verify_chain(report.registry)
    except RegistrationError as error:
        faults.append(str(error))
    if faults:
        raise ReportError(f"report {report.report_id} breaks its contract: " + "; ".join(faults))


def parse_report(text: str) -> CircuitReport:
    """Read and validate a report from JSON text.

    Raises:
        ReportError: the text is not a report, or breaks the contract.
    """
    try:
        report = CircuitReport.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ReportError(
            f"not a circuit report: {where}: {first['msg']} ({error.error_count()} faults in all)"
        ) from error
    validate_report(report)
    return report
