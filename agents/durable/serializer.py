"""The loop's state as JSON, and back: plain values and a closed set of pydantic models, and nothing else.

LangGraph's own serializer imports the classes that a file names. This one reads only what stands in `MODELS`, so that a
checkpoint file can at worst be refused.

A model becomes `{"$model": name, "value": {...}}`, a tuple `{"$tuple": [...]}`; a mapping with a key that begins with
`$` becomes `{"$mapping": [[key, value], ...]}`. An exception is written as text: it is looked at by people alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tracescribe.agents.claims import (
    EdgeClaim,
    Frozen,
    LabelClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
)
from tracescribe.agents.durable.errors import RunDamagedError
from tracescribe.agents.findings import CircuitEffect, ExperimentPlan, FeatureLabel, Measurement, Supernode, Verdict
from tracescribe.agents.report import CircuitReport, StepFailure, Stopped
from tracescribe.agents.tools_snapshot import ToolsSnapshot

FORMAT = "tracescribe-state/1"
"""What stands in a checkpoint's `type` column; anything else is refused."""

MODELS: Mapping[str, type[Frozen]] = {
    model.__name__: model
    for model in (
        CircuitEffect,
        CircuitReport,
        EdgeClaim,
        ExperimentPlan,
        FeatureLabel,
        LabelClaim,
        Measurement,
        NecessityClaim,
        SteeringClaim,
        StepFailure,
        Stopped,
        SufficiencyClaim,
        Supernode,
        SwapClaim,
        ToolsSnapshot,
        Verdict,
    )
}
"""Every model that may stand in the loop's state."""


class StateSerializer:
    """A LangGraph `SerializerProtocol` that writes and reads `FORMAT` alone."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The value as JSON.

        Raises:
            TypeError: a value of a kind that may not stand in the state; a fault of the loop.
        """
        return FORMAT, json.dumps(_plain(obj), ensure_ascii=True, separators=(",", ":")).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value.

        Raises:
            RunDamagedError: another format, no JSON, or a model that does not validate.
        """
        kind, content = data
        if kind != FORMAT:
            raise RunDamagedError(f"a checkpoint is in the format {str(kind)[:40]!r} and only {FORMAT} is read")
        try:
            return _value(json.loads(content))
        except (ValueError, TypeError, RecursionError) as error:
            first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise RunDamagedError(f"a checkpoint does not hold a state of the loop: {first[:200]}") from error


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Frozen):
        name = type(value).__name__
        if MODELS.get(name) is not type(value):
            raise TypeError(f"{name} may not stand in the loop's state; add it to MODELS")
        return {"$model": name, "value": value.model_dump(mode="json")}
    if isinstance(value, tuple):
        return {"$tuple": [_plain(item) for item in value]}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) for key in value):
            raise TypeError("a mapping in the loop's state has a key that is not text")
        if any(key.startswith("$") for key in value):
            return {"$mapping": [[key, _plain(item)] for key, item in value.items()]}
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    raise TypeError(f"a {type(value).__name__} may not stand in the loop's state: only plain data may")


def _value(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_value(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if "$model" in plain:
        model = MODELS.get(plain["$model"]) if isinstance(plain["$model"], str) else None
        if model is None or set(plain) != {"$model", "value"}:
            raise ValueError(f"unknown model {str(plain['$model'])[:40]!r}")
        return model.model_validate(plain["value"])
    if "$tuple" in plain:
        return tuple(_value(item) for item in plain["$tuple"])
    if "$mapping" in plain:
        pairs = [(key, _value(item)) for key, item in plain["$mapping"]]
        if not all(isinstance(key, str) for key, _ in pairs):
            raise ValueError("a mapping has a key that is not text")
        return dict(pairs)
    return {key: _value(item) for key, item in plain.items()}
