"""What `CaseTools` remembers of a run, as plain data."""

from __future__ import annotations

from pydantic import Field, JsonValue

from tracescribe.agents.budget import MeterSnapshot
from tracescribe.agents.claims import Frozen
from tracescribe.agents.registry_log import RegistryMark


class ToolsSnapshot(Frozen):
    """What a run that goes on in another process needs besides the loop's state.

    Attributes:
        meter: what was spent.
        claims, supernodes: ids given out.
        charged: keys of the prompts whose clean run or trace was charged: computing them again is free.
        memory: the proposer's own.
        registry: how far the registry had come.
    """

    meter: MeterSnapshot = MeterSnapshot()
    claims: int = Field(default=0, ge=0)
    supernodes: int = Field(default=0, ge=0)
    charged: tuple[str, ...] = ()
    memory: dict[str, JsonValue] = Field(default_factory=dict)
    registry: RegistryMark = RegistryMark()
