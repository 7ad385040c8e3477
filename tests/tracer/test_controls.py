"""Controls: matched in everything but identity, distinct, reproducible, and honest when there are too few."""

from __future__ import annotations

import numpy as np
import pytest

from tracescribe.tracer.controls import (
    controls_sha256,
    matched_features,
    matched_shifts,
    matched_subsets,
)
from tracescribe.tracer.edits import FeatureShift
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.graph import FeatureNode, FeatureRef

LIVE = {0: np.arange(0, 40, 2), 1: np.arange(30), 2: np.array([5, 6, 7])}
SHIFTS = (
    FeatureShift(0, 3, 4, -2.0),
    FeatureShift(0, 4, 4, -1.0),
    FeatureShift(0, 3, 6, 5.0),
    FeatureShift(1, 2, 9, 0.5),
)


def test_controls_match_layer_position_and_amount_and_differ_in_features() -> None:
    controls = matched_shifts(np.random.default_rng(0), SHIFTS, LIVE, {FeatureRef(1, 3)}, 199)
    assert len(controls) == len(set(controls)) == 199
    tested = {shift.ref for shift in SHIFTS}
    for control in controls:
        assert [(s.layer, s.position, s.amount) for s in control] == [(s.layer, s.position, s.amount) for s in SHIFTS]
        assert control[0].feature == control[1].feature, "one feature at two positions stays one feature"
        assert len({s.ref for s in control}) == 3, "two features of a control never coincide"
        assert not {s.ref for s in control} & (tested | {FeatureRef(1, 3)})
        assert all(s.feature in LIVE[s.layer] for s in control)


def test_controls_come_from_the_generator_alone() -> None:
    draws = [controls_sha256(matched_shifts(np.random.default_rng(seed), SHIFTS, LIVE, (), 60)) for seed in (7, 7, 8)]
    assert draws[0] == draws[1] != draws[2]


def test_controls_cover_the_whole_pool() -> None:
    controls = matched_shifts(np.random.default_rng(0), SHIFTS[:1], LIVE, (), 199)
    assert sorted(c[0].feature for c in controls) == [f for f in range(0, 40, 2) if f != 4]


def test_amounts_are_scaled_to_equal_decoder_size() -> None:
    norms = {0: np.linspace(0.5, 3.0, 40).astype(np.float32)}
    for control in matched_shifts(np.random.default_rng(0), SHIFTS[:1], LIVE, (), 50, norms):
        size = control[0].amount * float(norms[0][control[0].feature])
        assert size == pytest.approx(-2.0 * float(norms[0][4]), rel=1e-6)


def test_too_small_a_pool_gives_what_exists() -> None:
    pair = (FeatureShift(2, 1, 5, 1.0), FeatureShift(2, 1, 6, 1.0))
    assert matched_shifts(np.random.default_rng(0), pair, LIVE, (), 50) == []
    one = matched_shifts(np.random.default_rng(0), pair[:1], LIVE, (), 50)
    assert sorted(c[0].feature for c in one) == [6, 7]
    assert matched_shifts(np.random.default_rng(0), [FeatureShift(3, 1, 0, 1.0)], LIVE, (), 50) == []


def test_all_distinct_controls_are_found_when_few_exist() -> None:
    live = {0: np.arange(9)}
    pair = (FeatureShift(0, 1, 0, 1.0), FeatureShift(0, 1, 1, 1.0))
    controls = matched_shifts(np.random.default_rng(0), pair, live, (), 199)
    assert len(set(controls)) == 7 * 6


@pytest.mark.parametrize("n", [0, -1])
def test_no_controls_wanted_is_a_mistake(n: int) -> None:
    with pytest.raises(SettingError, match="at least 1"):
        matched_shifts(np.random.default_rng(0), SHIFTS, LIVE, (), n)


def test_nothing_to_match_is_a_mistake() -> None:
    with pytest.raises(SettingError, match="no shifts"):
        matched_shifts(np.random.default_rng(0), (), LIVE, (), 5)
    with pytest.raises(SettingError, match="no features"):
        matched_features(np.random.default_rng(0), (), {}, 5)


def test_feature_controls_are_near_in_density() -> None:
    rng = np.random.default_rng(0)
    density = {0: np.sort(rng.uniform(0.001, 0.5, 400)).astype(np.float32)}
    density[0][rng.choice(400, 100, replace=False)] = 0.0
    tested = int(np.flatnonzero(density[0] > 0)[150])
    few = matched_features(rng, [FeatureRef(0, tested)], density, 20)
    assert len({c[0] for c in few}) == 20
    alive = np.flatnonzero(density[0] > 0)
    rank = {int(f): r for r, f in enumerate(alive)}
    assert all(ref.feature in rank and ref.feature != tested for (ref,) in few)
    assert max(abs(rank[ref.feature] - rank[tested]) for (ref,) in few) <= 30, "one decile of 300 is enough for 20"
    many = matched_features(rng, [FeatureRef(0, tested)], density, 199)
    assert len({c[0] for c in many}) == 199
    assert max(abs(rank[ref.feature] - rank[tested]) for (ref,) in many) > 30


def test_random_circuits_have_the_same_size_in_every_layer() -> None:
    pool = [FeatureNode(layer, p, f) for layer in range(3) for p in range(3) for f in range(4)]
    chosen = [pool[0], pool[5], pool[13]]
    circuits = matched_subsets(np.random.default_rng(0), chosen, pool, 199)
    assert len(set(circuits)) == 199 and tuple(sorted(chosen)) not in circuits
    for circuit in circuits:
        assert len(set(circuit)) == 3 and [n.layer for n in circuit] == [0, 0, 1] and set(circuit) <= set(pool)


def test_random_circuits_of_a_small_pool_are_all_but_the_tested_one() -> None:
    pool = [FeatureNode(0, 1, f) for f in range(4)]
    circuits = matched_subsets(np.random.default_rng(0), pool[:2], pool, 199)
    assert len(set(circuits)) == 5
    assert matched_subsets(np.random.default_rng(0), pool, pool, 199) == []
    with pytest.raises(SettingError, match="1 of 1 are not"):
        matched_subsets(np.random.default_rng(0), [FeatureNode(1, 1, 1)], pool, 5)


def test_hash_tells_open_ended_positions_and_amounts_apart() -> None:
    variants = [
        FeatureShift(0, 1, 2, 1.0),
        FeatureShift(0, slice(1, None), 2, 1.0),
        FeatureShift(0, 1, 2, 1.5),
        FeatureShift(0, 2, 1, 1.0),
    ]
    assert len({controls_sha256([[shift]]) for shift in variants}) == 4
