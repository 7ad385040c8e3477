"""The JSON Schema of a job's file, generated from the models, for editors and for other programs; and their notes.

The schema says what each field may hold. What fields must be to each other (one source of prompts, an agent's options, a
limit that needs a price) is beyond JSON Schema: `tracescribe jobs validate`.

    python -m tracescribe.runs.jobs.schema            # prints the schema as the models say it
    python -m tracescribe.runs.jobs.schema --write    # renews the file that ships
    python -m tracescribe.runs.jobs.schema --table    # prints the table of docs/batch.md
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from tracescribe.runs.jobs.specification import CaseBudget, JobSpecification
from tracescribe.tracer.shipped_schema import ShippedSchema

_NOTE = re.compile(r"\A {0,8}([a-z_][a-z0-9_, ]*): (.+)\Z")


def field_notes(model: type[BaseModel]) -> dict[str, str]:
    """What the docstring of a model says of each of its fields."""
    lines = (model.__doc__ or "").partition("Attributes:\n")[2].splitlines()
    notes: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        match = _NOTE.match(line)
        if match:
            names = match.group(1).split(", ")
            notes.update(dict.fromkeys(names, match.group(2)))
        elif line.strip():
            notes.update({name: f"{notes[name]} {line.strip()}" for name in names})
    return {name: _as_written(note) for name, note in notes.items()}


def field_table() -> str:
    """Every field with its default and its note, as Markdown."""
    rows = ["| field | default | what |", "|---|---|---|"]
    for path, model in models_of():
        notes, defaults = field_notes(model), _defaults(model)
        told = f"{path}." if path else ""
        kind = ""
        if path == "executor":
            kind = f" ({defaults['kind'].strip('`')})"
        for name, info in model.model_fields.items():
            if any(_models_in(info.annotation)) and not (path == "prompts" and name == "dataset"):
                continue  # its fields follow
            rows.append(f"| `{told}{name}`{kind} | {defaults[name]} | {notes[name]} |")
    return "\n".join(rows) + "\n"


def _defaults(model: type[BaseModel]) -> dict[str, str]:
    """What a field has where nothing is said, as one would write it."""
    from tracescribe.agents.budget import Budget

    found: dict[str, str] = {}
    for name, info in model.model_fields.items():
        value = info.get_default(call_default_factory=True, validated_data={})
        if model is CaseBudget and name in Budget.model_fields:
            value = Budget.model_fields[name].default
        if info.is_required():
            found[name] = "needed"
        elif value is None or isinstance(value, BaseModel):
            found[name] = ""
        else:
            found[name] = f"`{json.dumps(value)}`".replace('"', "")
    return found


def _as_written(note: str) -> str:
    """A note in the words of a file: it has `null`, where Python has None."""
    for python, written in (("None", "null"), ("True", "true"), ("False", "false")):
        note = re.sub(rf"\b{python}\b", written, note)
    return note


def models_of(model: type[BaseModel] = JobSpecification, path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every model of a specification with the path of the field that holds it, outermost first."""
    yield path, model
    for name, info in model.model_fields.items():
        for inner in _models_in(info.annotation):
            yield from models_of(inner, f"{path}.{name}" if path else name)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


class _JobSchema(ShippedSchema):
    """With the notes on each field as its description, where editors show them."""

    def generated(self) -> dict[str, Any]:
        schema = super().generated()
        for _, model in models_of():
            part = schema if model is JobSpecification else schema["$defs"][model.__name__]
            part["description"] = (model.__doc__ or "").strip().partition("\n")[0]
            for name, note in field_notes(model).items():
                part["properties"][name]["description"] = note.replace("`", "'")
        return schema


SCHEMA = _JobSchema(
    "tracescribe.runs",
    "job.schema.json",
    "urn:tracescribe:job:1",
    "Batch interpretation job",
    JobSpecification,
    "validation",
)


def job_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a job's file, as the package ships it."""
    return SCHEMA.shipped()


def generated_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a job's file, as the models say it."""
    return SCHEMA.generated()


if __name__ == "__main__" and sys.argv[1:] == ["--table"]:
    sys.stdout.write(field_table())
elif __name__ == "__main__":
    SCHEMA.main(Path(__file__).resolve().parent.parent / "schemas")
