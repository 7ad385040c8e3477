"""What a report leaves unexplained, and how it was made, as rows to show."""

from __future__ import annotations

import json

from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.rows import Row
from tracescribe.agents.rendering.visible_text import visible_text
from tracescribe.agents.report import CircuitReport

LIMITS: tuple[str, ...] = (
    (
        "The graph takes the model's attention as it was: it shows what was moved between tokens, not why the model "
        "looked where it looked. Steps that only steer attention are missing."
    ),
    (
        "The features are the transcoder's words for the model's state. Where the transcoder errs, the errors stand in "
        "the graph and nobody has labelled them."
    ),
    "Everything here is about this one prompt. Another prompt of the same kind may be answered in another way.",
    (
        "A supported claim says that its test came out as foretold and that random features do not do the same. It "
        "does not say that no other story fits."
    ),
)


def unexplained_rows(report: CircuitReport) -> tuple[Row, ...]:
    """What the report does not explain, in numbers."""
    missing, circuit, counts = report.unexplained, report.circuit, report.verdict_counts()
    rows = [
        Row("Influence that enters through errors", numbers.percent(missing.error_influence)),
        Row("Completeness of the graph", numbers.number(missing.completeness_score)),
        Row("Replacement score of the graph", numbers.number(missing.replacement_score)),
        Row("Features of the graph in no step that stands", numbers.count(missing.features_left_out)),
        Row("Their share of the features' influence", numbers.percent(missing.influence_left_out)),
    ]
    if circuit is not None:
        rows += [
            Row("Lead of the answer that the circuit alone does not keep", numbers.percent(1.0 - circuit.sufficiency)),
            Row("Lead of the answer that remains without the circuit", numbers.percent(1.0 - circuit.necessity)),
        ]
    else:
        rows.append(Row("The circuit as a whole", "not measured"))
    open_claims = len(report.claims) - counts["supported"]
    rows.append(
        Row("Claims that are not supported", f"{numbers.count(open_claims)} of {numbers.count(len(report.claims))}")
    )
    return tuple(rows)


def making_rows(report: CircuitReport) -> tuple[Row, ...]:
    """Model, transcoder, agent, seed, and the hashes that tie the report to them."""
    made = report.provenance
    settings = json.dumps(made.agent_settings, ensure_ascii=False, sort_keys=True) if made.agent_settings else "none"
    rows = [
        Row("Report", report.report_id),
        Row("Product", f"tracescribe {made.product_version}"),
        Row("Agent", made.agent),
        Row("Seed", str(made.seed)),
        Row("Model", made.model or numbers.NOT_KNOWN),
        Row("Hash of the model's weights", made.model_sha256 or numbers.NOT_KNOWN),
        Row("Transcoder", made.transcoder or numbers.NOT_KNOWN),
        Row("Hash of the transcoder", made.transcoder_sha256 or numbers.NOT_KNOWN),
        Row("Hash of the evidence", made.evidence_sha256 or "no evidence"),
        Row("Hash of the graph", made.graph_sha256),
        Row("Agent settings", settings),
        *(Row(f"Prompt template {name}", version) for name, version in sorted(made.prompt_versions.items())),
    ]
    return tuple(Row(row.name, visible_text(row.value)) for row in rows)


def cost_rows(report: CircuitReport) -> tuple[Row, ...]:
    """What the report cost, steps last."""
    cost = report.cost
    rows = [
        Row("Time", numbers.seconds(cost.seconds)),
        Row("Experiments", numbers.count(cost.experiments)),
        Row("Forward passes", numbers.count(cost.forward_passes)),
        Row("Language-model calls", numbers.count(cost.llm_calls)),
    ]
    if cost.llm_calls:
        tokens = f"{numbers.count(cost.input_tokens)} read, {numbers.count(cost.output_tokens)} written"
        rows.append(Row("Language-model tokens", tokens))
        rows.append(Row("Every call, also those sent twice", "in llm_calls.jsonl beside the report"))
    if cost.usd is not None:
        rows.append(Row("Money", f"{cost.usd:.4f} USD"))
    rows += [Row(f"Step: {visible_text(name)}", numbers.seconds(spent)) for name, spent in cost.seconds_by_step.items()]
    return tuple(rows)
