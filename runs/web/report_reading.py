"""Opens the report of a case for a page: logged, checked against its hash, parsed once however often it is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tracescribe.runs.review.stored import GRAPH_FILES
from tracescribe.runs.store.tables import artefact_uses, cases, reports

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.access.roles import Principal
    from tracescribe.runs.store.database import Store
    from tracescribe.runs.web.context import WebContext


@dataclass(frozen=True)
class OpenedReport:
    """The report of a case.

    Attributes:
        sha256: of the artefact `report.json`.
        job_id: of the job that the case belongs to.
        has_graph: whether the case kept its graph; the page tells where it did not.
        names: of all artefacts of the case.
    """

    case_id: str
    job_id: str
    sha256: str
    report: CircuitReport
    has_graph: bool
    names: tuple[str, ...]


def open_case_report(context: WebContext, visitor: Principal, case_id: str) -> OpenedReport:
    """The report of a case; that it was opened is in the audit log before this returns.

    Raises:
        AccessDeniedError: the visitor's role does not allow it.
        UnknownIdError: no such case, or its report is no longer kept.
        ArtefactDamagedError, ArtefactMissingError: it is not what was stored.
        ReportError: what was stored is no report.
    """
    content = context.open(visitor, case_id)

    def look(connection: sa.Connection) -> tuple[str, tuple[str, ...]]:
        job = connection.execute(sa.select(cases.c.job_id).where(cases.c.case_id == case_id)).scalar_one()
        kept = connection.execute(
            sa.select(artefact_uses.c.name).where(artefact_uses.c.case_id == case_id).order_by(artefact_uses.c.name)
        )
        return str(job), tuple(str(name) for name in kept.scalars())

    job_id, names = context.store.read(look)
    has_graph = any(name in names for name in GRAPH_FILES)
    return OpenedReport(case_id, job_id, sha256(content).hexdigest(), parsed_report(content), has_graph, names)


def case_is_known(store: Store, case_id: str) -> bool:
    """Whether there is such a case, whatever is left of it."""
    query = sa.select(cases.c.case_id).where(cases.c.case_id == case_id)
    return store.read(lambda connection: connection.execute(query).first()) is not None


def review_status_of(store: Store, case_id: str) -> str:
    """`unreviewed`, `open`, `accepted` or `rejected`: of the last act of any review of the report."""
    query = sa.select(reports.c.review_status).where(reports.c.case_id == case_id)
    found = store.read(lambda connection: connection.execute(query).scalar())
    return str(found) if found is not None else "unreviewed"


def parsed_report(content: bytes) -> CircuitReport:
    """The report in an artefact's bytes; the last ones are kept.

    Raises:
        ReportError: it is no report of this version.
    """
    from tracescribe.runs.review.stored import report_of_bytes

    return report_of_bytes(content)
