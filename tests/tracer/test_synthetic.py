"""Random pairs for benchmarks: they are what was asked for, of every family, and the same each time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tracescribe.tracer.attribution import attribute_tokens
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.models import load_model
from tracescribe.tracer.synthetic import (
    SYNTHETIC_FAMILIES,
    SyntheticKind,
    SyntheticShape,
    random_tokens,
    write_synthetic,
)
from tracescribe.tracer.transcoders import load_transcoders

SMALL = SyntheticShape(
    n_layers=3, d_model=32, n_heads=4, n_kv_heads=2, d_mlp=48, vocab_size=64, n_features=200, n_active=6.0
)


@pytest.mark.parametrize("family", SYNTHETIC_FAMILIES)
@pytest.mark.parametrize("kind", ["clt", "plt"])
def test_every_family_can_be_traced_and_about_as_many_features_fire_as_asked(
    family: str, kind: SyntheticKind, tmp_path: Path
) -> None:
    shape = dataclasses.replace(SMALL, family=family, kind=kind, skip=kind == "plt", jump=family == "llama")
    written = write_synthetic(tmp_path, shape)
    model, transcoders = load_model(written.model), load_transcoders(written.transcoders)
    graph = attribute_tokens(model, transcoders, random_tokens(40, shape))  # asserts conservation
    per_place = graph.provenance["n_active_features"] / (shape.n_layers * 39)
    assert 0.6 * shape.n_active < per_place < 1.6 * shape.n_active
    assert (transcoders.skip_weight(0) is not None) == shape.skip
    assert model.encode("w3 w4 w5").tolist() == [0, 3, 4, 5]


def test_one_seed_gives_one_pair_byte_for_byte(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_synthetic(tmp_path / name, dataclasses.replace(SMALL, seed=seed))
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*.safetensors"))]
    assert len(files) == 1 + 2 * SMALL.n_layers
    for file in files:
        first = (tmp_path / "a" / file).read_bytes()
        assert first == (tmp_path / "b" / file).read_bytes()
        assert first != (tmp_path / "c" / file).read_bytes()


def test_shapes_that_cannot_be_are_refused_with_every_reason() -> None:
    with pytest.raises(SettingError) as caught:
        SyntheticShape(family="bert", n_active=3000, skip=True)
    for reason in ("family is 'bert'", "n_active is 3000", "skip paths"):
        assert reason in str(caught.value)
    with pytest.raises(SettingError, match="query heads must divide"):
        SyntheticShape(n_heads=6, d_model=240, n_kv_heads=4)
