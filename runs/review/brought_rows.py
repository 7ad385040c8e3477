"""What a report that is brought in is to the store: the rows of a job, of its one case, and of the index."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracescribe.runs.review.texts import storable
from tracescribe.tracer.provenance import canonical_json, sha256_json

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.executors.case_scoring import CaseScores
    from tracescribe.runs.jobs.specification import CaseSpecification, JobSpecification
    from tracescribe.runs.store.artefacts import Artefact

MAX_NAME = 200
FIRST_ATTEMPT = 1
_NAME = "brought in: "
_MAX_TITLE = 120
_MADE_ID = re.compile(r"[0-9a-f]{8,64}")
"""A report's id as agents make it; any other text may tell something of the prompt."""


@dataclass(frozen=True)
class BroughtRows:
    """Rows by column; `listing` lacks what `indexing.enter` adds."""

    job: dict[str, Any]
    case: dict[str, Any]
    listing: dict[str, Any]


def rows_of(
    report: CircuitReport,
    artefacts: Sequence[Artefact],
    job_id: str,
    case_id: str,
    name: str,
    actor: str | None,
    scores: CaseScores,
) -> BroughtRows:
    """The rows of a report that is brought in.

    Args:
        artefacts: the report's own first, then its graph, where there is one.
        name: for people: of the folder or file that it comes from.
        actor: who brings it in; None for the person at this machine.
        scores: against gold; empty where there is none.
    """
    from tracescribe.runs.audit.log import local_actor
    from tracescribe.runs.jobs.specification import as_json
    from tracescribe.runs.review.indexing import listing_of

    now = time.time()
    specification = _specification(report, artefacts[0].sha256, len(artefacts) > 1)
    whole = as_json(specification)
    job = {
        "job_id": job_id,
        "name": specification.name,
        "status": "done",
        "specification": canonical_json(whole),
        "specification_sha256": sha256_json(whole),
        "agent": specification.agent.spec[:200],
        "model": specification.weights.model[:400],
        "model_sha256": specification.weights.model_sha256,
        "transcoders_sha256": specification.weights.transcoders_sha256,
        "n_cases": 1,
        "created_at": now,
        "created_by": storable(actor or local_actor(), 200),
        "started_at": now,
        "finished_at": now,
    }
    told = _case(report, case_id, name)
    case = {
        "case_id": case_id,
        "job_id": job_id,
        "position": 0,
        "case_key": told.case_key,
        "title": told.title,
        "specification": told.model_dump_json(),
        "status": "done",
        "attempt": FIRST_ATTEMPT,
        "crashes": 0,
        "reserved_usd": 0.0,
        "started_at": now,
        "finished_at": now,
        "seconds": report.cost.seconds,
        "paid_usd": 0.0,  # whatever it cost, this store did not pay for it
        "paid_tokens": 0,
        "paid_calls": 0,
        "figures": figures_of(report, scores),
    }
    return BroughtRows(job, case, listing_of(report, artefacts[0].sha256, scores.values))


def figures_of(report: CircuitReport, scores: CaseScores) -> str:
    """What the case's row tells of a report."""
    from tracescribe.runs.executors.case_results import case_figures

    return canonical_json(case_figures(report, scores).model_dump(mode="json"))


def _specification(report: CircuitReport, sha256: str, has_graph: bool) -> JobSpecification:
    from tracescribe.runs.jobs.specification import Agent, JobSpecification, Output, Prompts, Weights

    made = report.provenance
    # jobs are seen by people who may not see prompts, and folders are called by prompts: not by the folder, therefore
    known = report.report_id if _MADE_ID.fullmatch(report.report_id) else sha256[:16]
    return JobSpecification(
        name=_NAME + known,
        weights=Weights(
            model=storable(made.model or "not told"),
            transcoders=storable(made.transcoder or "not told"),
            load=report.tested,
            model_sha256=_hash(made.model_sha256),
            transcoders_sha256=_hash(made.transcoder_sha256),
        ),
        prompts=Prompts(inline=(storable(report.prompt),)),
        agent=Agent(spec=storable(made.agent)),
        seeds=(max(0, made.seed),),
        output=Output(keep=("graph",) if has_graph else ()),
    )


def _case(report: CircuitReport, case_id: str, name: str) -> CaseSpecification:
    from tracescribe.runs import terminal
    from tracescribe.runs.jobs.specification import CaseSpecification

    prompt, seed = storable(report.prompt), max(0, report.provenance.seed)
    line = terminal.one_line(prompt)
    return CaseSpecification(
        case_id=case_id,
        case_key=sha256_json({"seed": seed, "prompt": prompt}),
        title=line if len(line) <= _MAX_TITLE else f"{line[: _MAX_TITLE - 1]}…",
        seed=seed,
        prompt=prompt,
        source=storable(name, MAX_NAME),
    )


def _hash(text: str | None) -> str | None:
    known = text is not None and len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
    return text if known else None
