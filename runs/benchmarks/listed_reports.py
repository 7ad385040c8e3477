"""Puts the rows of many reports into a store, as finished jobs leave them, without interpreting anything."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.tables import artefact_uses, cases, jobs, reports
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

_JOBS = 50
_LABELS = 24
_AGENTS = ("offline", "influence", "position", "random", "openai:gpt-test")
_MODELS = ("embedded", "google/gemma-2-2b", "meta-llama/Llama-3.2-1B")
_STATUSES = ("unreviewed", "unreviewed", "unreviewed", "open", "accepted", "rejected")
_SYLLABLES = ("ka", "lo", "mi", "ren", "sta", "ver", "ton", "dal", "as", "ou", "pri", "que", "zen", "ho", "li")
_BEGUN = 1_750_000_000.0


def put_listed_reports(store: Store, number: int) -> list[str]:
    """Store so many rows of reports, of 50 jobs; the same number gives the same rows.

    Returns:
        Words that the reports hold, the frequent ones first.
    """
    chance = random.Random(0)
    words = sorted({"".join(chance.choices(_SYLLABLES, k=chance.randint(1, 3))) for _ in range(900)})
    chance.shuffle(words)
    weights = [1 / (1 + place) for place in range(len(words))]
    content = Artefact("report.json", "report", b'{"a report of": "the benchmark"}')
    sha256 = store.artefacts.put(store, "bench", "bench.0", 1, content)
    rows = [_row(chance, words, weights, place, sha256) for place in range(number)]

    def work(connection: Connection) -> None:
        connection.execute(sa.insert(jobs), [_job(place) for place in range(_JOBS)])
        connection.execute(sa.insert(cases), [_case(row) for row in rows])
        uses = [{"case_id": row["case_id"], "name": "report.json", "sha256": sha256} for row in rows]
        connection.execute(sa.insert(artefact_uses), uses)
        connection.execute(sa.insert(reports), rows)

    if rows:
        store.write(work)
    return words


def _row(chance: random.Random, words: list[str], weights: list[float], place: int, sha256: str) -> dict[str, Any]:
    def text(n: int) -> str:
        return " ".join(chance.choices(words, weights, k=n))

    prompt, answer = f"{text(chance.randint(6, 14))} is", text(1)
    labels = [text(chance.randint(1, 4)) for _ in range(_LABELS)]
    scored = chance.random() < 0.7
    return {
        "case_id": f"bench{place % _JOBS}.{place // _JOBS}",
        "job_id": f"bench{place % _JOBS}",
        "report_id": f"{place:016x}",
        "report_sha256": sha256,
        "prompt": prompt,
        "prompt_sha256": sha256_json(prompt),
        "answer": answer,
        "probability": round(chance.random(), 6),
        "model": chance.choice(_MODELS),
        "agent": chance.choice(_AGENTS),
        "tested": 1,
        "supported": chance.randint(0, 15),
        "refuted": chance.choice((0, 0, 0, 1, 3)),
        "inconclusive": chance.choice((0, 0, 1, 2)),
        "untested": chance.choice((0, 0, 0, 0, 4)),
        "cut_short": None,
        "score": round(chance.random(), 6) if scored else None,
        "score_name": "grouping.supernode_f1" if scored else None,
        "review_status": chance.choice(_STATUSES),
        "finished_at": _BEGUN + place,
        "search": "\n".join([prompt, answer, *labels]),
    }


def _job(place: int) -> dict[str, Any]:
    return {
        "job_id": f"bench{place}",
        "name": f"job {place}",
        "status": "done",
        "specification": "{}",
        "specification_sha256": "0" * 64,
        "agent": "offline",
        "model": "embedded",
        "n_cases": 1,
        "created_at": time.time(),
        "created_by": "local:bench",
    }


def _case(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "case_id": row["case_id"],
        "job_id": row["job_id"],
        "position": int(row["case_id"].partition(".")[2]),
        "case_key": row["prompt_sha256"],
        "title": row["prompt"][:120],
        "specification": "{}",
        "status": "done",
        "attempt": 1,
        "finished_at": row["finished_at"],
        "seconds": 1.0,
        "figures": "{}",
    }
