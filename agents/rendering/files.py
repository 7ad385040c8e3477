"""Writes a report to a folder: JSON for programs, Markdown and HTML for people, and the circuit as SVG."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.agents.rendering.circuit import circuit_of
from tracescribe.agents.rendering.claim_words import OUTCOME_WORDS
from tracescribe.agents.rendering.drawing import Drawing, draw, svg_of
from tracescribe.agents.rendering.layout import PAGE_WIDTH
from tracescribe.agents.rendering.templating import render_markdown_template, render_markup
from tracescribe.agents.rendering.view import ReportView, build_view
from tracescribe.agents.report import CircuitReport, parse_report, validate_report
from tracescribe.tracer.errors import ReportError
from tracescribe.tracer.provenance import write_text_atomic

if TYPE_CHECKING:
    from tracescribe.agents.rendering.evidence_view import EvidenceLookup
    from tracescribe.tracer.graph import AttributionGraph


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written."""

    json: Path
    markdown: Path
    html: Path
    svg: Path


def render_json(report: CircuitReport) -> str:
    """The report as JSON text that `parse_report` reads back.

    Raises:
        ReportError: the report holds a number that JSON has no word for (NaN, infinity), or breaks its contract.
    """
    try:
        text = json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise ReportError(
            f"report {report.report_id} cannot be written as JSON: {error}; its numbers must be finite"
        ) from error
    parse_report(text)
    return text


def _html(view: ReportView, drawing: Drawing) -> str:
    wide = drawing.width > PAGE_WIDTH
    svg = svg_of(drawing, standalone=False)
    return render_markup("report.html", view=view, drawing=svg, wide=wide, outcome_words=OUTCOME_WORDS) + "\n"


def _markdown(view: ReportView) -> str:
    return render_markdown_template("report.md", view=view, outcome_words=OUTCOME_WORDS)


def _svg(drawing: Drawing) -> str:
    return svg_of(drawing, standalone=True) + "\n"


def render_svg(report: CircuitReport, graph: AttributionGraph | None = None) -> str:
    """The circuit as an SVG file of its own."""
    return _svg(draw(circuit_of(report, graph)))


def render_html(
    report: CircuitReport, graph: AttributionGraph | None = None, *, evidence: EvidenceLookup | None = None
) -> str:
    """The report as one HTML page that loads nothing: no script, no font, no picture from anywhere.

    Args:
        report: a valid report.
        graph: the graph that it interprets, if at hand.
        evidence: where example contexts of features come from, if at hand.
    """
    view = build_view(report, graph, evidence)
    return _html(view, draw(view.circuit))


def render_markdown(
    report: CircuitReport, graph: AttributionGraph | None = None, *, evidence: EvidenceLookup | None = None
) -> str:
    """The same content in plain Markdown; it shows the drawing from `circuit.svg` beside it."""
    return _markdown(build_view(report, graph, evidence))


def write_report(
    report: CircuitReport,
    graph: AttributionGraph | None,
    folder: Path,
    *,
    evidence: EvidenceLookup | None = None,
) -> ReportFiles:
    """Write `report.json`, `report.md`, `report.html` and `circuit.svg`, each atomically.

    All are rendered before the first is written, so that a fault leaves nothing behind.

    Args:
        report: what to write.
        graph: the graph that it interprets; None where it is not at hand.
        folder: created if missing.
        evidence: where example contexts of features come from; None leaves them out.

    Raises:
        ReportError: the report breaks its contract.
        OutputError: the folder cannot be written to.
    """
    files = ReportFiles(folder / "report.json", folder / "report.md", folder / "report.html", folder / "circuit.svg")
    for name, text in render_files(report, graph, evidence=evidence).items():
        write_text_atomic(folder / name, text)
    return files


def render_files(
    report: CircuitReport, graph: AttributionGraph | None, *, evidence: EvidenceLookup | None = None
) -> dict[str, str]:
    """The texts of `report.json`, `report.md`, `report.html` and `circuit.svg`, by name.

    Args:
        graph, evidence: as for `write_report`.

    Raises:
        ReportError: the report breaks its contract.
    """
    validate_report(report)
    view = build_view(report, graph, evidence)
    drawing = draw(view.circuit)
    return {
        "circuit.svg": _svg(drawing),
        "report.md": _markdown(view),
        "report.html": _html(view, drawing),
        "report.json": render_json(report),
    }
