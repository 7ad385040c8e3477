"""The server's own evidence on features: opened once, and shown only beside reports that rest on the very same scan."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from tracescribe.tracer.errors import TracescribeError
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from pathlib import Path

    from tracescribe.agents.report import CircuitReport
    from tracescribe.tracer.evidence_source import FeatureEvidenceSource

_opening = Lock()


class Shelf:
    """Evidence with its hash.

    Attributes:
        sha256: as reports name the scan that they rest on; None where the evidence does not tell its origin.
    """

    def __init__(self, source: FeatureEvidenceSource) -> None:
        self.source = source
        origin = getattr(source, "origin", None)
        self.sha256 = sha256_json(asdict(origin)) if origin is not None else None


@lru_cache(maxsize=4)
def _opened(folder: Path | None) -> Shelf:
    from tracescribe.runs.scanning import open_evidence

    return Shelf(open_evidence(folder))


def open_shelf(folder: Path | None) -> Shelf:
    """The evidence of a folder, opened once.

    Args:
        folder: of a scan; None for the embedded model's.

    Raises:
        TracescribeError: it cannot be opened.
    """
    with _opening:
        return _opened(folder)


def evidence_for(report: CircuitReport, folder: Path | None) -> tuple[FeatureEvidenceSource | None, str]:
    """The evidence that a report rests on, or why it cannot be shown, in a sentence.

    Args:
        folder: of a scan; None for the embedded model's.
    """
    asked = report.provenance.evidence_sha256
    if asked is None:
        return None, "The report rests on no scan of texts: its agent worked from the graph alone."
    try:
        shelf = open_shelf(folder)
    except TracescribeError as error:
        return None, f"This server's evidence cannot be opened: {error}."
    if shelf.sha256 != asked:
        return None, (
            f"The report rests on another scan ({asked[:12]}) than this server has ({(shelf.sha256 or 'unknown')[:12]}); "
            "start the server with --evidence FOLDER of that scan to see its texts."
        )
    return shelf.source, ""
