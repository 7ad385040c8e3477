"""Spoiled graph files of all formats: a typed error or a lawful graph, and the shipped schema agrees with the reader."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from tests.tracer.graph_fuzzing import SUFFIXES, fuzz
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_schema import graph_schema

CASES = 3000
"""What fits the suite; ten thousand run with `python -m tests.tracer.graph_fuzzing 10000 0`."""


def test_spoiled_files_are_refused_or_lawful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nobody pulls the plug here, and it takes half the time
    validator = jsonschema.Draft202012Validator(graph_schema())
    seen = []

    def follows_the_schema(content: bytes, graph: AttributionGraph) -> None:
        validator.validate(json.loads(content))
        seen.append(graph.n_nodes)

    counts = fuzz(CASES, 20, tmp_path, also=follows_the_schema)
    assert sum(counts.values()) == CASES
    for suffix in SUFFIXES:
        assert counts[f"refused {suffix}"] > 100, "the mutations must hit something"
        assert counts[f"accepted {suffix}"] > 5, "and must not always destroy it"
    assert len(seen) == counts["accepted .json"]
