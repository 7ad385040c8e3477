"""Interventions that somebody ran on a circuit and wrote down, as the source tells them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RecordedEdit(BaseModel):
    """One edit of a recorded intervention.

    Attributes:
        supernode: name of the supernode that was edited, as the source calls it; empty where features are named.
        features: node ids, or `layer_feature_position` as far as the source tells them.
        action: `scale`, `zero`, or what else the source says.
        multiplier: of the activations; None where none is told.
        from_circuit: the circuit that the features come from, where it is another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    supernode: str = ""
    features: tuple[str, ...] = ()
    action: str = "scale"
    multiplier: float | None = None
    from_circuit: str = ""


class RecordedIntervention(BaseModel):
    """What was done to the model on one prompt, and what it then said.

    Attributes:
        intervention_id: as the source names it.
        origin: where it was recorded.
        prompt: the text it was run on; it may differ from the graph's in letters' case.
        before, after: output tokens with their probabilities, most probable first; empty where none were recorded.
        activations_after: how active each supernode then was, in the source's words, by its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    intervention_id: str = Field(min_length=1)
    origin: str = ""
    prompt: str = ""
    edits: tuple[RecordedEdit, ...] = ()
    before: tuple[tuple[str, float], ...] = ()
    after: tuple[tuple[str, float], ...] = ()
    activations_after: dict[str, str] = Field(default_factory=dict)
    note: str = ""
