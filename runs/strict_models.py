"""The base of what comes in by HTTP: unknown fields are refused, and a flood of them before each becomes a fault of its own.

Pydantic makes one fault for each wrong item or field. A body of half a million would hold the server for seconds, so lists
in these models stop at their first wrong item (`fail_fast`), and objects are counted before they are looked at.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

MAX_FIELDS = 64
"""That an object may have; no model of ours has as many."""


class StrictModel(BaseModel):
    """Frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise ValueError(f"{len(value)} fields, at most {MAX_FIELDS} are taken")
        return value
