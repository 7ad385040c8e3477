"""Jobs with a specification of one's own, put straight into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracescribe.runs.jobs.specification import CaseSpecification, JobSpecification
from tracescribe.runs.store.statements import insert_if_absent
from tracescribe.runs.store.tables import cases, jobs
from tracescribe.tracer.provenance import canonical_json

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


def put_cases(
    store: Store,
    job_id: str,
    job: JobSpecification,
    prompts: Sequence[str | None],
    *,
    gold_ids: Sequence[str | None] = (),
    graphs: Sequence[str | None] = (),
) -> None:
    """Store a job with a case a prompt, or a graph where the prompt is None."""
    text = canonical_json(job.model_dump(mode="json"))
    row = {
        "job_id": job_id,
        "name": job_id,
        "status": "waiting",
        "specification": text,
        "specification_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "agent": job.agent.spec,
        "model": job.weights.model,
        "n_cases": len(prompts),
        "usd_limit": job.budget.job.usd,
        "created_at": 0.0,
        "created_by": "test",
    }
    rows = []
    for position, prompt in enumerate(prompts):
        graph = graphs[position] if graphs else None
        case = CaseSpecification(
            case_id=f"{job_id}.{position}",
            case_key=hashlib.sha256(str((prompt, graph)).encode()).hexdigest(),
            title=prompt or "graph",
            prompt=prompt,
            graph_sha256=graph,
            gold_id=gold_ids[position] if gold_ids else None,
        )
        rows.append(
            {
                "case_id": case.case_id,
                "job_id": job_id,
                "position": position,
                "case_key": case.case_key,
                "title": case.title,
                "specification": canonical_json(case.model_dump(mode="json")),
                "status": "waiting",
            }
        )
    store.write(lambda connection: insert_if_absent(connection, jobs, [row]))
    store.write(lambda connection: insert_if_absent(connection, cases, rows))
