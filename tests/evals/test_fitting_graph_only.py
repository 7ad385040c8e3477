"""The shipped weights are what the fit gives, and circuits of families left out are read better than by any one trivial rule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracescribe.agents.grouping.graph_only import shipped_model
from tracescribe.agents.grouping.node_evidence import NODE_EVIDENCE
from tracescribe.agents.grouping.pair_evidence import PAIR_EVIDENCE
from tracescribe.evals.fitting_graph_only import (
    LEAST,
    Example,
    as_json,
    families,
    fit,
    held_out,
    read_examples,
    table,
)


@pytest.fixture(scope="module")
def examples(shared_folder: Path) -> list[Example]:
    folder = shared_folder / "gold"
    if not (folder / "circuits").is_dir():
        pytest.skip(f"no human-labelled circuits at {folder}; set TRACESCRIBE_SHARED to the folder that holds gold/")
    return read_examples(folder)


@pytest.fixture(scope="module")
def left_out(examples: list[Example]) -> dict[str, dict[str, float | None]]:
    return held_out(examples)


@pytest.fixture(scope="module")
def trivial(shared_folder: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((shared_folder / "gold" / "baselines.json").read_text())["per_circuit"]
    return found


def test_the_shipped_weights_are_what_the_fit_gives(examples: list[Example]) -> None:
    found, shipped = fit(examples, LEAST), shipped_model()
    for name in PAIR_EVIDENCE:
        assert found.pair_weights[name] == pytest.approx(shipped.pair_weights[name], abs=2e-3), name
    for name in NODE_EVIDENCE:
        assert found.node_weights[name] == pytest.approx(shipped.node_weights[name], abs=2e-3), name
    assert found.least == shipped.least
    # nothing of a circuit is in the file: names of evidence and numbers alone
    told = json.dumps(as_json(found, examples))
    assert not any(e.gold.gold_id in told or s.members[0] in told for e in examples for s in e.gold.supernodes)


def test_circuits_of_one_family_or_with_like_prompts_are_left_out_together(examples: list[Example]) -> None:
    number = dict(zip((e.gold.gold_id for e in examples), families(examples), strict=True))
    for first in examples:
        for second in examples:
            if first.gold.family == second.gold.family:
                assert number[first.gold.gold_id] == number[second.gold.gold_id]
    assert 4 <= len(set(number.values())) < len({e.gold.gold_id for e in examples})


def mean(rows: Mapping[str, Mapping[str, float | None]], metric: str) -> float:
    found = (row[metric] for row in rows.values())
    return float(np.mean([value for value in found if value is not None]))


@pytest.mark.parametrize(
    ("metric", "task", "score"),
    [
        ("selection.auc", "selection", "auc"),
        ("selection.rprec", "selection", "rprec"),
        ("grouping.ari", "grouping", "ari"),
        ("grouping.b3_f1", "grouping", "b3_f1"),
    ],
)
def test_families_left_out_are_read_better_than_by_any_trivial_rule(
    left_out: dict[str, dict[str, float | None]], trivial: Mapping[str, Any], metric: str, task: str, score: str
) -> None:
    """On the mean against every rule that covers all circuits, and on most circuits against the best of those that are
    told nothing of gold (the cosine of links is told the number of groups)."""
    known = {name: row[metric] for name, row in left_out.items() if row[metric] is not None}
    rules = {
        rule: {name: rows[name][score] for name in known if name in rows}
        for rule, rows in trivial[task].items()
        if "revealed" not in rule
    }
    whole = {rule: rows for rule, rows in rules.items() if len(rows) == len(known)}
    assert len(known) >= 15 and len(whole) >= 3
    for rule, rows in whole.items():
        assert mean(left_out, metric) > np.mean(list(rows.values())), rule
    best = max((r for r in whole if "gold k" not in r), key=lambda rule: float(np.mean(list(whole[rule].values()))))
    wins = sum(value >= whole[best][name] for name, value in known.items() if value is not None)
    assert wins > len(known) / 2, best


def test_the_table_leaves_out_what_gold_cannot_score() -> None:
    rows = {"a": dict.fromkeys(("grouping.ari", "grouping.b3_f1"), 0.5), "b": dict.fromkeys(("grouping.ari",), 1.0)}
    full = {
        name: {
            m: row.get(m)
            for m in ("grouping.ari", "grouping.b3_f1", "selection.auc", "selection.rprec", "selection.f1")
        }
        for name, row in rows.items()
    }
    last = table(full).splitlines()[-1].split()
    assert last == ["mean", "0.750", "0.500", "-", "-", "-"]
