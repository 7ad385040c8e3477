"""Cases without work, to measure what is around them: they do nothing, or sleep."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracescribe.runs.executors.contract import CaseLease, CaseOutcome

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

_CHUNK = 5000


@dataclass(frozen=True)
class SleepingCase:
    """Sleeps, and has nothing to show for it.

    Attributes:
        seconds: of each case; 0 does nothing at all.
    """

    seconds: float = 0.0

    def __call__(self, lease: CaseLease, store: Store, still_ours: Callable[[], bool]) -> CaseOutcome:
        """Sleep."""
        if self.seconds:
            time.sleep(self.seconds)
        return CaseOutcome(seconds=self.seconds)


def put_idle_job(store: Store, job_id: str, n_cases: int, *, status: str = "waiting") -> None:
    """Store a job whose cases nobody could interpret, in the same form as real ones.

    Args:
        status: of the job and of its cases: `waiting`, or `done` with figures.
    """
    from tracescribe.runs.jobs.records import CaseFigures
    from tracescribe.runs.jobs.specification import JobSpecification, Prompts
    from tracescribe.runs.store.tables import cases, jobs
    from tracescribe.tracer.provenance import canonical_json

    specification = JobSpecification(name="idle", prompts=Prompts(inline=("idle",)))
    text = canonical_json(specification.model_dump(mode="json"))
    figures = CaseFigures(answer="Austin", verdicts={"supported": 3, "refuted": 1, "inconclusive": 2}, experiments=6)
    finished: dict[str, Any] = {}
    if status == "done":
        told = canonical_json(figures.model_dump(mode="json"))
        finished = {"figures": told, "attempt": 1, "started_at": 0.0, "finished_at": 1.0, "seconds": 1.0}
    job = {
        "job_id": job_id,
        "name": specification.name,
        "status": status,
        "specification": text,
        "specification_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "agent": specification.agent.spec,
        "model": specification.weights.model,
        "n_cases": n_cases,
        "created_at": time.time(),
        "created_by": "bench",
    }

    def put(connection: Connection) -> None:
        connection.execute(jobs.insert().values(job))
        for begin in range(0, n_cases, _CHUNK):
            numbers = range(begin, min(begin + _CHUNK, n_cases))
            connection.execute(cases.insert(), list(_case_rows(job_id, numbers, status, finished)))

    store.write(put)


def _case_rows(job_id: str, numbers: range, status: str, finished: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from tracescribe.runs.jobs.specification import CaseSpecification
    from tracescribe.tracer.provenance import canonical_json

    for number in numbers:
        prompt = f"the capital of the state containing city {number} is"
        key = hashlib.sha256(prompt.encode()).hexdigest()
        case = CaseSpecification(case_id=f"{job_id}.{number}", case_key=key, title=prompt, prompt=prompt)
        yield {
            "case_id": case.case_id,
            "job_id": job_id,
            "position": number,
            "case_key": key,
            "title": case.title,
            "specification": canonical_json(case.model_dump(mode="json")),
            "status": status,
            **finished,
        }
