"""Sets of edits, what is measured of their effects, and the calls and edits that are refused."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tracer.tiny_interventions import (
    D_MODEL,
    N_FEATURES,
    N_POS,
    TOKENS,
    active_nodes,
    make_model,
    make_transcoders,
)
from tracescribe.tracer.clean_run import CleanRun, clean_run
from tracescribe.tracer.edits import (
    AnyEdit,
    DirectionEdit,
    Edit,
    ErrorEdit,
    FeatureEdit,
    FeatureShift,
    InterventionSettings,
    addition,
    clamping,
    supernode_to,
)
from tracescribe.tracer.errors import InterventionError, SettingError
from tracescribe.tracer.generation import GenerationSettings, generate
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.interventions import InterventionResult, intervene

OPEN = InterventionSettings()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> CleanRun:
    transcoders = make_transcoders(tmp_path_factory.mktemp("clt"), "mlp.hook_in", None)
    return clean_run(make_model(), transcoders, torch.tensor(TOKENS))


def run(clean: CleanRun, rows: list[list[Edit]], settings: InterventionSettings, **options: Any) -> InterventionResult:
    return intervene(clean.model, clean.transcoders, clean.tokens, rows, settings, clean=clean, **options)


BAD_EDITS: list[tuple[Edit, str]] = [
    (FeatureEdit(3, 1, 0, 0.0), "no layer 3: the transcoders have layers 0 to 2"),
    (FeatureEdit(-1, 1, 0, 0.0), "no layer -1"),
    (FeatureShift(0, 1, N_FEATURES, 1.0), "no feature 0/40: layer 0 has features 0 to 39"),
    (FeatureEdit(0, N_POS, 0, 0.0), "position 7 is outside the prompt: 0 to 6 exist"),
    (FeatureEdit(0, -1, 0, 0.0), "position -1 is outside the prompt"),
    (FeatureEdit(0, slice(9, None), 0, 0.0), "is empty in a prompt of 7 tokens"),
    (FeatureEdit(0, slice(-3, None), 0, 0.0), "must count forward from the start"),
    (FeatureEdit(0, slice(1, None, 2), 0, 0.0), "must count forward from the start"),
    (FeatureEdit(0, 0, 0, 0.0), "touches position 0, where no feature counts as active"),
    (FeatureShift(0, slice(0, None), 0, 1.0), "start at position 1"),
    (FeatureEdit(0, 1, 0, float("nan")), "the value nan; an activation must be a finite number"),
    (FeatureShift(0, 1, 0, float("-inf")), "the value -inf"),
]


@pytest.mark.parametrize(("edit", "message"), BAD_EDITS)
def test_bad_edits_are_refused(clean: CleanRun, edit: Edit, message: str) -> None:
    with pytest.raises(InterventionError, match=message):
        run(clean, [[edit]], OPEN)


def test_bad_calls_are_refused(clean: CleanRun) -> None:
    tiny_model, tiny_transcoders = clean.model, clean.transcoders
    row: list[Edit] = [FeatureEdit(0, 1, 0, 0.0)]
    with pytest.raises(InterventionError, match="no rows of edits"):
        run(clean, [], OPEN)
    with pytest.raises(InterventionError, match="row 1 has no edits"):
        run(clean, [row, []], OPEN)
    with pytest.raises(InterventionError, match="no feature 1/99"):
        run(clean, [row], OPEN, read=[FeatureNode(1, 1, 99)])
    with pytest.raises(InterventionError, match="another prompt"):
        intervene(tiny_model, tiny_transcoders, clean.tokens[:-1], [row], clean=clean)
    other = dataclasses.replace(tiny_transcoders)
    with pytest.raises(InterventionError, match="another model or transcoder set"):
        intervene(tiny_model, other, clean.tokens, [row], clean=clean)
    with pytest.raises(SettingError, match="batch_size must be at least 1, found 0"):
        run(clean, [row], OPEN, batch_size=0)
    with pytest.raises(SettingError, match=r"constrained_layers \[5\] do not exist"):
        run(clean, [row], InterventionSettings(mode="constrained", constrained_layers=(5,)))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(0, dtype=torch.long), "no tokens"),
        (torch.ones(33, dtype=torch.long), "33 tokens, but model .* reads at most 32"),
        (torch.ones(1, 5, dtype=torch.long), r"integers \[n_pos\]"),
        (torch.ones(5), r"integers \[n_pos\]"),
        (torch.tensor([1, 10**6]), "token id 1000000 is not in 0"),
        (torch.tensor([1, -1]), "token id -1 is not in 0"),
    ],
)
def test_bad_tokens_are_refused(clean: CleanRun, tokens: Tensor, message: str) -> None:
    with pytest.raises(InterventionError, match=message):
        intervene(clean.model, clean.transcoders, tokens, [[FeatureEdit(0, 1, 0, 0.0)]])


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "constrained"},
        {"mode": "open", "constrained_layers": (0,)},
        {"mode": "frozen"},
        {"zero_positions": -1},
    ],
)
def test_contradictory_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        InterventionSettings(**options)


def test_places_among_all_tokens(clean: CleanRun) -> None:
    found = run(clean, [[FeatureShift(0, 3, 2, 6.0)], [FeatureShift(0, 3, 2, 0.0)]], OPEN)
    chosen = [5, 77, 300]
    for row in range(2):
        order = found.logits[row, -1].argsort(descending=True).tolist()
        assert found.ranks(chosen)[row].tolist() == [order.index(token) for token in chosen]
    assert found.rank_changes(chosen)[1].tolist() == [0, 0, 0]
    assert found.rank_changes(chosen)[0].any()
    best = int(clean.logits[-1].argmax())
    assert found.clean_ranks([best]).tolist() == [0]
    assert found.probabilities.sum(-1) == pytest.approx(np.ones(2))
    assert float(found.clean_probabilities[best]) == pytest.approx(float(found.clean_log_probabilities[best].exp()))


def test_supernodes_keep_their_proportions(clean: CleanRun) -> None:
    nodes = [node for node in active_nodes(clean) if node.layer == 0][:3]
    total = sum(clean.activation(node) for node in nodes)
    raised = supernode_to(nodes, 3.0 * total, clean)
    assert sum(edit.value for edit in raised) == pytest.approx(3.0 * total)
    assert [edit.value / clean.activation(node) for edit, node in zip(raised, nodes, strict=True)] == pytest.approx(
        [3.0] * 3
    )
    assert clamping(nodes[:1], 2.0) == (FeatureEdit(*where(nodes[0]), 2.0),)
    assert addition(nodes[:1], 2.0) == (FeatureShift(*where(nodes[0]), 2.0),)
    silent = [FeatureNode(0, 2, f) for f in range(N_FEATURES) if not clean.activations(0)[2, f]][:2]
    with pytest.raises(InterventionError, match="none of the supernode's 2 members is active"):
        supernode_to(silent, 1.0, clean)


def where(node: FeatureNode) -> tuple[int, int, int]:
    """Arguments of an edit there."""
    return node.layer, node.position, node.feature


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (ErrorEdit(3, 1), "no layer 3: the model has layers 0 to 2"),
        (ErrorEdit(0, 0), "the edit of layer 0's error touches position 0, where no feature counts as active"),
        (ErrorEdit(0, 1, float("nan")), "layer 0's error has scale nan or a vector that is not finite"),
        (ErrorEdit(0, 1, 0.0, torch.zeros(3)), r"layer 0's error has a vector of shape \[3\], expected \[32\]"),
        (DirectionEdit(-1, 1, torch.ones(D_MODEL), 1.0), "no layer -1"),
        (DirectionEdit(0, 1, torch.zeros(D_MODEL), 1.0), "a direction of zeros"),
        (DirectionEdit(0, 1, torch.full((D_MODEL,), torch.inf), 1.0), "a direction that is not finite"),
        (DirectionEdit(0, 7, torch.ones(D_MODEL), 1.0), "position 7 is outside the prompt"),
    ],
)
def test_bad_edits_of_errors_and_directions_are_refused(clean: CleanRun, edit: AnyEdit, message: str) -> None:
    with pytest.raises(InterventionError, match=message):
        intervene(clean.model, clean.transcoders, clean.tokens, [[edit]], OPEN, clean=clean)
    with pytest.raises(SettingError, match="can add, set or scale, found how='push'"):
        DirectionEdit(0, 1, torch.ones(D_MODEL), 1.0, cast(Any, "push"))
    with pytest.raises(SettingError, match="found point='mlp'"):
        DirectionEdit(0, 1, torch.ones(D_MODEL), 1.0, "add", cast(Any, "mlp"))


@pytest.mark.parametrize("mode", ["open", "direct"])
def test_edits_that_overflow_are_refused_and_name_their_rows(clean: CleanRun, mode: Any) -> None:
    rows: list[list[Edit]] = [[FeatureEdit(0, 1, 0, 0.5)], [FeatureEdit(0, 2, 0, 1e300)], [FeatureEdit(1, 1, 1, 0.0)]]
    with pytest.raises(InterventionError, match=r"edits of row 1 the model computes numbers that are not finite"):
        run(clean, rows, InterventionSettings(mode))


def test_generation_refuses_edits_that_overflow(clean: CleanRun) -> None:
    row: list[Edit] = [FeatureEdit(0, 2, 0, 1e300)]
    with pytest.raises(InterventionError, match="not finite; choose smaller values"):
        generate(clean.model, clean.transcoders, clean.tokens, [row], generation=GenerationSettings(2), clean=clean)
