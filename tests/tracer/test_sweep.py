"""Ways of the sweep that depend on size give what the plain way gives: tiles, blocks, tokens brought up or covectors down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.tracer.exact_cases import Case, dense, make_case, random_tokens, relative
from tests.tracer.tiny_transcoders import TranscoderShape
from tracescribe.tracer import sweep
from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens
from tracescribe.tracer.local_replacement import replace_locally
from tracescribe.tracer.sweep import Sweep

N_POS = 31
FAMILIES = ("mistral", "gemma2", "gpt2", "llama")
CLOSE = 1e-12


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A prompt longer than sliding windows, with constants beside the tokens (GPT-2) and a skip path (Llama)."""
    shape = TranscoderShape("plt", "relu", skip=True) if request.param == "llama" else TranscoderShape("clt", "relu")
    return make_case(tmp_path_factory.mktemp(request.param), request.param, shape, seed=3)


def edges(case: Case, settings: AttributionSettings | None = None) -> NDArray[np.float64]:
    return dense(attribute_tokens(*case.open(), random_tokens(N_POS, seed=5), settings))


@pytest.mark.parametrize("tile", [1, 3, 8])
def test_tiles_leave_out_nothing_but_zeros(case: Case, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = edges(case)
    assert np.count_nonzero(whole) > 1000
    monkeypatch.setattr(sweep, "PATTERN_TILE", tile)
    model, transcoders = case.open()
    replacement = replace_locally(model, transcoders, random_tokens(N_POS, seed=5))
    for layer, weights in zip(replacement.layers, Sweep(replacement).weights, strict=True):
        covered = torch.zeros(N_POS, N_POS, dtype=torch.bool)
        for keys, low, high in weights.tiles:
            covered[low:high, keys] = True
        assert not layer.pattern[..., ~covered].any()
        if tile == 1:
            assert covered.sum() < N_POS**2 * 0.6, "later positions, and those beyond a window, are left out"
    assert relative(edges(case), whole) <= CLOSE


def test_tokens_brought_up_and_covectors_brought_down_meet(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    brought_up = edges(case)
    monkeypatch.setattr(sweep, "TOKEN_MAP_BYTES", 0)
    assert relative(edges(case), brought_up) <= CLOSE


@pytest.mark.parametrize("size", [1, 7])
def test_blocks_cut_by_memory_change_nothing(case: Case, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a node budget too, where the number of features between two estimates is part of the result."""
    settings = AttributionSettings(max_feature_nodes=60, batch_size=16, update_interval=2)
    whole, budgeted = edges(case), edges(case, settings)
    model, transcoders = case.open()
    per_target = Sweep(replace_locally(model, transcoders, random_tokens(N_POS, seed=5))).bytes_per_target()
    monkeypatch.setattr(sweep, "SWEEP_BYTES", size * per_target)
    assert relative(edges(case), whole) <= CLOSE
    assert relative(edges(case, settings), budgeted) <= CLOSE
