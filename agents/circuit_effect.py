"""What the circuit as a whole does: necessity and sufficiency as normalised recovered logit difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracescribe.agents.experiment_settings import ExperimentSettings
from tracescribe.agents.findings import CircuitEffect, Supernode
from tracescribe.agents.survey import Survey

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


def measure_circuit(
    tools: CaseTools, survey: Survey, supernodes: Sequence[Supernode], settings: ExperimentSettings
) -> CircuitEffect | None:
    """Necessity and sufficiency of all members together, beside random circuits of the same size."""
    return None
