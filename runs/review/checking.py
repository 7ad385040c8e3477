"""Looks over the reviews of a store: whether every act can be read, and follows those before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tracescribe.runs.review.errors import ActRefusedError
from tracescribe.runs.review.folding import Course
from tracescribe.runs.review.loading import acts_of_review
from tracescribe.runs.review.stored import REPORT_FILE, artefacts_of_case, report_of_case
from tracescribe.runs.store.errors import ArtefactDamagedError, ArtefactMissingError, StoreDamagedError
from tracescribe.runs.store.tables import reviews
from tracescribe.tracer.errors import ReportError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


def unreadable_reviews(store: Store) -> Iterator[tuple[str, str, str]]:
    """Reviews that cannot be opened: review, case, and why not.

    A review whose report is no longer kept, or damaged (which is told of the artefact), is only read.

    Raises:
        StoreError: the store cannot be read.
    """
    row = reviews.c
    query = sa.select(row.review_id, row.case_id, row.report_sha256).order_by(row.case_id, row.review_id)
    for review_id, case_id, sha256 in store.read(lambda connection: connection.execute(query).all()):
        done = 0
        try:
            every = acts_of_review(store, review_id)
            if artefacts_of_case(store, case_id).get(REPORT_FILE) != sha256:
                continue
            course = Course(report_of_case(store, case_id).report)
            for act in every:
                course.go_on(act)
                done += 1
        except StoreDamagedError as error:
            yield review_id, case_id, str(error)
        except ActRefusedError as error:
            told = f"its act {done + 1} cannot follow the others: {error}; restore the store from a backup"
            yield review_id, case_id, told
        except (ReportError, ArtefactDamagedError, ArtefactMissingError):
            continue
