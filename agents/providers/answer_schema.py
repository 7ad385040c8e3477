"""JSON schemas of answers, in the subset that every provider's strict mode accepts.

Strict modes want every property required and none beyond them, and reject or ignore most limits; the limits are
checked by pydantic on the answer instead.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_KEPT = frozenset({"type", "properties", "required", "items", "enum", "const", "anyOf", "$ref", "$defs", "description"})


def strict_schema(answer_type: type[BaseModel]) -> dict[str, object]:
    """The strict JSON schema of a pydantic model; every field required, no other allowed."""
    schema: dict[str, object] = _strict(answer_type.model_json_schema())
    return schema


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    if "oneOf" in schema:
        schema = {**schema, "anyOf": schema["oneOf"]}
    if "prefixItems" in schema:
        raise ValueError("answers use plain lists; tuples of fixed length have no strict schema")
    kept: dict[str, Any] = {key: value for key, value in schema.items() if key in _KEPT}
    for key in ("properties", "$defs"):
        if key in kept:
            kept[key] = {name: _strict(part) for name, part in kept[key].items()}
    if "items" in kept:
        kept["items"] = _strict(kept["items"])
    if "anyOf" in kept:
        kept["anyOf"] = [_strict(part) for part in kept["anyOf"]]
    if kept.get("type") == "object":
        kept["additionalProperties"] = False
        kept["required"] = list(kept.get("properties", {}))
    return kept
