"""What is kept of a case: its report in the forms that the job asks for, and the figures that it is summed up by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracescribe.runs.executors.case_graph import graph_artefact
from tracescribe.runs.executors.scratch import case_scratch
from tracescribe.runs.jobs.records import CaseFigures
from tracescribe.runs.store.artefacts import Artefact, ArtefactKind
from tracescribe.tracer.errors import EvidenceError, UnknownIdError
from tracescribe.tracer.graph import FeatureRef

if TYPE_CHECKING:
    from tracescribe.agents.rendering import EvidenceLookup
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.executors.case_scoring import CaseScores
    from tracescribe.runs.executors.contract import CaseLease
    from tracescribe.runs.store.database import Store
    from tracescribe.tracer.graph import AttributionGraph

FORMS: dict[str, ArtefactKind] = {
    "report.json": "report",
    "report.html": "page",
    "report.md": "markdown",
    "circuit.svg": "drawing",
}
"""Files of a report and the kinds that a job may keep; the first always is."""
EVIDENCE_FILE = "evidence.json"


def case_artefacts(
    store: Store, lease: CaseLease, report: CircuitReport, graph: AttributionGraph, evidence: EvidenceLookup | None
) -> tuple[Artefact, ...]:
    """The files of a case, those that `tracescribe interpret` writes and the job keeps.

    Raises:
        ReportError: the report breaks its contract.
    """
    from tracescribe.agents.rendering.files import render_files, render_json

    keep = set(lease.job.output.keep)
    shown = evidence if report.tested else None
    if keep.isdisjoint(("page", "markdown", "drawing")):
        texts = {"report.json": render_json(report)}
    else:
        texts = render_files(report, graph, evidence=shown)
    made = [
        Artefact(name, kind, texts[name].encode())
        for name, kind in FORMS.items()
        if name in texts and (kind == "report" or kind in keep)
    ]
    if "graph" in keep:
        made.append(graph_artefact(graph, case_scratch(store, lease.case_id)))
    if "evidence" in keep and shown is not None:
        made.append(Artefact(EVIDENCE_FILE, "evidence", evidence_of(report, shown)))
    return tuple(made)


def case_figures(report: CircuitReport, scores: CaseScores) -> CaseFigures:
    """What a report is summed up by."""
    cost = report.cost
    return CaseFigures(
        answer=report.targets[0].token if report.targets else None,
        verdicts=report.verdict_counts(),
        scores=scores.values,
        usd=cost.usd,
        llm_calls=cost.llm_calls,
        input_tokens=cost.input_tokens,
        output_tokens=cost.output_tokens,
        experiments=cost.experiments,
        forward_passes=cost.forward_passes,
        cut_short=report.cut_short,
        failures=dict(sorted(Counter(failure.step for failure in report.failures).items())),
        report_id=report.report_id,
        more=scores.more,
    )


def case_listing(report: CircuitReport, artefacts: Sequence[Artefact], scores: CaseScores) -> dict[str, Any]:
    """What lists of reports tell of a report."""
    from tracescribe.runs.review.indexing import REPORT_FILE, listing_of

    sha256 = next(artefact.sha256 for artefact in artefacts if artefact.name == REPORT_FILE)
    return listing_of(report, sha256, scores.values)


def evidence_of(report: CircuitReport, evidence: EvidenceLookup) -> bytes:
    """The corpus contexts of every labelled feature of a report, as JSON."""
    features: dict[str, Any] = {}
    for label in report.labels:
        ref = FeatureRef(label.layer, label.feature)
        try:
            found = evidence.feature(ref)
        except (EvidenceError, UnknownIdError):
            continue  # the scan does not hold it; the label then rests on the graph
        features[str(ref)] = {
            "density": found.density,
            "max_activation": found.max_activation,
            "contexts": [
                {
                    "id": context.context_id,
                    "tokens": list(context.tokens),
                    "activations": [round(float(value), 4) for value in context.activations],
                    "sampled_from": context.quantile,
                }
                for context in found.contexts
            ],
            "promoted": [[effect.token, round(float(effect.effect), 4)] for effect in found.promoted],
        }
    document = {"schema": "tracescribe-case-evidence/1", "report_id": report.report_id, "features": features}
    return (json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n").encode()
