"""What a report says of the circuit as a whole, held against its claims: the circuit, the swaps, and why it stopped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tracescribe.agents.claims import Claim, NecessityClaim, SteeringClaim, SwapClaim
from tracescribe.agents.findings import CircuitEffect, Supernode, SwapSummary, Verdict
from tracescribe.agents.reporting.report_model import CircuitReport
from tracescribe.agents.stopping import (
    COMPLETE_SUFFICIENCY,
    REVISION_FAILED,
    UNTESTED_NOTE,
    says_nothing_new,
    stop_before_revision,
)
from tracescribe.agents.testing.experiment_settings import MIN_CONTROLS
from tracescribe.agents.testing.swap_summary import swap_summaries
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.statistics import rank_p_value


def whole_faults(report: CircuitReport) -> list[str]:
    """What contradicts the claims, in words."""
    faults: list[str] = []
    if report.tested != bool(report.measurements):
        faults.append(
            f"the report says tested: {str(report.tested).lower()}, but has {len(report.measurements)} measurements"
        )
    if report.tested and not report.summary and all(failure.step != "report" for failure in report.failures):
        faults.append("claims were tested, but the story is missing, and no failure says why")
    faults += _rejection_faults(report) + _circuit_faults(report) + _swap_faults(report)
    return faults + (_stop_faults(report) or _detail_faults(report))


def rejected_ids(claims: Sequence[Claim], verdicts: Sequence[Verdict]) -> frozenset[str]:
    """Supernodes that were tested by interventions of their own and failed every one of them."""
    outcome_of = {verdict.claim_id: verdict.outcome for verdict in verdicts}
    outcomes: dict[str, set[str]] = {}
    for claim in claims:
        if isinstance(claim, NecessityClaim | SwapClaim | SteeringClaim):
            outcomes.setdefault(claim.supernode, set()).add(outcome_of[claim.claim_id])
    return frozenset(supernode for supernode, found in outcomes.items() if found == {"refuted"})


def standing_features(supernodes: Iterable[Supernode]) -> frozenset[FeatureNode]:
    """The circuit that a report stands by: members of the supernodes that are not rejected."""
    return frozenset(member.node for supernode in supernodes if not supernode.rejected for member in supernode.members)


def _rejection_faults(report: CircuitReport) -> list[str]:
    """Supernodes marked as rejected, or not, against what their own interventions gave."""
    rejected = rejected_ids(report.claims, report.verdicts)
    return [
        f"supernode {s.supernode_id} is {'' if s.rejected else 'not '}marked as rejected, which its claims do not bear out"
        for s in report.supernodes
        if s.rejected != (s.supernode_id in rejected)
    ]


def _circuit_faults(report: CircuitReport) -> list[str]:
    circuit = report.circuit
    if circuit is None:
        return []
    faults: list[str] = []
    if report.stopped is not None and report.stopped.reason == "untestable":
        faults.append("the circuit as a whole has effects in a report that says nothing could be tested")
    standing = standing_features(report.supernodes)
    if circuit.n_features != len(standing):
        faults.append(
            f"the circuit as a whole has {circuit.n_features} features, but the supernodes that stand have {len(standing)}"
        )
    if circuit.n_features > circuit.n_active:
        faults.append(f"the circuit has {circuit.n_features} features of {circuit.n_active} that are active")
    if circuit.target.strip() not in {target.token.strip() for target in report.targets}:
        faults.append(f"the circuit is measured on {circuit.target!r}, which is no target of the report")
    return faults + _random_faults(circuit)


def _random_faults(circuit: CircuitEffect) -> list[str]:
    """p values of the circuit that its random circuits do not give."""
    faults: list[str] = []
    pairs: Sequence[tuple[str, float, tuple[float, ...], float | None]] = (
        ("sufficiency", circuit.sufficiency, circuit.random_sufficiency, circuit.sufficiency_p),
        ("necessity", circuit.necessity, circuit.random_necessity, circuit.necessity_p),
    )
    for name, effect, random, told in pairs:
        if not all(math.isfinite(value) for value in (effect, *random)):
            faults.append(f"the circuit's {name} holds a number that is not finite")
            continue
        ruled = rank_p_value(effect, random).p_value
        if told is None and len(random) >= MIN_CONTROLS:
            faults.append(f"the circuit's {name} has no p value, but {len(random)} random circuits to compare it with")
        if told is not None and not math.isclose(told, ruled, rel_tol=1e-9):
            faults.append(
                f"the circuit's {name} has p {told:.6g}, but its {len(random)} random circuits give {ruled:.6g}"
            )
    return faults


def _swap_faults(report: CircuitReport) -> list[str]:
    """Swap summaries other than those that the verdicts of the swaps give."""
    told = {summary.supernode: summary for summary in report.swaps}
    ruled = {summary.supernode: summary for summary in swap_summaries(report.claims, report.verdicts)}
    faults = [f"the swaps of supernode {s} are summed up, but none was tested" for s in sorted(set(told) - set(ruled))]
    faults += [f"the swaps of supernode {s} are not summed up" for s in sorted(set(ruled) - set(told))]
    if len(told) != len(report.swaps):
        faults.append("the swaps of one supernode are summed up twice")
    for supernode in sorted(set(told) & set(ruled)):
        if not _same_summary(told[supernode], ruled[supernode]):
            faults.append(f"the summary of the swaps of supernode {supernode} does not follow from their verdicts")
    return faults


def _same_summary(told: SwapSummary, ruled: SwapSummary) -> bool:
    bounds = [(told.interval.low, ruled.interval.low), (told.interval.high, ruled.interval.high)]
    counts = (told.n_donors, told.n_supported, told.interval.level)
    return counts == (ruled.n_donors, ruled.n_supported, ruled.interval.level) and all(
        math.isclose(a, b, abs_tol=1e-9) for a, b in bounds
    )


def _stop_faults(report: CircuitReport) -> list[str]:
    """A reason for stopping that the rest of the report contradicts."""
    stopped = report.stopped
    if stopped is None:
        return []
    faults: list[str] = []
    if stopped.reason == "complete" and (
        report.circuit is None or report.circuit.sufficiency < COMPLETE_SUFFICIENCY or not report.verdicts
    ):
        faults.append("the agent stopped because the circuit was complete, but the circuit does not carry the answer")
    if stopped.reason == "untestable" and report.tested:
        faults.append("the agent stopped because nothing could be tested, but experiments were run")
    if report.cut_short is not None and stopped.reason not in ("budget", "untestable"):
        faults.append(f"the report was cut short, but gives {stopped.reason!r} as the reason for stopping")
    return faults


def _detail_faults(report: CircuitReport) -> list[str]:
    """A reason for stopping, or its words, other than the rules of `agents.stopping` make of the report."""
    told = report.stopped
    if told is None:
        return []
    notes = report.unexplained.notes
    ruled = stop_before_revision(
        untestable=next((n.removeprefix(UNTESTED_NOTE) for n in notes if n.startswith(UNTESTED_NOTE)), None),
        cut_short=report.cut_short,
        circuit=report.circuit,
        came_back=_of_last_round(report),
        rounds=told.rounds,
        max_rounds=_rounds_allowed(report),
    )
    if ruled is not None:
        if told.reason != ruled.reason:
            return [f"the reason for stopping is {told.reason!r}, but the report gives {ruled.reason!r}"]
        if told.detail != ruled.detail:
            return [
                f"the agent stopped with the words {told.detail[:80]!r}, but the report gives {ruled.detail[:80]!r}"
            ]
        return []
    if told.reason != "nothing new":
        return [f"the reason for stopping is {told.reason!r}, which the report does not bear out"]
    failed = {REVISION_FAILED + failure.error for failure in report.failures if failure.step == "revise"}
    if told.detail in failed or says_nothing_new(told.detail):
        return []
    return [f"the agent stopped since nothing new came, with words that do not say why: {told.detail[:80]!r}"]


def _of_last_round(report: CircuitReport) -> list[Verdict]:
    """Verdicts of the claims that were registered after the last experiment but those of their own."""
    claims: set[str] = set()
    for entry in reversed(report.registry):
        if entry.event == "registered":
            claims.add(entry.subject)
        elif claims and entry.event in ("planned", "measured"):
            break
    return [verdict for verdict in report.verdicts if verdict.claim_id in claims]


def _rounds_allowed(report: CircuitReport) -> int:
    """The limit on rounds as the settings have it; where they have none, whatever the reason for stopping implies."""
    loop = report.provenance.agent_settings.get("loop")
    limit = loop.get("max_rounds") if isinstance(loop, dict) else None
    if isinstance(limit, int) and not isinstance(limit, bool):
        return limit
    assert report.stopped is not None
    return report.stopped.rounds + (report.stopped.reason != "round limit")
