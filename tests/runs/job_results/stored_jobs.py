"""Jobs in a store as workers leave them, without running anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa

from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.statements import insert_if_absent
from tracescribe.runs.store.tables import cases, jobs, workers
from tracescribe.tracer.provenance import canonical_json, sha256_json

HOSTILE = "</script><img src=x onerror=alert(1)> \x1b[31m\u202e [red]x[/red] {{7*7}} | `a` *b* \\ 'q\" \n## h"


@dataclass(frozen=True)
class CaseSpec:
    """One case; what is left out does not matter to a test."""

    prompt: str
    status: str = "done"
    seed: int = 0
    scores: Mapping[str, float | None] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = 1.0
    paid_usd: float = 0.0
    usd: float | None = None
    failure: tuple[str, str] | None = None
    family: str = ""
    tags: Sequence[str] = ()
    title: str | None = None
    artefacts: Sequence[Artefact] = ()
    worker_id: str | None = "w1"
    cut_short: str | None = None
    llm_calls: int = 2


def add_job(
    store: Store,
    job_id: str,
    specs: Sequence[CaseSpec],
    *,
    status: str = "done",
    name: str = "a job",
    agent: str = "offline",
    created_at: float = 1_700_000_000.0,
    specification: Mapping[str, Any] | None = None,
    **columns: Any,
) -> None:
    """Store a job and its cases; artefacts are put and kept as a worker does it."""
    told = dict(specification or {"name": name, "seeds": [0]})
    row = {
        "job_id": job_id,
        "name": name,
        "status": status,
        "specification": canonical_json(told),
        "specification_sha256": sha256_json(told),
        "agent": agent,
        "model": "embedded",
        "n_cases": len(specs),
        "created_at": created_at,
        "created_by": "local:me",
    } | columns
    rows = [_case(job_id, place, spec, created_at) for place, spec in enumerate(specs)]
    store.write(lambda connection: insert_if_absent(connection, jobs, [row]))
    if rows:
        store.write(lambda connection: connection.execute(sa.insert(cases), rows) and None)
    for place, spec in enumerate(specs):
        if spec.artefacts:
            case_id = f"{job_id}.{place}"
            names = store.artefacts.put_all(store, "w1", case_id, 1, spec.artefacts)
            store.write(partial(_keep, store, case_id, names))


def add_worker(store: Store, worker_id: str, job_id: str, *, kind: str = "worker", beat: int = 0) -> None:
    """A worker that is alive as far as the store knows."""
    row = {
        "worker_id": worker_id,
        "kind": kind,
        "executor": "local",
        "job_id": job_id,
        "host": "here",
        "boot_id": "b",
        "pid": 7,
        "pid_started": 1,
        "beat": beat,
        "status": "alive",
        "started_at": 0.0,
        "seen_at": 0.0,
    }
    store.write(lambda connection: insert_if_absent(connection, workers, [row]))


def _keep(store: Store, case_id: str, names: dict[str, str], connection: sa.Connection) -> None:
    store.artefacts.keep(connection, case_id, 1, names)


def _case(job_id: str, place: int, spec: CaseSpec, start: float) -> dict[str, Any]:
    finished = spec.status in ("done", "failed")
    figures = {
        "answer": "x",
        "verdicts": dict(spec.verdicts),
        "scores": dict(spec.scores),
        "usd": spec.usd,
        "llm_calls": spec.llm_calls,
        "cut_short": spec.cut_short,
        "input_tokens": 10,
        "output_tokens": 3,
        "more": {"family": spec.family, "tags": list(spec.tags)},
    }
    case_id = f"{job_id}.{place}"
    return {
        "case_id": case_id,
        "job_id": job_id,
        "position": place,
        "case_key": sha256_json([spec.prompt, spec.seed]),
        "title": spec.title if spec.title is not None else spec.prompt[:200],
        "specification": canonical_json({"case_id": case_id, "prompt": spec.prompt, "seed": spec.seed}),
        "status": spec.status,
        "attempt": 0 if spec.status == "waiting" else 1,
        "crashes": 0,
        "worker_id": None if spec.status == "waiting" else spec.worker_id,
        "reserved_usd": 0.5 if spec.status == "running" else 0.0,
        "started_at": None if spec.status == "waiting" else start + place,
        "finished_at": start + place + (spec.seconds or 0.0) if finished else None,
        "seconds": spec.seconds if finished else None,
        "paid_usd": spec.paid_usd,
        "paid_tokens": 100 if spec.paid_usd else 0,
        "paid_calls": 1 if spec.paid_usd else 0,
        "figures": canonical_json(figures) if spec.status == "done" else None,
        "failure_kind": spec.failure[0] if spec.failure else None,
        "failure_message": spec.failure[1] if spec.failure else None,
    }
