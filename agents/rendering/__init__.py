"""Turns a circuit report into pages for people: Markdown, a self-contained HTML page, and the circuit as a drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracescribe.agents.rendering.evidence_view import EvidenceLookup
    from tracescribe.agents.rendering.files import (
        ReportFiles,
        render_files,
        render_html,
        render_markdown,
        render_svg,
        write_report,
    )

__all__ = [
    "EvidenceLookup",
    "ReportFiles",
    "render_files",
    "render_html",
    "render_markdown",
    "render_svg",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "EvidenceLookup":
        from tracescribe.agents.rendering import evidence_view

        return evidence_view.EvidenceLookup
    if name in __all__:
        from tracescribe.agents.rendering import files

        return getattr(files, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
