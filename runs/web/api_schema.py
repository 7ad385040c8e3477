"""The description of the API (OpenAPI 3.1): what the routes declare, and what every one of them may answer besides."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from tracescribe.runs.web.cross_site import HEADER, SAFE_METHODS

if TYPE_CHECKING:
    from fastapi import FastAPI

DESCRIPTION = """Reports, reviews, jobs and interventions of one store, as the pages of the review app use them.

Where visitors log in, send a token of 'tracescribe access create' as `Authorization: Bearer ts_...`. Without one, a change
needs the header `X-CSRF-Token` with the value that `GET /api/session` gives. Every error is `{"error": kind, "message": one
line}`; kinds are fixed words that programs may compare.
"""
TAGS: dict[str, str] = {
    "reports": "The reports in the store, and bringing one in.",
    "graph": "The circuit and the full attribution graph of a report.",
    "features": "What is known of a feature.",
    "reviews": "What people say of a report: read it, and add to it.",
    "exports": "Reports and reviews as files.",
    "live interventions": "Interventions that the server runs.",
    "jobs": "Batch jobs, and how far they are.",
    "leaderboard": "Scores of agents.",
    "compare": "Two reports on one prompt.",
    "audit": "The audit log.",
    "log-in": "Who asks.",
}
"""In the order in which they are shown; a tag that is not here comes last."""
_ATTRIBUTE = re.compile(r"    (\w+(?:, \w+)*): (.+)")
_ANYWHERE: dict[str, str] = {
    "400": "the request cannot be read",
    "401": "nobody is logged in, or the token is not valid",
    "403": "the visitor's role does not allow it, or the request comes from another site",
    "404": "there is no such thing",
    "414": "the address is too long",
    "421": "this server does not answer under that host name",
    "422": "a value that cannot be used; `faults` says which",
    "429": "too many requests; `Retry-After` says when to come again",
    "431": "the headers are too long",
    "500": "a fault of ours; the message has the number under which the server's log tells of it",
    "503": "the store cannot be used now; the message says what to do",
}
_WITH_ID: dict[str, str] = {"410": "it was deleted, as the store's retention says"}
_WITH_BODY: dict[str, str] = {
    "409": "it cannot be done as things stand; the message says what comes first",
    "408": "the body did not come in time",
    "413": "the body is too large",
    "415": "a body of that type is not taken",
}


class Fault(BaseModel):
    """One value of a request that cannot be used."""

    where: str
    why: str


class ErrorAnswer(BaseModel):
    """The answer where something is refused or failed."""

    model_config = ConfigDict(extra="allow")

    error: str
    message: str
    faults: tuple[Fault, ...] = ()


def describe(app: FastAPI) -> None:
    """Let the app describe its API, and no page, in full."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None or "x-whole" not in app.openapi_schema:
            app.openapi_schema = _completed(plain(), app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(schema: dict[str, Any], app: FastAPI) -> dict[str, Any]:
    log_in: bool = app.state.context.settings.log_in
    schema["info"]["description"] = DESCRIPTION
    schema["x-whole"] = True
    schema["paths"] = {path: item for path, item in schema["paths"].items() if path.startswith("/api/")}
    schema["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    parts = schema.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    described = ErrorAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(described.pop("$defs"))
    schemas["ErrorAnswer"] = described
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "of 'tracescribe access create'"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "tracescribe_session",
            "description": "of the log-in page",
        },
    }
    schema["security"] = [{"token": []}, {"session": []}] + ([] if log_in else [{}])
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            _complete(operation, path, method.upper())
    _keep_used_schemas(schema)
    _ask_for_kinds(schema["paths"], schemas)
    for one in schemas.values():
        _tell_fields(one)
    return schema


def _ask_for_kinds(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Require what tells the members of a union apart: it has a default in each, but without it none is meant."""
    left: list[Any] = [paths, *schemas.values()]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            told: dict[str, Any] = value.get("discriminator", {})
            for place in told.get("mapping", {}).values():
                member = schemas[place.rpartition("/")[2]]
                member["required"] = sorted({*member.get("required", ()), told["propertyName"]})
            left += value.values()
        elif isinstance(value, list):
            left += value


def _tell_fields(schema: dict[str, Any]) -> None:
    """Give each field what the docstring of its class says of it."""
    text, marked, attributes = str(schema.get("description", "")).partition("Attributes:\n")
    if not marked:
        return
    schema["description"] = text.strip()
    names: list[str] = []
    told: dict[str, str] = {}
    for line in attributes.splitlines():
        begun = _ATTRIBUTE.fullmatch(line)
        if begun is not None:
            names = begun[1].split(", ")
            told |= dict.fromkeys(names, begun[2])
        elif line.strip():
            told |= {name: f"{told[name]} {line.strip()}" for name in names}
    for name, words in told.items():
        if name in schema.get("properties", {}):
            schema["properties"][name].setdefault("description", words)


def _complete(operation: dict[str, Any], path: str, method: str) -> None:
    answers: dict[str, Any] = operation["responses"]
    if "HTTPValidationError" in str(answers.get("422", "")):
        del answers["422"]
    further = dict(_ANYWHERE)
    if "{" in path or any(p["name"] in ("review", "a", "b") for p in operation.get("parameters", ())):
        further |= _WITH_ID
    if method not in SAFE_METHODS:
        further |= _WITH_BODY
        operation.setdefault("parameters", []).append(
            {
                "name": HEADER,
                "in": "header",
                "required": False,
                "description": "value of `csrf` in `GET /api/session`; not needed beside `Authorization`",
                "schema": {"type": "string"},
            }
        )
    for status, text in further.items():
        told = {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
        }
        answers.setdefault(status, told)
    operation["responses"] = dict(sorted(answers.items()))


def _keep_used_schemas(schema: dict[str, Any]) -> None:
    """Remove schemas that only pages used."""
    schemas: dict[str, Any] = schema["components"]["schemas"]
    found: set[str] = set()
    left: list[Any] = [schema["paths"]]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).rpartition("/")[2]
            if name in schemas and name not in found:
                found.add(name)
                left.append(schemas[name])
            left += value.values()
        elif isinstance(value, list):
            left += value
    for name in set(schemas) - found:
        del schemas[name]
