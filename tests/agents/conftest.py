"""The loaded toolbox, and one whole interpretation of the best-known prompt, shared by all tests of the agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.agents.toolbox import Toolbox

DALLAS = "the capital of the state containing Dallas is"


@pytest.fixture(scope="session")
def embedded_toolbox() -> Toolbox:
    """The embedded model, its transcoders and their evidence."""
    from tracescribe.agents.toolbox import load_toolbox

    return load_toolbox()


@pytest.fixture(scope="session")
def dallas_report(embedded_toolbox: Toolbox) -> CircuitReport:
    """The offline agent's report on the best-known prompt."""
    from tracescribe.agents.offline import offline_agent

    return offline_agent().interpret(InterpretationCase("dallas", prompt=DALLAS), embedded_toolbox, Budget())
