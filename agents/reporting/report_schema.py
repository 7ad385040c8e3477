"""The JSON Schema of reports, generated from `report_model`, so that the shipped schema and the reader cannot drift.

The schema says what each field may hold. What fields must be to each other (ids that exist, hashes that agree with the
log, numbers that equal what they tell, verdicts that follow from the rule) is beyond JSON Schema: `validate_report`.

    python -m tracescribe.agents.reporting.report_schema            # prints the schema as the models say it
    python -m tracescribe.agents.reporting.report_schema --write    # renews the file that ships
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from tracescribe.agents.reporting.report_model import CircuitReport

SCHEMA_FILE = "report.schema.json"
"""Name of the shipped file, in `tracescribe/agents/schemas`."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a report, as the package ships it."""
    text = resources.files("tracescribe.agents").joinpath("schemas", SCHEMA_FILE).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def generated_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a report, as the models say it."""
    found = CircuitReport.model_json_schema(mode="serialization")
    return {"$schema": _DRAFT, "$id": "urn:tracescribe:report:2", "title": "Circuit report", **_without_titles(found)}


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


def main() -> None:
    """Print the generated schema, or renew the shipped file."""
    text = json.dumps(generated_schema(), indent=1, ensure_ascii=False) + "\n"
    if sys.argv[1:] == ["--write"]:
        from tracescribe.tracer.provenance import write_text_atomic

        write_text_atomic(Path(__file__).resolve().parent.parent / "schemas" / SCHEMA_FILE, text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
