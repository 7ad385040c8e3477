"""Scores of features against latents: exact where they can be checked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tracescribe.tracer.embedded.training.latents import (
    ANYWHERE,
    LatentTable,
    area_under_curve,
    check_labels,
    label_features,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0, 2.0]), st.booleans()), min_size=2, max_size=60))
def test_area_under_curve_agrees_with_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    values, positive = (np.array(column) for column in zip(*rows, strict=True))
    found = area_under_curve(torch.tensor(values), torch.tensor(positive))
    if positive.all() or not positive.any():
        assert found == 0.5
    else:
        assert found == pytest.approx(roc_auc_score(positive, values), abs=1e-9)


def _table(active: torch.Tensor) -> LatentTable:
    """Two words of each of two states, at the role `city`, and four rows of something else."""
    holds = torch.zeros(12, 3)
    holds[0:4, 0] = 1  # state Texas
    holds[4:8, 1] = 1  # state Ohio
    holds[0:2, 2] = 1  # the word Dallas
    latents = (("state", "Texas"), ("state", "Ohio"), ("token", "Dallas"))
    return LatentTable(active, holds, latents, {ANYWHERE: torch.arange(12), "city": torch.arange(8)})


def test_a_feature_gets_the_latent_that_it_fires_for() -> None:
    active = torch.zeros(12, 4)
    active[0:4, 0] = 2.0  # Texas
    active[4:8, 1] = 1.0  # Ohio
    active[4:12, 2] = 1.0  # Ohio and things that have nothing to do with it
    labels = label_features(_table(active), (2, 2))
    assert [(x.layer, x.index, x.name, x.value) for x in labels] == [
        (0, 0, "state", "Texas"),
        (0, 1, "state", "Ohio"),
        (1, 0, "state", "Ohio"),
    ]  # the fourth feature is dead
    assert (labels[0].f1, labels[0].auc, labels[0].precision) == (1.0, 1.0, 1.0)
    assert labels[2].precision == 0.5
    assert labels[2].f1 == pytest.approx(2 / 3)


def test_a_match_that_does_not_hold_on_fresh_text_is_seen() -> None:
    active = torch.zeros(12, 1)
    active[0:4, 0] = 2.0
    fresh = torch.zeros(12, 1)
    fresh[6:10, 0] = 2.0
    labels = label_features(_table(active), (1,))
    checked = check_labels(labels, active.max(0).values, _table(fresh), (1,))
    assert (labels[0].f1, checked[0].f1) == (1.0, 1.0)
    assert checked[0].held_out_f1 == 0.0
    assert checked[0].held_out_auc is not None and checked[0].held_out_auc < 0.5
