"""What a check of gold found."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Level = Literal["error", "warning"]


class Finding(BaseModel):
    """One fault, or one thing to know.

    Attributes:
        level: with an error the gold must not be used; with a warning it may, knowing this.
        where: file, circuit, and place inside.
        message: what is wrong, and what to do where that is not plain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Level
    where: str
    message: str


def error(where: str, message: str) -> Finding:
    """A fault."""
    return Finding(level="error", where=where, message=message)


def warning(where: str, message: str) -> Finding:
    """Something to know."""
    return Finding(level="warning", where=where, message=message)
