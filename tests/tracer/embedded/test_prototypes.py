"""Prototypes find planted directions, and encoders learn to tell them apart."""

from __future__ import annotations

import pytest
import torch

from tracescribe.tracer.embedded.training.prototypes import PrototypeSettings, find_clusters, fit_encoders

WIDTH, PLANTED, ROWS_EACH = 32, 12, 60


@pytest.fixture(scope="module")
def planted() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Outputs [rows, width], the planted direction of each row (-1: silence), and the unit directions."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(PLANTED, WIDTH, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    owner = torch.arange(PLANTED).repeat(ROWS_EACH)
    loud = 4.0 * directions[owner] + 0.1 * torch.randn(len(owner), WIDTH, generator=generator)
    silence = 0.05 * torch.randn(500, WIDTH, generator=generator)
    return torch.cat([loud, silence]), torch.cat([owner, torch.full((500,), -1)]), directions


def test_every_planted_direction_is_found_once(planted: tuple[torch.Tensor, ...]) -> None:
    outputs, owner, directions = planted
    clusters = find_clusters(outputs, PrototypeSettings(), most=200)
    assert len(clusters.directions) == PLANTED
    similarity = clusters.directions @ directions.T
    assert float(similarity.max(1).values.min()) > 0.99
    matched = similarity.argmax(1)
    assert sorted(matched.tolist()) == list(range(PLANTED))
    expected = torch.where(owner >= 0, owner, -1)
    assert torch.equal(torch.where(clusters.owner >= 0, matched[clusters.owner.clamp(min=0)], -1), expected)
    assert clusters.lengths.tolist() == pytest.approx([4.0] * PLANTED, rel=0.05)


def test_silence_gives_no_prototype() -> None:
    silence = 0.01 * torch.randn(300, WIDTH, generator=torch.Generator().manual_seed(1))
    assert len(find_clusters(silence, PrototypeSettings(), most=50, floor=4.0).directions) == 0


def test_dropping_clusters_frees_their_rows(planted: tuple[torch.Tensor, ...]) -> None:
    clusters = find_clusters(planted[0], PrototypeSettings(), most=200)
    keep = torch.ones(PLANTED, dtype=torch.bool)
    keep[3] = False
    kept = clusters.kept(keep)
    assert len(kept.directions) == PLANTED - 1
    assert bool((kept.owner[clusters.owner == 3] == -1).all())
    moved = clusters.owner > 3
    assert torch.equal(kept.owner[moved], clusters.owner[moved] - 1)
    assert torch.equal(kept.directions[kept.owner[moved]], clusters.directions[clusters.owner[moved]])


def test_encoders_fire_on_their_own_rows_alone(planted: tuple[torch.Tensor, ...]) -> None:
    outputs, owner, _ = planted
    generator = torch.Generator().manual_seed(2)
    words = torch.randn(40, WIDTH, generator=generator)  # several words share each direction
    inputs = words[torch.where(owner >= 0, owner + 12 * (torch.arange(len(owner)) % 3), 39)]
    settings = PrototypeSettings(steps=600)
    clusters = find_clusters(outputs, settings, most=200)
    encoder, bias = fit_encoders(inputs, clusters, settings, generator, lambda _: None)
    on = inputs @ encoder.T + bias > settings.threshold
    own = torch.nn.functional.one_hot(clusters.owner.clamp(min=0), PLANTED).bool() & (clusters.owner >= 0)[:, None]
    assert torch.equal(on, own)
