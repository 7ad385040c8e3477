"""The smallest parts of a page: a named value, and a reference to something on the page."""

from __future__ import annotations

from dataclasses import dataclass

from tracescribe.agents.findings import Outcome


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


@dataclass(frozen=True)
class Chip:
    """A reference to a claim with its verdict."""

    claim_id: str
    outcome: Outcome
