"""The JSON Schemas of the protocol, generated from its models, so that what ships and what is read cannot drift.

What ids must be to each other (members that are in the graph, claims about supernodes of the answer) is beyond JSON Schema.

    python -m tracescribe.agents.external.schemas --write    # renews the files that ship
"""

from __future__ import annotations

from pathlib import Path

from tracescribe.agents.external.answers import ExternalAnswer, Question
from tracescribe.agents.external.case_document import ExternalCase
from tracescribe.tracer.shipped_schema import ShippedSchema

_PACKAGE = "tracescribe.agents"
CASE = ShippedSchema(
    _PACKAGE,
    "external-case.schema.json",
    "urn:tracescribe:external-case:1",
    "Case for an agent from outside",
    ExternalCase,
    "serialization",
)
ANSWER = ShippedSchema(
    _PACKAGE,
    "external-answer.schema.json",
    "urn:tracescribe:external-answer:1",
    "Answer of an agent from outside",
    ExternalAnswer,
    "validation",
)
QUESTION = ShippedSchema(
    _PACKAGE,
    "external-question.schema.json",
    "urn:tracescribe:external-question:1",
    "Question of an agent from outside",
    Question,
    "validation",
)
SCHEMAS = (CASE, QUESTION, ANSWER)
"""All that ship."""


if __name__ == "__main__":
    for schema in SCHEMAS:
        schema.main(Path(__file__).resolve().parent.parent / "schemas")
