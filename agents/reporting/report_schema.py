"""The JSON Schema of reports, generated from `report_model`, so that the shipped schema and the reader cannot drift.

The schema says what each field may hold. What fields must be to each other (ids that exist, hashes that agree with the
log, numbers that equal what they tell, verdicts that follow from the rule) is beyond JSON Schema: `validate_report`.

    python -m tracescribe.agents.reporting.report_schema            # prints the schema as the models say it
    python -m tracescribe.agents.reporting.report_schema --write    # renews the file that ships
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tracescribe.agents.reporting.report_model import CircuitReport
from tracescribe.tracer.shipped_schema import ShippedSchema

SCHEMA = ShippedSchema(
    "tracescribe.agents",
    "report.schema.json",
    "urn:tracescribe:report:2",
    "Circuit report",
    CircuitReport,
    "serialization",
)


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a report, as the package ships it."""
    return SCHEMA.shipped()


def generated_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a report, as the models say it."""
    return SCHEMA.generated()


if __name__ == "__main__":
    SCHEMA.main(Path(__file__).resolve().parent.parent / "schemas")
