"""What a proposer keeps between the steps of one case: plain JSON in `tools.memory`, so that a resumed run has it too."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

Kept = TypeVar("Kept", bound=BaseModel)


def recall(tools: CaseTools, key: str, kind: type[Kept]) -> Kept | None:
    """What was kept under a key; None where nothing was.

    Raises:
        ValidationError: what stands there is of another kind, which only a damaged run folder can bring about.
    """
    value = tools.memory.get(key)
    return None if value is None else kind.model_validate(value)


def keep(tools: CaseTools, key: str, value: BaseModel) -> None:
    """Keep a value under a key, in place of what was there."""
    tools.memory[key] = value.model_dump(mode="json")
