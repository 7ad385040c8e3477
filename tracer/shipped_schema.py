"""JSON Schemas that ship with the package: made from models, kept in a file, and renewed by one command each."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class ShippedSchema:
    """One schema, as the models say it and as the package ships it.

    Attributes:
        package: import name of the package that holds `schemas/`.
        file: name of the shipped file.
        identity: the schema's `$id`, with its version.
        title: for people.
        model: what it is made from.
        mode: of the model: what is read (`validation`) or what is written (`serialization`).
    """

    package: str
    file: str
    identity: str
    title: str
    model: type[BaseModel]
    mode: Literal["validation", "serialization"]

    def shipped(self) -> dict[str, Any]:
        """The schema (draft 2020-12) as the package ships it."""
        text = resources.files(self.package).joinpath("schemas", self.file).read_text(encoding="utf-8")
        schema: dict[str, Any] = json.loads(text)
        return schema

    def generated(self) -> dict[str, Any]:
        """The schema (draft 2020-12) as the models say it."""
        found = self.model.model_json_schema(mode=self.mode)
        return {"$schema": _DRAFT, "$id": self.identity, "title": self.title, **_without_titles(found)}

    def main(self, folder: Path) -> None:
        """Print the generated schema; with `--write`, renew the shipped file in a folder."""
        text = json.dumps(self.generated(), indent=1, ensure_ascii=False) + "\n"
        if sys.argv[1:] == ["--write"]:
            from tracescribe.tracer.provenance import write_text_atomic

            write_text_atomic(folder / self.file, text)
        else:
            sys.stdout.write(text)


def _without_titles(value: Any) -> Any:
    """A schema without the titles that pydantic makes of names; a field called `title` would stay."""
    if isinstance(value, list):
        return [_without_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: _without_titles(item) for name, item in child.items()}
        if key in ("properties", "$defs")
        else _without_titles(child)
        for key, child in value.items()
        if not (key == "title" and isinstance(child, str))
    }
