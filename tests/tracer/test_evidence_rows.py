"""What a scan keeps of each feature: merging, quantiles, bins."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracescribe.tracer.evidence_finish import choose_contexts
from tracescribe.tracer.evidence_rows import (
    CANDIDATE_KINDS,
    N_BINS,
    KeepRules,
    TokenTable,
    bin_edges,
    bins,
    collect,
    merge_counts,
    reduce_candidates,
)
from tracescribe.tracer.feature_evidence import BANDS, sample_by_quantile
from tracescribe.tracer.parquet_files import Columns

Drawn = tuple[TokenTable, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


@st.composite
def activations(draw: st.DrawFn) -> Drawn:
    """Windows with equal ones among them, and activations with ties."""
    lengths = np.array(draw(st.lists(st.integers(1, 6), min_size=1, max_size=30)), dtype=np.int64)
    n = len(lengths)
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(n), lengths)
    n_tokens = len(row)
    table = TokenTable(
        row=row,
        position=np.arange(n_tokens) - (np.cumsum(lengths) - lengths)[row],
        window=np.arange(n),
        length=lengths,
        test=rng.random(n) < 0.4,
        priority=rng.permutation(n).astype(np.uint64) * 1000,
    )
    dense = np.where(rng.random((n_tokens, 3)) < 0.5, rng.integers(-2, 9, (n_tokens, 3)), 0).astype(np.float32)
    token, feature = np.nonzero(dense)
    return table, token, feature, dense[token, feature]


def _same(a: Columns, b: Columns) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert np.array_equal(a[name], b[name]), name


def _part(drawn: Drawn, rows: NDArray[np.int64], rules: KeepRules) -> tuple[Columns, Columns]:
    table, token, feature, value = drawn
    mine = np.isin(table.row[token], rows)
    return collect(table, token[mine], feature[mine], value[mine], rules)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(activations(), st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.data())
def test_merging_parts_gives_what_one_pass_gives(
    drawn: Drawn, top: int, per_bin: int, test: int, data: st.DataObject
) -> None:
    rules = KeepRules(top=top, per_bin=per_bin, test=test, shown_tokens=4)
    candidates, counts = collect(*drawn, rules)
    whole, told = reduce_candidates([candidates], rules), merge_counts([counts])
    n = len(drawn[0].window)
    owner = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    parts = [_part(drawn, np.flatnonzero(owner == k), rules) for k in range(3)]
    reduced = [reduce_candidates([part], rules) for part, _ in parts]
    nested = reduce_candidates([reduce_candidates(reduced[:2], rules), reduced[2]], rules)
    _same(nested, whole)
    _same(merge_counts([merge_counts([c for _, c in parts[:2]]), parts[2][1]]), told)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(activations())
def test_enough_room_keeps_every_window_and_the_choice_is_the_exact_one(drawn: Drawn) -> None:
    table, token, feature, value = drawn
    rules = KeepRules(top=3, per_bin=100, test=100, shown_tokens=64)
    candidates, counts = collect(table, token, feature, value, rules)
    kept, told = reduce_candidates([candidates], rules), merge_counts([counts])
    assert len(kept["feature"]) == len(candidates["feature"])
    for number in range(3):
        mine = (kept["feature"] == number) & ~kept["test"]
        of_windows = (told["feature"] == number) & (told["what"] == 0)
        by_bin = np.bincount(told["bin"][of_windows], weights=told["count"][of_windows], minlength=N_BINS)
        strength, window = kept["strength"][mine], kept["window"][mine]
        chosen = choose_contexts({"strength": strength}, by_bin.astype(np.int64), rules)
        found = [(int(window[row]), BANDS[band]) for row, band in chosen]
        assert found == sample_by_quantile(window, strength)


def test_bands_are_right_to_within_a_bin_when_much_was_dropped() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    strength = np.exp(rng.normal(size=n)).astype(np.float32)
    rules = KeepRules()
    rows: Columns = {
        "feature": np.zeros(n, dtype=np.int32),
        "test": np.zeros(n, dtype=np.bool_),
        "window": np.arange(n),
        "priority": rng.permutation(n).astype(np.uint64),
        "strength": strength,
        "peak": np.zeros(n, dtype=np.uint16),
        "positions": np.zeros(n, dtype=np.uint16),
        "positions.lengths": np.ones(n, dtype=np.int64),
        "values": strength,
        "values.lengths": np.ones(n, dtype=np.int64),
    }
    assert {name.removesuffix(".lengths") for name in rows} == set(CANDIDATE_KINDS)
    kept = reduce_candidates([rows], rules)
    assert len(kept["window"]) < 250
    by_bin = np.bincount(bins(strength), minlength=N_BINS)
    chosen = choose_contexts({"strength": kept["strength"]}, by_bin, rules)
    assert [band for _, band in chosen] == sorted(band for _, band in chosen)
    quantile = {name: i for i, name in enumerate(BANDS)}
    for row, band in chosen:
        share = float((strength < kept["strength"][row]).mean())
        low = {"top": 1 - 12 / n}.get(BANDS[band], 1 - 0.25 * quantile[BANDS[band]])
        slack = max(
            float(((strength >= a) & (strength < b)).mean())
            for a, b in [bin_edges(int(bins(kept["strength"][row : row + 1])[0]))]
        )
        assert low - slack <= share + 1e-3 and share <= low + 0.25 + slack, (BANDS[band], share)
    assert len(chosen) >= 24


def test_bins_hold_their_values() -> None:
    values = np.concatenate([np.exp(np.random.default_rng(0).normal(0, 9, 500)), [1.0, 1.5, 2.0]]).astype(np.float32)
    for value, number in zip(values, bins(values), strict=True):
        low, high = bin_edges(int(number))
        assert low <= value < high and high / low <= 1.5 + 1e-6
    assert bins(np.array([0.0, -3.0], dtype=np.float32)).tolist() == [0, 0]
    assert (np.diff(bins(np.sort(values))) >= 0).all()
