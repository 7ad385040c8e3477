"""Transcoders in every format, on a model other than the formats' own tests use: the whole graph against autograd.

The oracle is given the numbers that were written, and reads no file: a format that is read wrongly, and an activation or a
skip path that is traced wrongly, both show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.tracer import transcoder_writers as writers
from tests.tracer.autograd_oracle import open_hugging_face, trace_by_autograd
from tests.tracer.exact_cases import faults, random_tokens
from tests.tracer.oracle_transcoders import OracleLayer, OracleTranscoders
from tests.tracer.tiny_families import N_LAYERS, write_family
from tests.tracer.transcoder_writers import Weights, draw
from tracescribe.tracer.attribution import attribute_tokens
from tracescribe.tracer.models import load_model
from tracescribe.tracer.transcoders import load_transcoders

READS, BEHIND, BEFORE = "mlp.hook_in", "hook_mlp_out", "mlp.hook_out"
NORMALISED = "ln2.hook_normalized"


@dataclass(frozen=True, eq=False)
class GroupMaxLayer(OracleLayer):
    """The largest of each of k groups of neighbouring features, after a ReLU."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pre = x @ self.encoder.T + self.encoder_bias
        groups = torch.tensor_split(pre.clamp(min=0), self.k or 1, dim=-1)
        kept = [torch.where(group == group.amax(-1, keepdim=True), group, torch.zeros_like(group)) for group in groups]
        return pre, torch.cat(kept, dim=-1)


@dataclass(frozen=True, eq=False)
class Written:
    """A set that is written and what it is.

    Attributes:
        write: writes it into an empty folder.
        reads, writes: hook names that the format gives it.
        cross_layer, jump, skip: of its weights.
        k: features per token or groups, or None.
        layer: how the oracle encodes.
        over_prompt: whether the k features of each token are chosen over the whole prompt.
    """

    write: Callable[[Path, list[Weights]], None]
    reads: str = READS
    writes: str = BEHIND
    cross_layer: bool = False
    jump: bool = True
    skip: bool = False
    k: int | None = None
    layer: type[OracleLayer] = OracleLayer
    over_prompt: bool = False

    def oracle(self, layers: list[Weights]) -> OracleTranscoders:
        """The same numbers for the oracle."""
        return OracleTranscoders(tuple(self._layer(w) for w in layers), self.reads, self.writes)

    def _layer(self, w: Weights) -> OracleLayer:
        return self.layer(
            encoder=w.encoder.double(),
            encoder_bias=w.encoder_bias.double(),
            decoder=w.decoder.double(),
            decoder_bias=w.decoder_bias.double(),
            threshold=None if w.threshold is None else w.threshold.double(),
            skip=None if w.skip is None else w.skip.double(),
            k=self.k,
            rectified=True,
            over_prompt=self.over_prompt,
        )


def batch_top_k(folder: Path, layers: list[Weights]) -> None:
    writers.circuit_tracer(folder, layers, activation="batchtopk", k=4)


def batch_top_k_across_layers(folder: Path, layers: list[Weights]) -> None:
    writers.cross_layer(folder, layers, activation="batchtopk", k=4)


def group_max(folder: Path, layers: list[Weights]) -> None:
    writers.sparsify(folder, layers, k=3, activation="groupmax")


SETS = {
    "circuit-tracer, files listed": Written(writers.circuit_tracer_listed, skip=True),
    "circuit-tracer, sub-folder": Written(writers.circuit_tracer_in_sub_folder, skip=True),
    "circuit-tracer, BatchTopK": Written(batch_top_k, jump=False, k=4, over_prompt=True),
    "circuit-tracer, cross-layer BatchTopK": Written(
        batch_top_k_across_layers, cross_layer=True, jump=False, k=4, over_prompt=True
    ),
    "Gemma Scope 1": Written(writers.scope_1, NORMALISED),
    "Gemma Scope 1, compressed": Written(writers.scope_1_compressed, NORMALISED),
    "Gemma Scope 1, by column": Written(writers.scope_1_by_column, NORMALISED),
    "Gemma Scope 2, per layer": Written(writers.scope_2, skip=True),
    "Gemma Scope 2, cross-layer": Written(writers.scope_2_cross_layer, cross_layer=True),
    "Gemma Scope 2, cross-layer with skip": Written(writers.scope_2_cross_layer, cross_layer=True, skip=True),
    "Gemma Scope 2, cross-layer, listed": Written(writers.scope_2_cross_layer_listed, cross_layer=True),
    "sparsify, groupmax": Written(group_max, writes=BEFORE, jump=False, skip=True, k=3, layer=GroupMaxLayer),
    "SAELens": Written(writers.sae_lens, skip=True),
    "state dicts": Written(writers.state_dicts, skip=True),
}


@pytest.fixture(scope="module", params=["gemma2", "gpt2"])
def model_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Norms behind the MLP and soft-caps; norms that centre, with biases."""
    folder = tmp_path_factory.mktemp("model") / str(request.param)
    write_family(folder, str(request.param), seed=5)
    return folder


@pytest.mark.parametrize("name", SETS)
def test_the_graph_of_every_format_is_the_one_that_autograd_gives(
    model_folder: Path, name: str, tmp_path: Path
) -> None:
    written = SETS[name]
    layers = draw(
        (12, 15, 18)[:N_LAYERS], 16, cross_layer=written.cross_layer, jump=written.jump, skip=written.skip, seed=7
    )
    written.write(tmp_path, layers)
    model, transcoders = load_model(model_folder, dtype="float64"), load_transcoders(tmp_path, dtype="float64")
    assert (transcoders.reads, transcoders.writes) == (written.reads, written.writes)
    tokens = random_tokens(7, seed=5)
    oracle = trace_by_autograd(open_hugging_face(model_folder), written.oracle(layers), tokens)
    assert faults(attribute_tokens(model, transcoders, tokens), oracle) == []
    share = len(oracle.active) / (len(tokens) * sum(transcoders.n_features))
    assert 0.1 < share < 0.7
    assert set(oracle.active[:, 0].tolist()) == set(range(N_LAYERS))
