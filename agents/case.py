"""What an agent is given: a prompt to trace, or a graph that was traced elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.graph import AttributionGraph


@dataclass(frozen=True, eq=False)
class InterpretationCase:
    """One circuit to interpret. Exactly one of `prompt` and `graph` is given.

    Attributes:
        case_id: names the case in files and tables; never part of a path as it stands.
        prompt: text that the toolbox traces; needs model weights.
        graph: an attribution graph; the toolbox blinds it, so labels in it reach no agent.

    Raises:
        SettingError: neither or both are given.
    """

    case_id: str
    prompt: str | None = None
    graph: AttributionGraph | None = None

    def __post_init__(self) -> None:
        if (self.prompt is None) == (self.graph is None):
            found = "neither" if self.prompt is None else "both"
            raise SettingError(f"case {self.case_id!r} needs a prompt or a graph, found {found}; give exactly one")
