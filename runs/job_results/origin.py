"""What made a job's results, as its summary tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tracescribe.runs.job_results.summary import Provenance
from tracescribe.runs.jobs.specification import Privacy
from tracescribe.runs.store.tables import audit_entries
from tracescribe.tracer.provenance import version
from tracescribe.tracer.redaction import Redactor, redactor_of

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


def provenance_of(store: Store, job: dict[str, Any], specification: dict[str, Any]) -> Provenance:
    """What made a job's results."""
    query = (
        sa.select(audit_entries.c.sequence, audit_entries.c.chain).order_by(audit_entries.c.sequence.desc()).limit(1)
    )
    end = store.read(lambda connection: connection.execute(query).first())
    return Provenance(
        specification_sha256=job["specification_sha256"],
        specification=_shown(specification),
        product_version=version(),
        model=job["model"],
        model_sha256=job["model_sha256"],
        transcoders_sha256=job["transcoders_sha256"],
        seeds=tuple(int(seed) for seed in specification.get("seeds") or (0,)),
        store_id=store.store_id,
        audit_sequence=None if end is None else int(end.sequence),
        audit_chain=None if end is None else str(end.chain),
    )


def redactor_of_job(specification: dict[str, Any]) -> Redactor:
    """What a job's privacy asks for, from its specification as it is stored."""
    privacy = Privacy.model_validate(specification.get("privacy") or {})
    return redactor_of(privacy.patterns, privacy.more)


def _shown(specification: dict[str, Any]) -> dict[str, Any]:
    """A specification as a summary repeats it: its paths, which the work needs as they are, redacted too."""
    rest = {name: value for name, value in specification.items() if name != "privacy"}
    shown: dict[str, Any] = redactor_of_job(specification).value(rest)
    return {name: shown.get(name, value) for name, value in specification.items()}
