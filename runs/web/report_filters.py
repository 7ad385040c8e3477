"""What the list of reports can be asked for: read from a query strictly for programs, and kindly for the page's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tracescribe.runs.web.ids import JOB_ID

if TYPE_CHECKING:
    from tracescribe.runs.review.listing import ReportQuery

Verdict = Literal["supported", "refuted", "inconclusive", "untested"]
Status = Literal["unreviewed", "open", "accepted", "rejected"]
Sort = Literal["newest", "prompt", "probability", "score", "refuted"]

PER_PAGE = (25, 50, 100)
"""Choices of the page; programs may ask for any number up to the last."""


def _clean(value: object) -> object:
    """Without the character that no database keeps in a text."""
    return value.replace("\0", " ") if isinstance(value, str) else value


_Words = Annotated[str, BeforeValidator(_clean)]


class ReportFilter(BaseModel):
    """A search in the list of reports.

    Attributes:
        q: words that the prompt, the answer or the labels hold, all of them.
        verdict: reports with at least one claim of this outcome.
        prompt: SHA-256 of a prompt; reports on that prompt alone.
        reverse: the other way round than the sort's own: newest first, best score first, prompts from A to Z.
    """

    model_config = ConfigDict(frozen=True)

    q: _Words = Field(default="", max_length=500, description="words that prompt, answer or labels hold, all of them")
    model: _Words | None = Field(default=None, max_length=400)
    agent: _Words | None = Field(default=None, max_length=200)
    verdict: Verdict | None = Field(default=None, description="with at least one claim of this outcome")
    score_min: float | None = Field(default=None, ge=-1e6, le=1e6, allow_inf_nan=False)
    score_max: float | None = Field(default=None, ge=-1e6, le=1e6, allow_inf_nan=False)
    status: Status | None = Field(default=None, description="of the last review act")
    job: str | None = Field(default=None, pattern=JOB_ID)
    prompt: str | None = Field(default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of a prompt")
    sort: Sort = "newest"
    reverse: bool = False
    page: int = Field(default=1, ge=1, le=100_000)
    per_page: int = Field(default=PER_PAGE[0], ge=1, le=PER_PAGE[-1])

    def query(self) -> ReportQuery:
        """As the store's list of reports takes it."""
        from tracescribe.runs.review.listing import ReportQuery

        values = self.model_dump(exclude={"prompt"})
        return ReportQuery(**values, prompt_sha256=self.prompt)

    def link(self, **changes: object) -> str:
        """The address of the list with some values changed; a change of anything but the page goes to the first."""
        values = {**self.model_dump(), "page": 1, **changes}
        if not changes:
            values["page"] = self.page
        told = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in values.items()
            if value != ReportFilter.model_fields[name].default
        }
        return f"/reports?{urlencode(told)}" if told else "/reports"

    @property
    def narrows(self) -> bool:
        """Whether it leaves any report out."""
        kept = {"sort", "reverse", "page", "per_page"}
        return self.model_dump(exclude=kept) != ReportFilter().model_dump(exclude=kept)


def kind_filter(values: Mapping[str, str]) -> tuple[ReportFilter, tuple[str, ...]]:
    """The filter of a form, whose fields may be empty; what cannot be used is left out, and named.

    Returns:
        The filter, and the names of values that were left out.
    """
    given = {name: value for name, value in values.items() if value != "" and name in ReportFilter.model_fields}
    try:
        return ReportFilter.model_validate(given), ()
    except ValidationError as error:
        wrong = {str(fault["loc"][0]) for fault in error.errors() if fault["loc"]}
    kept = {name: value for name, value in given.items() if name not in wrong}
    return ReportFilter.model_validate(kept), tuple(sorted(wrong))
