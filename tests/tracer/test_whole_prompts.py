"""Sets that choose their features over a whole prompt (BatchTopK without a threshold), wherever features are computed."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tracer.exact_cases import Case, make_case
from tests.tracer.intervention_oracle import OracleEdits, edited_logits
from tests.tracer.oracle_transcoders import read_transcoders
from tests.tracer.tiny_transcoders import TranscoderShape
from tracescribe.tracer import clean_run as clean_run_module
from tracescribe.tracer.clean_run import CleanRun, clean_run
from tracescribe.tracer.edits import (
    AnyEdit,
    DirectionEdit,
    FeatureEdit,
    FeatureShift,
    InterventionSettings,
)
from tracescribe.tracer.errors import InterventionError
from tracescribe.tracer.generation import GenerationSettings, generate
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.interventions import InterventionResult, intervene
from tracescribe.tracer.reconstruction import ReconstructionSettings, reconstruct

TOLERANCE = 1e-9
SHAPE = TranscoderShape("clt", "batchtopk", "ln2.hook_normalized", "hook_mlp_out")
MODES = {
    "open": (InterventionSettings(), False, ()),
    "frozen attention": (InterventionSettings(freeze_attention=True), True, ()),
    "constrained": (InterventionSettings(mode="constrained", constrained_layers=(0, 1)), True, (0, 1)),
}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("whole"), "llama", SHAPE, seed=3)


@pytest.fixture(scope="module")
def clean(case: Case) -> CleanRun:
    return clean_run(*case.open(), case.tokens)


def run(clean: CleanRun, rows: list[list[AnyEdit]], settings: InterventionSettings, **named: Any) -> InterventionResult:
    return intervene(clean.model, clean.transcoders, clean.tokens, rows, settings, clean=clean, **named)


def every_node(clean: CleanRun) -> list[FeatureNode]:
    return [
        FeatureNode(layer, position, feature)
        for layer, width in enumerate(clean.transcoders.n_features)
        for position in range(1, clean.n_pos)
        for feature in range(width)
    ]


def measured(clean: CleanRun, found: Tensor) -> list[Tensor]:
    """What was read of `every_node`, by layer `[n_pos - 1, n_features]`."""
    widths = clean.transcoders.n_features
    parts = torch.split(found, [(clean.n_pos - 1) * width for width in widths])
    return [part.view(-1, width) for part, width in zip(parts, widths, strict=True)]


def far(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def test_the_set_chooses_over_the_prompt(clean: CleanRun) -> None:
    assert not clean.transcoders.is_token_wise
    per_token = [(clean.activations(layer, 0) != 0).sum(1) for layer in range(clean.model.n_layers)]
    assert [int(counts.sum()) for counts in per_token] == [SHAPE.k * clean.n_pos] * clean.model.n_layers
    assert any(len(set(counts.tolist())) > 1 for counts in per_token), "tokens share what is chosen unevenly"


def test_activations_at_some_positions_are_those_of_the_prompt(
    clean: CleanRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [clean.activations(layer, 0) for layer in range(clean.model.n_layers)]
    monkeypatch.setattr(clean_run_module, "MAX_NUMBERS_KEPT", 0)
    places = torch.tensor([2, 5])
    for layer, acts in enumerate(expected):
        assert torch.equal(clean.activations_at(layer, places), acts[places])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("last_only", [True, False])
def test_what_is_set_counts_from_the_choice_over_the_prompt(
    case: Case, clean: CleanRun, mode: str, last_only: bool
) -> None:
    """Against another implementation, one row and whole prompts at a time; rows with different first positions."""
    settings, frozen, clamped = MODES[mode]
    rng, widths = np.random.default_rng(5), clean.transcoders.n_features
    rows: list[list[AnyEdit]] = []
    for _ in range(10):
        layers = rng.permutation(clean.model.n_layers)[:2].tolist()
        rows.append(
            [
                FeatureEdit(layer, int(rng.integers(1, clean.n_pos)), int(rng.integers(widths[layer])), 1.0)
                for layer in (*layers, layers[0])
            ]
        )
    rows.append([FeatureEdit(clean.model.n_layers - 1, clean.n_pos - 1, 0, 1.5)])
    found = run(clean, rows, settings, last_only=last_only)
    transcoders = read_transcoders(case.transcoder_folder)
    for row, edits in enumerate(rows):
        values = {(e.layer, int(str(e.position)), e.feature): e.value for e in edits if isinstance(e, FeatureEdit)}
        expected = edited_logits(
            case.hf, transcoders, case.tokens, OracleEdits(values), frozen_attention=frozen, clamped=clamped
        )
        assert far(found.logits[row], expected[-1:] if last_only else expected) < TOLERANCE
    assert far(found.logits[0, -1:], clean.logits[-1:]) > 1e-3, "the edits matter"


def test_another_token_is_another_prompt(case: Case, clean: CleanRun) -> None:
    """Adding the difference of two embeddings is running the other prompt: every feature, before the edit too."""
    weight: Tensor = cast(Any, clean.model.hf).get_input_embeddings().weight
    rows: list[list[AnyEdit]] = []
    prompts = []
    for position, token in ((5, 9), (3, 21), (clean.n_pos - 1, 14)):
        other = case.tokens.clone()
        other[position] = token
        prompts.append(other)
        rows.append(
            [DirectionEdit(0, position, weight[token] - weight[case.tokens[position]], 1.0, "add", "resid_pre")]
        )
    found = run(clean, rows, InterventionSettings(), read=every_node(clean))
    changed_before = 0
    for row, prompt in enumerate(prompts):
        expected = clean_run(clean.model, clean.transcoders, prompt)
        assert far(found.logits[row, -1:], expected.logits[-1:]) < TOLERANCE
        for layer, acts in enumerate(measured(clean, found.activations[row])):
            assert far(acts, expected.activations(layer)[1:]) < TOLERANCE
            first = int((prompt != case.tokens).nonzero()[0, 0])
            changed_before += int((acts != clean.activations(layer)[1:])[: first - 1].sum())
    assert changed_before, "a token takes features from those before it"


def test_what_is_read_does_not_depend_on_the_cache(clean: CleanRun) -> None:
    rows: list[list[AnyEdit]] = [
        [FeatureEdit(0, clean.n_pos - 2, 3, 2.0), FeatureShift(1, clean.n_pos - 1, 1, 3.0)],
        [FeatureEdit(1, 4, 3, 2.0)],
    ]
    without = dataclasses.replace(clean, keys=(), values=())
    nodes = every_node(clean)
    together, whole = (run(base, rows, InterventionSettings(), read=nodes) for base in (clean, without))
    assert far(together.activations, whole.activations) < TOLERANCE
    for row, edits in enumerate(rows):
        alone = run(clean, [edits], InterventionSettings(), read=nodes)
        assert far(alone.activations[0], together.activations[row]) < TOLERANCE


def test_setting_a_feature_behind_the_prompt_is_refused_before_work(clean: CleanRun) -> None:
    settings = GenerationSettings(max_new_tokens=4, stop_tokens=())
    ahead: list[list[AnyEdit]] = [[FeatureEdit(0, slice(2, None), 3, 2.0)]]
    arguments = (clean.model, clean.transcoders, clean.tokens)
    with pytest.raises(
        InterventionError, match="chosen over a whole prompt .* set features within the prompt, or shift"
    ):
        generate(*arguments, ahead, None, settings, clean=clean)
    allowed: list[list[AnyEdit]] = [
        [FeatureEdit(0, slice(2, clean.n_pos), 3, 2.0)],
        [FeatureShift(0, slice(2, None), 3, 2.0)],
    ]
    result = generate(*arguments, allowed, None, settings, clean=clean)
    assert [len(row.tokens) for row in result.rows] == [4, 4]


def test_reconstruction_gives_each_window_its_own_choice(case: Case) -> None:
    model, transcoders = case.open()
    draw = np.random.default_rng(2)
    windows = [np.concatenate([[0], draw.integers(3, 40, n)]) for n in (7, 7, 4, 7, 4)]
    found, alone = (
        reconstruct(model, transcoders, windows, ReconstructionSettings(batch_tokens=n)).to_json() for n in (64, 1)
    )
    fired = np.zeros(model.n_layers)
    for window in windows:
        clean = clean_run(model, transcoders, torch.from_numpy(window))
        fired += [int((clean.activations(layer) != 0).sum()) for layer in range(model.n_layers)]
    assert [layer["l0"] * found["n_tokens"] for layer in found["layers"]] == pytest.approx(fired.tolist())
    for ours, theirs in zip([*found["layers"], found["replaced"]], [*alone["layers"], alone["replaced"]], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)
