"""Reads the cases of a job page by page: a summary of a hundred thousand cases holds a few thousand at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tracescribe.runs.store.errors import StoreDamagedError
from tracescribe.runs.store.tables import artefact_uses, cases
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

PAGE = 2000
"""Cases read in one transaction."""
_COLUMNS = (
    cases.c.case_id,
    cases.c.case_key,
    cases.c.position,
    cases.c.title,
    cases.c.status,
    cases.c.attempt,
    cases.c.crashes,
    cases.c.worker_id,
    cases.c.started_at,
    cases.c.finished_at,
    cases.c.seconds,
    cases.c.paid_usd,
    cases.c.paid_tokens,
    cases.c.paid_calls,
    cases.c.failure_kind,
    cases.c.failure_message,
    cases.c.specification,
    cases.c.figures,
)

_PLAIN = tuple(column.name for column in _COLUMNS[:-2])
"""Columns that are fields of a record as they are; the last two are JSON."""


@dataclass(frozen=True)
class CaseRecord:
    """One case with what came of it.

    Attributes:
        subject: hash of prompt or graph without the seed: repetitions with several seeds share it.
        figures: as `CaseFigures`, empty before the case is finished.
        scores: finite values by metric name.
        family, tags: of the gold circuit; empty where there is none.
    """

    case_id: str
    case_key: str
    position: int
    title: str
    status: str
    attempt: int
    crashes: int
    worker_id: str | None
    started_at: float | None
    finished_at: float | None
    seconds: float | None
    paid_usd: float
    paid_tokens: int
    paid_calls: int
    failure_kind: str | None
    failure_message: str | None
    seed: int
    source: str | None
    gold_id: str | None
    subject: str
    figures: Mapping[str, Any]
    scores: Mapping[str, float]
    family: str
    tags: tuple[str, ...]

    @property
    def verdicts(self) -> dict[str, int]:
        """Number of claims by outcome."""
        return {str(name): int(n) for name, n in (self.figures.get("verdicts") or {}).items()}

    @property
    def usd(self) -> float | None:
        """As the report counts it: recorded answers are charged like new ones. None where no price is known."""
        value = self.figures.get("usd")
        return None if value is None else float(value)


def case_records(store: Store, job_id: str, page: int = PAGE) -> Iterator[CaseRecord]:
    """The cases of a job in their order; each page is a transaction of its own.

    Raises:
        StoreError: the store cannot be read, or a row in it is no case.
    """
    after = -1
    while True:
        rows = _page(store, job_id, after, page)
        for row in rows:
            yield _record(row)
        if len(rows) < page:
            return
        after = rows[-1][2]


def artefacts_of(store: Store, case_ids: list[str]) -> dict[str, dict[str, str]]:
    """SHA-256 by name of the artefacts of a few cases, by case.

    Raises:
        StoreError: the store cannot be read.
    """
    columns = (artefact_uses.c.case_id, artefact_uses.c.name, artefact_uses.c.sha256)
    query = sa.select(*columns).where(artefact_uses.c.case_id.in_(case_ids)).order_by(*columns[:2])
    found: dict[str, dict[str, str]] = {}
    for case_id, name, sha256 in store.read(lambda connection: connection.execute(query).all()):
        found.setdefault(case_id, {})[name] = sha256
    return found


def _page(store: Store, job_id: str, after: int, page: int) -> list[tuple[Any, ...]]:
    query = (
        sa.select(*_COLUMNS)
        .where(cases.c.job_id == job_id, cases.c.position > after)
        .order_by(cases.c.position)
        .limit(page)
    )
    return store.read(lambda connection: [tuple(row) for row in connection.execute(query)])


def _record(row: tuple[Any, ...]) -> CaseRecord:
    *plain, specification_text, figures_text = row
    try:
        specification: dict[str, Any] = json.loads(specification_text)
        figures: dict[str, Any] = json.loads(figures_text) if figures_text else {}
        more = figures.get("more") or {}
        scores = {str(n): float(v) for n, v in (figures.get("scores") or {}).items() if v is not None}
        subject = specification.get("graph_sha256") or sha256_json(specification.get("prompt"))
        told = dict(zip(_PLAIN, plain, strict=True))
        return CaseRecord(
            **told,
            seed=int(specification.get("seed") or 0),
            source=specification.get("source"),
            gold_id=specification.get("gold_id"),
            subject=str(subject),
            figures=figures,
            scores=scores,
            family=str(more.get("family") or ""),
            tags=tuple(str(tag) for tag in more.get("tags") or ()),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreDamagedError(f"case {plain[0]} in the store cannot be read: {error}; see docs/runbooks/") from error
