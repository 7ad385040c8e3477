"""One case as a language model is shown it: the graph's facts, with positions and outputs written as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.grouping.supernodes import GraphFacts, graph_facts
from tracescribe.agents.survey import Survey
from tracescribe.prompts.fences import visible

MAX_TOKEN_CHARS = 160
"""Longest token shown. Words of any language are shorter; a foreign graph may name tokens of thousands of characters, and
one such row would crowd all others out of its table."""

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

Json = object
"""A plain JSON value."""


@dataclass(frozen=True)
class EvidenceSettings:
    """How much a language model is shown.

    Attributes:
        contexts: of each feature, strongest first; all that the scan samples are 28.
        silent: contexts in which a feature does not fire, beside those in which it does; Delphi shows 5 beside 15.
        words: rows of each table of words.
        members: of each group that are described one by one.
        strong_share: firings below this share of the largest are left out of the tables: noise of the transcoder.
        min_share: rows below this share of a table's mass are left out.
        min_source_share: tokens below this share of a feature's input attribution are left out.
    """

    contexts: int = 20
    silent: int = 6
    words: int = 12
    members: int = 24
    strong_share: float = 0.25
    min_share: float = 0.01
    min_source_share: float = 0.05

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class CaseView:
    """What there is to show.

    Attributes:
        tools: of the case.
        survey: of its graph.
        facts: of the unpruned graph.
        settings: how much is shown.
    """

    tools: CaseTools
    survey: Survey
    facts: GraphFacts
    settings: EvidenceSettings

    def token_at(self, position: int) -> str:
        """A token of the prompt with its position."""
        return f"{short_token(self.survey.full.tokens[position].strip())} @{position}"

    def output(self, column: int) -> str:
        """Text of an output token; `column` counts as in the profiles."""
        text = self.tools.token_of_logit(self.survey.full, int(self.facts.profiles.logits[column]))
        return short_token(text.strip())


def view_of(tools: CaseTools, survey: Survey, settings: EvidenceSettings) -> CaseView:
    """The view of a surveyed case.

    Raises:
        AttributionError: the graph has a cycle or a weight that is not finite.
    """
    return CaseView(tools, survey, graph_facts(survey.full), settings)


def fitting(rows: Sequence[Json], max_chars: int) -> list[Json]:
    """The first rows that fit into a data fence of this size as JSON, so that no row is ever cut in the middle."""
    kept: list[Json] = []
    used = 4  # the brackets of the list, on lines of their own
    for row in rows:
        text = visible(json.dumps(row, ensure_ascii=False))
        used += len(text) + 4 * text.count("\\") + 2  # an escape grows by four at most where it is made visible
        if used > max_chars:
            break
        kept.append(row)
    return kept


def newest_fitting(rows: Sequence[Json], max_chars: int) -> list[Json]:
    """The last rows that fit, in their order: of a history the end tells most."""
    return fitting(rows[::-1], max_chars)[::-1]


def short_token(text: str) -> str:
    """A token as tables show it: whole, or its beginning and a note of how long it is."""
    if len(text) <= MAX_TOKEN_CHARS:
        return text
    return f"{text[:MAX_TOKEN_CHARS]}… [{len(text)} characters]"


def short(value: float) -> float:
    """Three significant digits: more would only lengthen the prompt."""
    return float(f"{float(value):.3g}")
