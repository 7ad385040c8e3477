"""Interchangeability: twins are perfectly swappable, unrelated features are like random ones, and nothing is no score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tracer.tiny_pair import TinyShape, random_tokens, write_model, write_transcoders
from tracescribe.agents.toolbox import Toolbox
from tracescribe.evals.scorers.circuit_runs import CircuitRuns
from tracescribe.evals.scorers.interchange import (
    MAX_PAIRS,
    METRICS,
    N_RANDOM,
    score_interchange,
    swap_row,
    swapped_pairs,
)
from tracescribe.tracer.clean_run import clean_run
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.models import load_model
from tracescribe.tracer.transcoders import load_transcoders

LENGTH, TWINS = 2.5, 3
"""Decoders of twins differ in length; of so many pairs."""
SHAPE = TinyShape(seed=5, n_features=(40, 40, 24), vocab_size=40)


def write_twins(folder: Path) -> None:
    """In layers 0 and 1, feature 2t + 1 writes `LENGTH` times what feature 2t writes, and fires where that one does."""
    for layer in (0, 1):
        encoder, decoder = folder / f"W_enc_{layer}.safetensors", folder / f"W_dec_{layer}.safetensors"
        reads, writes = load_file(encoder), load_file(decoder)[f"W_dec_{layer}"]
        for twin in range(TWINS):
            reads[f"W_enc_{layer}"][2 * twin + 1] = 0.7 * reads[f"W_enc_{layer}"][2 * twin]
            reads[f"b_enc_{layer}"][2 * twin] = reads[f"b_enc_{layer}"][2 * twin + 1] = 1.0
            writes[2 * twin + 1] = LENGTH * writes[2 * twin]
        save_file(reads, encoder)
        save_file({f"W_dec_{layer}": writes.contiguous()}, decoder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> CircuitRuns:
    """A random model with random transcoders, some of whose features are twins; the whole prompt is one supernode."""
    folder = tmp_path_factory.mktemp("twins")
    for name in ("model", "transcoder"):
        (folder / name).mkdir()
    write_model(folder / "model", SHAPE)
    write_transcoders(folder / "transcoder", SHAPE)
    write_twins(folder / "transcoder")
    model, transcoders = load_model(folder / "model"), load_transcoders(folder / "transcoder")
    clean = clean_run(model, transcoders, random_tokens(6, SHAPE))
    firing = tuple(
        FeatureNode(layer, int(position), int(feature))
        for layer in range(3)
        for position, feature in clean.activations(layer).nonzero()
    )
    best = clean.logits[-1].topk(2).indices
    return CircuitRuns(Toolbox(model, transcoders), clean, firing, firing, int(best[0]), int(best[1]))


def twins(runs: CircuitRuns) -> list[list[FeatureNode]]:
    """Pairs of twins that both fire, as supernodes."""
    firing = set(runs.features)
    found = [
        [FeatureNode(layer, position, 2 * twin), FeatureNode(layer, position, 2 * twin + 1)]
        for layer in (0, 1)
        for position in range(1, runs.clean.n_pos)
        for twin in range(TWINS)
    ]
    return [pair for pair in found if firing.issuperset(pair)]


def scored(runs: CircuitRuns, groups: list[list[FeatureNode]], seed: int = 0) -> dict[str, float | None]:
    supernodes = [SimpleNamespace(members=[SimpleNamespace(node=n) for n in g], rejected=False) for g in groups]
    chosen = replace(runs, circuit=tuple(dict.fromkeys(node for group in groups for node in group)))
    report = cast(Any, SimpleNamespace(supernodes=supernodes))
    scores = score_interchange(report, chosen, np.random.default_rng(seed))
    assert set(scores) == {metric.name for metric in METRICS}
    return {name: tally.value for name, tally in scores.items()}


def test_twins_are_swappable_without_change(runs: CircuitRuns) -> None:
    groups = twins(runs)
    assert len(groups) > 5
    scores = scored(runs, groups)
    assert scores["interchange.answer"] == pytest.approx(1.0, abs=1e-4)
    assert scores["interchange.later"] == pytest.approx(1.0, abs=1e-4)
    assert (scores["interchange.random"] or 0) < 0.6 and (scores["interchange.over_random"] or 0) > 0.4
    assert scores["interchange.cover"] == 1.0


def test_a_swap_writes_as_much_as_it_takes_away(runs: CircuitRuns) -> None:
    out, into = twins(runs)[0]
    shift = cast(Any, swap_row(runs, out, into)[1])
    assert shift.amount * runs.norm(into) == pytest.approx(runs.clean.activation(out) * runs.norm(out), rel=1e-5)


def test_unrelated_features_are_like_random_ones(runs: CircuitRuns) -> None:
    """Groups of features drawn from one layer and position, twins left out: what random controls are drawn from."""
    plain = [n for n in runs.features if n.feature >= 2 * TWINS and n.layer < 2]
    places = sorted({(n.layer, n.position) for n in plain})
    here = [[n for n in plain if (n.layer, n.position) == place] for place in places]
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        groups = [[nodes[i] for i in rng.permutation(len(nodes))[:3]] for nodes in here if len(nodes) >= 8]
        assert len(groups) >= 4
        found.append(scored(runs, groups, seed))
    over_random = [scores["interchange.over_random"] or 0.0 for scores in found]
    assert abs(np.mean(over_random)) < 0.1 + 2 * np.std(over_random) / len(found) ** 0.5
    assert np.mean([scores["interchange.answer"] or 0.0 for scores in found]) < 0.4


def test_twins_split_over_groups_are_worse_than_twins_together(runs: CircuitRuns) -> None:
    right = twins(runs)
    wrong = [[a[0], b[1]] for a, b in zip(right, right[1:] + right[:1], strict=True)]
    assert (scored(runs, right)["interchange.answer"] or 0) > (scored(runs, wrong)["interchange.answer"] or 0) + 0.3


def test_the_order_of_members_does_not_matter_where_all_pairs_are_tried(runs: CircuitRuns) -> None:
    groups = twins(runs)[:3]
    turned = [group[::-1] for group in groups]
    assert scored(runs, groups)["interchange.answer"] == pytest.approx(scored(runs, turned)["interchange.answer"])


def test_pairs_of_large_groups_are_drawn_and_random_features_come_from_outside(runs: CircuitRuns) -> None:
    group = list(runs.features[:9])
    pairs = swapped_pairs(runs, [group], np.random.default_rng(0))
    assert len({(pair.out, pair.into) for pair in pairs}) == MAX_PAIRS and N_RANDOM > 1
    everything = swapped_pairs(runs, [list(runs.features)], np.random.default_rng(0))
    assert all(np.isnan(pair.answer.random) for pair in everything)
    assert scored(runs, [list(runs.features)])["interchange.over_random"] is None


def test_single_members_silent_ones_and_no_supernodes_are_no_score(runs: CircuitRuns) -> None:
    silent = next(FeatureNode(0, 1, f) for f in range(40) if FeatureNode(0, 1, f) not in set(runs.features))
    for groups in ([], [[runs.features[0]]], [[runs.features[0], silent]]):
        scores = scored(runs, groups)
        assert {value for name, value in scores.items() if name != "interchange.cover"} == {None}
    assert scores["interchange.cover"] == 0.0


def test_the_same_seed_gives_the_same(runs: CircuitRuns) -> None:
    group = [list(runs.features[:9])]
    assert scored(runs, group, 4) == scored(runs, group, 4)
    assert torch.is_tensor(runs.clean.logits)
