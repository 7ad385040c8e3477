"""The smallest parts of a page: a named value, and a reference to something on the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A name and its value, as people read them."""

    name: str
    value: str


@dataclass(frozen=True)
class Subject:
    """What a claim or label is about: a step, or a feature label, with its place on the page."""

    anchor: str
    text: str
