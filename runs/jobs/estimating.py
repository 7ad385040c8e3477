"""What a job may cost, before anything is sent: from a few of its cases, and from what like cases took before."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs.dry_run import Range
from tracescribe.runs.jobs.agent_options import budget_of, may_cost, planned_agent
from tracescribe.runs.jobs.locating import EMBEDDED

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as PipeEnd

    from sqlalchemy import Connection

    from tracescribe.runs.interpreting import InterpretRequest
    from tracescribe.runs.jobs.expanding import PlannedJob
    from tracescribe.runs.jobs.prompt_sources import SourcedCase
    from tracescribe.runs.jobs.specification import JobSpecification
    from tracescribe.runs.store.database import Store

SAMPLES = 3
"""Cases that are traced for an estimate: the first, one in the middle, and the last."""
MIN_KNOWN = 5
"""Finished cases of earlier jobs below which they tell nothing."""
MAX_KNOWN = 1000
"""Most of them that are looked at, the newest first."""


@dataclass(frozen=True)
class KnownCases:
    """What cases of the same agent on the same model took in earlier jobs of this store.

    Attributes:
        n_cases: finished ones.
        seconds: of one, on average.
        usd: paid for one, on average; recorded answers cost nothing.
    """

    n_cases: int
    seconds: float
    usd: float


@dataclass(frozen=True)
class JobEstimate:
    """What a job may cost.

    Attributes:
        n_cases: of the job.
        calls, tokens, usd: of all cases; None where no language model is asked, `usd` also where no price is known.
        sampled: cases that the numbers come from; 0 where they come from the agent's settings alone.
        known: earlier cases; None where there are too few.
        seconds: of the whole job, from earlier cases; None where nothing is known.
        case_usd, job_usd: limits.
    """

    n_cases: int
    calls: Range | None
    tokens: Range | None
    usd: Range | None
    sampled: int
    known: KnownCases | None
    seconds: float | None
    case_usd: float | None
    job_usd: float | None

    @property
    def most_usd(self) -> float | None:
        """What the limits allow in all; None where there is no limit."""
        found = [] if self.case_usd is None else [self.case_usd * self.n_cases]
        if self.job_usd is not None:
            found.append(self.job_usd)
        return min(found, default=None)

    def to_json(self) -> dict[str, Any]:
        """The estimate as plain JSON values."""
        return {**asdict(self), "most_usd": self.most_usd}


def estimate_job(plan: PlannedJob, store: Store | None, *, samples: bool, workers: int | None = None) -> JobEstimate:
    """Estimate a job.

    Args:
        store: where earlier jobs are; None for none.
        samples: trace a few prompts for it where the model is the embedded one (others are not loaded for that); else
            the agent's settings tell what a case asks at most.
        workers: instead of the number that the job asks for; None leaves that.
    """
    job = plan.specification
    paid = may_cost(plan.agent)
    known = None if store is None else known_cases(store, job.agent.spec, job.weights.model)
    sampled = 0
    calls = tokens = usd = None
    if paid:
        parts = _sampled(plan) if samples else []
        sampled = len(parts)
        parts = parts or [_from_settings(plan)]
        calls, tokens, usd = (_scaled([part[i] for part in parts], plan.n_cases) for i in range(3))
    return JobEstimate(
        n_cases=plan.n_cases,
        calls=calls,
        tokens=tokens,
        usd=usd,
        sampled=sampled,
        known=known,
        seconds=None if known is None else known.seconds * plan.n_cases / (workers or _workers(plan)),
        case_usd=job.budget.case.usd if paid else None,
        job_usd=job.budget.job.usd if paid else None,
    )


def known_cases(store: Store, agent: str, model: str) -> KnownCases | None:
    """What finished cases of the same agent on the same model took."""
    from sqlalchemy import select

    from tracescribe.runs.store.tables import cases, jobs

    newest = (
        select(cases.c.seconds, cases.c.paid_usd)
        .join(jobs, jobs.c.job_id == cases.c.job_id)
        .where(jobs.c.agent == agent[:200], jobs.c.model == model[:400], cases.c.status == "done")
        .where(cases.c.seconds.is_not(None))
        .order_by(jobs.c.created_at.desc(), cases.c.finished_at.desc())
        .limit(MAX_KNOWN)
    )

    def look(connection: Connection) -> list[tuple[float, float]]:
        return [(row[0], row[1]) for row in connection.execute(newest)]

    rows = store.read(look)
    if len(rows) < MIN_KNOWN:
        return None
    return KnownCases(len(rows), sum(row[0] for row in rows) / len(rows), sum(row[1] for row in rows) / len(rows))


_Part = tuple[Range, Range, Range | None]


def _sampled(plan: PlannedJob) -> list[_Part]:
    """Calls, tokens and USD of a few cases; none where that would mean to load somebody's model here.

    It is done in a process of its own: whoever runs a job afterwards stays light.
    """
    weights = plan.specification.weights
    if weights.load and weights.model != EMBEDDED:
        return []
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_plan_some, args=(theirs, plan.specification, _some(plan.sources)), daemon=True)
    process.start()
    theirs.close()
    try:
        with suppress(EOFError):  # it ended without an answer, which an estimate does not fail by
            parts: list[_Part] = ours.recv()
            return parts
        return []
    finally:
        ours.close()
        process.terminate()
        process.join()


def _plan_some(answer: PipeEnd, job: JobSpecification, sources: Sequence[SourcedCase]) -> None:
    """In the process of its own: plan cases, and send what they would ask."""
    from io import StringIO

    from rich.console import Console

    from tracescribe.runs.dry_run import plan_interpretation
    from tracescribe.runs.terminal import StepLog
    from tracescribe.tracer.errors import TracescribeError

    agent, budget, silent = planned_agent(job), budget_of(job.budget.case), StepLog(Console(file=StringIO()))
    parts: list[_Part] = []
    for source in sources:
        with suppress(TracescribeError):  # this case will fail, and cost nothing; its message comes with its result
            found = plan_interpretation(_request(job, source), agent, budget, silent)
            parts.append((found.calls, found.tokens, found.usd))
    answer.send(parts)


def _some(sources: Sequence[SourcedCase]) -> list[SourcedCase]:
    chosen = {0, len(sources) // 2, len(sources) - 1}
    return [sources[i] for i in sorted(chosen)][:SAMPLES]


def _request(job: JobSpecification, source: SourcedCase) -> InterpretRequest:
    from tracescribe.runs.interpreting import InterpretRequest

    weights = job.weights
    return InterpretRequest(
        prompt=source.prompt,
        graph=source.graph,
        model=weights.model,
        transcoders=weights.transcoders,
        evidence=None if weights.evidence in (None, EMBEDDED) else Path(weights.evidence),
        weights=weights.load,
        out=Path(),  # a plan writes nothing
        keep=False,
    )


def _from_settings(plan: PlannedJob) -> _Part:
    """A case with as many features as the agent labels at most."""
    from tracescribe.agents.llm.estimates import estimate
    from tracescribe.runs.agent_choice import price_for

    llm = plan.agent.llm
    assert llm is not None, "only agents that ask a language model cost money"
    price = price_for(llm.provider)
    told = estimate(llm, n_features=llm.max_labels, max_rounds=plan.agent.loop.max_rounds, price=price)
    total = told.total
    share = total.calls_low / total.calls_high if total.calls_high else 0.0
    tokens = total.input_tokens + total.output_tokens
    usd = None if total.usd is None else Range(total.usd * share, total.usd)
    return Range(total.calls_low, total.calls_high), Range(tokens * share, tokens), usd


def _scaled(parts: Sequence[Range | None], n_cases: int) -> Range | None:
    """The mean of some cases, times all cases."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    scale = n_cases / len(known)
    return Range(sum(part.low for part in known) * scale, sum(part.high for part in known) * scale)


def _workers(plan: PlannedJob) -> int:
    from tracescribe.runs.executors.machine_size import default_workers

    return plan.specification.executor.workers or default_workers()


def sentences(estimate: JobEstimate) -> list[str]:
    """An estimate in words, a line each."""
    lines: list[str] = []
    if estimate.calls is not None and estimate.tokens is not None:
        where = f"from {estimate.sampled} of them" if estimate.sampled else "from the agent's settings, generously"
        asked = f"{_range(estimate.calls)} requests, {_range(estimate.tokens)} tokens"
        money = "price unknown" if estimate.usd is None else f"{estimate.usd.low:.2f} to {estimate.usd.high:.2f} USD"
        lines.append(f"estimate for {estimate.n_cases:,} cases ({where}): {asked}, {money}")
        limits = [f"{name} {limit:g} USD" for name, limit in _limits(estimate) if limit is not None]
        most = "no limit in USD" if estimate.most_usd is None else f"at most {estimate.most_usd:.2f} USD in all"
        lines.append(f"limits: {', '.join([*limits, most])}")
        if estimate.job_usd is not None and estimate.usd is not None and estimate.usd.high > estimate.job_usd:
            lines.append("the job may stop before its end; 'tracescribe jobs resume --max-usd' raises its limit")
    if estimate.known is None or estimate.seconds is None:
        lines.append("time: unknown, as no like cases were run in this store")
    else:
        usd = f" and cost {estimate.known.usd:.4f} USD" if estimate.known.usd else ""
        each = f"{estimate.known.n_cases} earlier cases took {estimate.known.seconds:.1f} s{usd} on average"
        lines.append(f"time: about {_span(estimate.seconds)}; {each}")
    return lines


def _limits(estimate: JobEstimate) -> tuple[tuple[str, float | None], ...]:
    return (("a case", estimate.case_usd), ("the job", estimate.job_usd))


def _range(of: Range) -> str:
    return f"{of.low:,.0f} to {of.high:,.0f}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
