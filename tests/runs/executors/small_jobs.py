"""Jobs of a few cases, put straight into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracescribe.runs.jobs.specification import (
    Budgets,
    CaseBudget,
    CaseSpecification,
    JobBudget,
    JobSpecification,
    Prompts,
)
from tracescribe.runs.store.tables import cases, jobs
from tracescribe.tracer.provenance import canonical_json

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


def put_job(
    store: Store,
    job_id: str,
    prompts: Sequence[str],
    *,
    usd_limit: float | None = None,
    case_usd: float | None = None,
    kill_after: float | None = None,
    max_crashes: int = 5,
) -> list[str]:
    """Store a job with a case a prompt; returns their ids."""
    budgets = Budgets(case=CaseBudget(usd=case_usd, kill_after=kill_after), job=JobBudget(usd=usd_limit))
    specification = JobSpecification(prompts=Prompts(inline=("x",)), budget=budgets, max_crashes=max_crashes)
    text = canonical_json(specification.model_dump(mode="json"))
    rows: list[dict[str, Any]] = []
    for position, prompt in enumerate(prompts):
        case_id = f"{job_id}.{position}"
        key = hashlib.sha256(prompt.encode()).hexdigest()
        case = CaseSpecification(case_id=case_id, case_key=key, title=prompt, prompt=prompt)
        rows.append(
            {
                "case_id": case_id,
                "job_id": job_id,
                "position": position,
                "case_key": key,
                "title": prompt,
                "specification": canonical_json(case.model_dump(mode="json")),
                "status": "waiting",
            }
        )
    job = {
        "job_id": job_id,
        "name": job_id,
        "status": "waiting",
        "specification": text,
        "specification_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "agent": "none",
        "model": "none",
        "n_cases": len(rows),
        "usd_limit": usd_limit,
        "created_at": 0.0,
        "created_by": "test",
    }

    def put(connection: Any) -> None:
        connection.execute(jobs.insert().values(job))
        if rows:
            connection.execute(cases.insert(), rows)

    store.write(put)
    return [str(row["case_id"]) for row in rows]
