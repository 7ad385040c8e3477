"""What ids in paths and queries may look like. They are looked up in the store, and never become paths."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

CASE_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
REVIEW_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$"
JOB_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$"

CaseId = Annotated[str, Path(pattern=CASE_ID, description="of a report: the id of the case that made it")]
JobId = Annotated[str, Path(pattern=JOB_ID, description="of a job")]
ReviewQuery = Annotated[str | None, Query(pattern=REVIEW_ID, description="id of a review; none for the visitor's own")]
"""Annotation of the parameter `review`."""
