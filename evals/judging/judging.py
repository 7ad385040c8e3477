"""Known claims through the real loop, and what the judge said of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import Measurement
from tracescribe.agents.loop import LoopAgent
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.agents.testing.verdicts import judge
from tracescribe.evals.judging.known_prompts import KnownPrompt
from tracescribe.evals.judging.rates import JudgedClaim, Source
from tracescribe.evals.judging.sheet import Sheet, SheetProposer
from tracescribe.evals.judging.truth import Truth, TruthTeller

if TYPE_CHECKING:
    from tracescribe.agents.agent import InterpretationAgent
    from tracescribe.agents.report import CircuitReport
    from tracescribe.agents.toolbox import Toolbox

UNLIMITED = Budget(experiments=None, forward_passes=None, seconds=None, llm_calls=None, tokens=None)
"""Nothing is left untested for want of means."""


@dataclass(frozen=True)
class Judged:
    """One report on known claims.

    Attributes:
        claims: those whose truth is sure.
        unclear: how many there were besides.
        report: as the loop gave it.
    """

    claims: tuple[JudgedClaim, ...]
    unclear: int
    report: CircuitReport


def judge_sheet(source: Source, known: KnownPrompt, sheet: Sheet, toolbox: Toolbox, loop: LoopSettings) -> Judged:
    """Register, test and judge the claims of a sheet."""
    report = LoopAgent(SheetProposer(sheet), loop).interpret(_case(known), toolbox, UNLIMITED)
    truth_of = {planted.claim.claim_id: (planted.sort, planted.truth) for planted in sheet.planted}
    told = [
        _told(source, known, report, claim, *truth_of[claim.claim_id])
        for claim in report.claims
        if claim.claim_id in truth_of
    ]
    return Judged(tuple(told), 0, report)


def judge_agent(
    source: Source,
    known: KnownPrompt,
    agent: InterpretationAgent,
    teller: TruthTeller,
    toolbox: Toolbox,
) -> Judged:
    """Let an agent interpret a prompt, and find out of each of its claims what is true of it."""
    report = agent.interpret(_case(known), toolbox, UNLIMITED)
    members = {s.supernode_id: tuple(m.node for m in s.members) for s in report.supernodes}
    told: list[JudgedClaim] = []
    unclear = 0
    for claim in report.claims:
        truth = teller.of_claim(known.sample, claim, members)
        if truth.status == "unclear":
            unclear += 1
        else:
            told.append(_told(source, known, report, claim, f"proposed by the {source} model", truth))
    return Judged(tuple(told), unclear, report)


def _case(known: KnownPrompt) -> InterpretationCase:
    return InterpretationCase("known", prompt=known.prompt)


def _told(
    source: Source, known: KnownPrompt, report: CircuitReport, claim: Claim, sort: str, truth: Truth
) -> JudgedClaim:
    verdict = next(v for v in report.verdicts if v.claim_id == claim.claim_id)
    measured: tuple[Measurement, ...] = tuple(report.measurements)
    (alone,) = judge((claim,), report.plans, measured, {claim.claim_id: verdict.reason})
    return JudgedClaim(
        source=source,
        prompt=known.prompt,
        kind=claim.kind,
        sort=sort,
        true=truth.status == "true",
        why=truth.why,
        strength=truth.strength,
        true_effect=truth.effect,
        outcome=verdict.outcome,
        alone=alone.outcome,
        effect=verdict.effect,
        n_controls=verdict.n_controls,
        reason=verdict.reason,
        claim=claim.model_dump_json(),
    )
