"""Calls that are right, for the fuzzing of the API: what was made up is seldom a request that the server carries out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ACTS: tuple[dict[str, Any], ...] = (
    {"kind": "judge", "target": "supernode:s1", "decision": "accepted"},
    {"kind": "comment", "target": "claim:c1", "text": "seen"},
    {"kind": "relabel feature", "layer": 2, "feature": 55, "text": "says the capital"},
    {"kind": "rename supernode", "supernode": "s2", "text": "the state"},
    {"kind": "set role", "supernode": "s2", "role": "intermediate"},
    {"kind": "undo"},
    {"kind": "redo"},
    {"kind": "mark undecided", "nodes": ["0_86_7"], "undecided": True},
    {"kind": "merge supernodes", "supernodes": ["s3"], "into": "s2"},
    {"kind": "close", "status": "accepted"},
    {"kind": "reopen"},
)
LIVE: tuple[dict[str, Any], ...] = (
    {"nodes": ["0_86_7"], "act": "ablate", "controls": 3},
    {"nodes": ["2_55_8"], "act": "scale", "multiplier": 2.0, "doses": [0.0, 1.0]},
    {"nodes": ["0_86_7"], "act": "swap", "donor_prompt": "the capital of the state containing Stowe is"},
)


class Seeds:
    """Puts a right body into every other call of an operation that takes one.

    Attributes:
        placed: how many were put in.
    """

    def __init__(self, folder: Path, version: Any) -> None:
        """Args:
        folder: of a report, to be brought in.
        version: tells the version of the visitor's review, and the id of it.
        """
        self._report = (folder / "report.json").read_bytes()
        self._version = version
        self._calls = 0
        self.placed = 0

    def put(self, case: Any, path: str) -> bool:
        """Give a call a right body, or leave it as it was made up; whether it got one."""
        self._calls += 1
        if self._calls % 2:
            return False
        turn = self._calls // 2 - 1
        if path.endswith("/review/acts"):
            version, review = self._version()
            case.body = {
                "review_id": review,
                "expected_version": version,
                "act": ACTS[turn % len(ACTS)],
                "why": "as seen",
            }
        elif path.endswith("/live"):
            case.body = dict(LIVE[turn % len(LIVE)])
        elif path == "/api/reports":
            case.body = {"report": self._report}
            case.media_type = "multipart/form-data"
        elif "/export/" in path:
            forms = ("html", "svg", "report", "graph", "neuronpedia")
            case.path_parameters["form"] = forms[turn % len(forms)]
            case.query.clear()
        else:
            return False
        self.placed += 1
        return True
