"""The description of the API as a page shows it: operations by part, types in short words, an example for each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tracescribe.runs.web.api_schema import TAGS

_REF = "#/components/schemas/"
_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Word:
    """A piece of a type; `link` names the schema that it stands for."""

    text: str
    link: str = ""


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a schema."""

    name: str
    place: str
    type: tuple[Word, ...]
    required: bool
    description: str


@dataclass(frozen=True)
class Answer:
    """What may come back."""

    status: str
    type: tuple[Word, ...]
    description: str


@dataclass(frozen=True)
class Operation:
    """One address and method."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Field, ...]
    body: tuple[Word, ...]
    body_kind: str
    answers: tuple[Answer, ...]
    refusals: tuple[Answer, ...]
    example: str


@dataclass(frozen=True)
class Part:
    """Operations of one tag."""

    name: str
    description: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class Schema:
    """A named type: its fields, or what it is instead."""

    name: str
    description: str
    fields: tuple[Field, ...]
    type: tuple[Word, ...]


def parts_of(schema: dict[str, Any], address: str) -> tuple[Part, ...]:
    """All operations, by tag.

    Args:
        schema: OpenAPI.
        address: of the server, for the examples.
    """
    by_tag: dict[str, list[Operation]] = {name: [] for name in TAGS}
    for path, item in schema["paths"].items():
        for method in _METHODS:
            if method in item:
                tag = (item[method].get("tags") or ["others"])[0]
                by_tag.setdefault(tag, []).append(_operation(path, method, item[method], address))
    return tuple(Part(name, TAGS.get(name, ""), tuple(found)) for name, found in by_tag.items() if found)


def schemas_of(schema: dict[str, Any]) -> tuple[Schema, ...]:
    """All named types, by name."""
    found = []
    for name, one in sorted(schema["components"]["schemas"].items()):
        required = set(one.get("required", ()))
        fields = tuple(
            Field(field, "", type_words(value), field in required, str(value.get("description", "")))
            for field, value in one.get("properties", {}).items()
        )
        found.append(Schema(name, _text(one), fields, () if fields else type_words(one)))
    return tuple(found)


def type_words(schema: dict[str, Any]) -> tuple[Word, ...]:
    """A JSON Schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return (Word(name, name),)
    for key, joint in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if schema.get(key):
            words: list[Word] = []
            for choice in schema[key]:
                words += [*([Word(joint)] if words else []), *type_words(choice)]
            return tuple(words)
    if "const" in schema:
        return (Word(json.dumps(schema["const"])),)
    if "enum" in schema:
        return (Word(" or ".join(json.dumps(value) for value in schema["enum"])),)
    kind = schema.get("type", "anything")
    if kind == "array":
        return (Word("list of "), *type_words(schema.get("items", {})))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return (Word("object of "), *type_words(schema["additionalProperties"]))
    return (Word(f"{kind}{_limits(schema)}"),)


def _limits(schema: dict[str, Any]) -> str:
    told = []
    if "minimum" in schema or "maximum" in schema:
        told.append(f"{schema.get('minimum', '')}…{schema.get('maximum', '')}")
    if "maxLength" in schema:
        told.append(f"at most {schema['maxLength']} characters")
    if "pattern" in schema:
        told.append(str(schema["pattern"]))
    if "format" in schema:
        told.append(str(schema["format"]))
    return f" ({', '.join(told)})" if told else ""


def _operation(path: str, method: str, operation: dict[str, Any], address: str) -> Operation:
    parameters = tuple(
        Field(
            one["name"],
            one["in"],
            type_words(one.get("schema", {})),
            bool(one.get("required")),
            one.get("description", ""),
        )
        for one in operation.get("parameters", ())
    )
    body = operation.get("requestBody", {}).get("content", {})
    body_kind = next(iter(body), "")
    answers = [
        Answer(
            status,
            tuple(w for kind, c in one.get("content", {}).items() for w in _content_words(kind, c)),
            one["description"],
        )
        for status, one in operation["responses"].items()
    ]
    return Operation(
        anchor=re.sub(r"[^a-z0-9]+", "-", f"{method}{path}".lower()).strip("-"),
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        description=_text(operation),
        parameters=parameters,
        body=type_words(body[body_kind].get("schema", {})) if body else (),
        body_kind=body_kind,
        answers=tuple(one for one in answers if one.status < "400" or one.status == "409"),
        refusals=tuple(one for one in answers if one.status >= "400" and one.status != "409"),
        example=_example(path, method, operation, body_kind, address),
    )


def _content_words(kind: str, content: dict[str, Any]) -> tuple[Word, ...]:
    words = type_words(content.get("schema", {})) if content.get("schema") else ()
    return words if kind == "application/json" else (Word(kind),)


def _example(path: str, method: str, operation: dict[str, Any], body_kind: str, address: str) -> str:
    shown = re.sub(r"\{(\w+)\}", lambda match: match[1].upper(), path)
    required = [
        f"{one['name']}={one['name'].upper()}"
        for one in operation.get("parameters", ())
        if one["in"] == "query" and one.get("required")
    ]
    query = f"?{'&'.join(required)}" if required else ""
    lines = [f"curl '{address}{shown}{query}'", "  -H 'Authorization: Bearer TOKEN'"]
    if method != "get":
        lines.insert(1, f"  -X {method.upper()}")
    if body_kind == "application/json":
        lines += ["  -H 'Content-Type: application/json'", "  -d @body.json"]
    elif body_kind == "multipart/form-data":
        lines += ["  -F report=@report.json", "  -F graph=@graph.json"]
    return " \\\n".join(lines)


def _text(value: dict[str, Any]) -> str:
    return str(value.get("description", "")).partition("\f")[0].strip()
