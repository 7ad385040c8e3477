"""What a scan keeps of each feature while it runs: candidate contexts and counts, both of bounded size and mergeable.

For every feature and half of the corpus a *candidate* is one window in which the feature fires. Kept are, in the
labelling half, the `top` strongest windows and, of every strength bin, the `per_bin` windows with the lowest priority
(a hash of their tokens, so that the choice is random with respect to everything else and the same in every run); in
the test half the `test` windows with the lowest priority, whatever their strength. Merging two sets of candidates and
reducing again gives what one pass over both would have given. Windows with the same tokens count once.

A strength bin is half an octave wide: the exponent of a float32 and the first bit of its mantissa. The *counts* tell how
many windows and tokens fell into each bin, exactly, so that quantiles are known to within a bin whatever was kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.graph import FloatArray, IntArray
from tracescribe.tracer.parquet_files import Columns, concatenated, take

CANDIDATE_KINDS = {
    "feature": "int32",
    "test": "bool",
    "window": "int64",
    "priority": "uint64",
    "strength": "float32",
    "peak": "uint16",
    "positions": "list:uint16",
    "values": "list:float32",
}
"""One row for each candidate: `peak` is the position of the strongest token, `positions` and `values` the activations
within the part of the window that is shown."""
COUNT_KINDS = {"feature": "int32", "what": "uint8", "bin": "int16", "count": "int64", "largest": "float32"}
"""How many windows or tokens of a feature fell into a bin, and the largest value among them."""

LABELLING, TEST, TOKENS = 0, 1, 2
"""`what` of a count: windows of the labelling half, windows of the test half, tokens of both."""
N_BINS = 512
"""Bins of float32 by sign, exponent and the first bit of the mantissa; values of 0 and below share bin 0."""


@dataclass(frozen=True)
class KeepRules:
    """How many candidates of a feature are kept.

    Attributes:
        top: strongest windows of the labelling half.
        per_bin: further windows of the labelling half from every strength bin.
        test: windows of the test half.
        shown_tokens: most tokens of a window that are shown, around its strongest.
    """

    top: int = 24
    per_bin: int = 4
    test: int = 24
    shown_tokens: int = 64


@dataclass(frozen=True, eq=False)
class TokenTable:
    """Where the tokens of some windows lie; arrays `[n_tokens]` by token unless said otherwise.

    Attributes:
        row: place of each token's window in `window` and the other arrays `[n_windows]`.
        position: of each token in its window.
        window: number of each window in the corpus, `[n_windows]`.
        length: tokens of each window, `[n_windows]`.
        test: whether each window lies in the test half, `[n_windows]`.
        priority: `[n_windows]` uint64.
    """

    row: IntArray
    position: IntArray
    window: IntArray
    length: IntArray
    test: NDArray[np.bool_]
    priority: NDArray[np.uint64]


def bins(values: FloatArray) -> NDArray[np.int64]:
    """The strength bin of each value; monotone, half an octave wide for positive values."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32) >> 22
    return np.where(values > 0, bits, 0).astype(np.int64)


def bin_edges(bin_number: int) -> tuple[float, float]:
    """Smallest value of a bin of positive values, and of the next one."""
    low, high = (np.array([bin_number, bin_number + 1], dtype=np.uint32) << 22).view(np.float32)
    return float(low), float(high)


def shown_span(peak: IntArray, length: IntArray, shown: int) -> tuple[IntArray, IntArray]:
    """First token shown of each window, and the first not shown any more: three quarters lie before the peak."""
    first = np.clip(peak - (3 * shown) // 4, 0, np.maximum(length - shown, 0))
    return first, np.minimum(first + shown, length)


def collect(
    tokens: TokenTable, token: IntArray, feature: IntArray, value: FloatArray, rules: KeepRules
) -> tuple[Columns, Columns]:
    """Candidates and counts of some activations, nothing left out yet.

    Args:
        tokens: the tokens that the activations lie on.
        token: `[n]` index into `tokens`, ascending for each feature.
        feature: `[n]`.
        value: `[n]` activations other than 0.
        rules: how much of a window is shown.

    Returns:
        Columns as in `CANDIDATE_KINDS` and `COUNT_KINDS`.
    """
    if not len(token):
        return concatenated([], CANDIDATE_KINDS), concatenated([], COUNT_KINDS)
    row = tokens.row[token]
    order = np.argsort(feature * np.int64(len(tokens.window)) + row, kind="stable")
    feature, row, value, position = feature[order], row[order], value[order], tokens.position[token[order]]
    begins = np.flatnonzero(np.concatenate([[True], (np.diff(feature) != 0) | (np.diff(row) != 0)]))
    group = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(row))))
    strength = np.maximum.reduceat(value, begins)
    far = np.iinfo(np.int64).max
    peak = np.minimum.reduceat(np.where(value == strength[group], position, far), begins)
    of_feature, of_row = feature[begins], row[begins]
    fires = strength > 0  # a TopK without ReLU may keep negative values: they count, but are no context
    first, stop = shown_span(peak, tokens.length[of_row], rules.shown_tokens)
    inside = (position >= first[group]) & (position < stop[group]) & fires[group]
    candidates: Columns = {
        "feature": of_feature[fires].astype(np.int32),
        "test": tokens.test[of_row[fires]],
        "window": tokens.window[of_row[fires]],
        "priority": tokens.priority[of_row[fires]],
        "strength": strength[fires],
        "peak": peak[fires].astype(np.uint16),
        "positions": position[inside].astype(np.uint16),
        "positions.lengths": np.bincount(group[inside], minlength=len(begins))[fires].astype(np.int64),
        "values": value[inside],
    }
    candidates["values.lengths"] = candidates["positions.lengths"]
    windows = _counts(candidates["feature"], candidates["test"].astype(np.uint8), candidates["strength"])
    told = _counts(feature, np.full(len(feature), TOKENS, dtype=np.uint8), value)
    return candidates, merge_counts([windows, told])


def reduce_candidates(parts: Sequence[Columns], rules: KeepRules) -> Columns:
    """Merge candidates and keep those that the rules want, by feature, half, then falling strength."""
    rows = concatenated(parts, CANDIDATE_KINDS)
    group = rows["feature"].astype(np.int64) * 2 + rows["test"]
    once = np.lexsort((rows["window"], rows["priority"], group))
    same = (np.diff(group[once]) == 0) & (np.diff(rows["priority"][once]) == 0)
    once = once[np.concatenate([[True], ~same])] if len(once) else once
    group, test = group[once], rows["test"][once]
    strength, priority, window = rows["strength"][once], rows["priority"][once], rows["window"][once]
    bin_of = np.where(test, 0, bins(strength))
    strongest = np.lexsort((window, -strength, group))
    rank = np.empty(len(once), dtype=np.int64)
    rank[strongest] = _rank_within(group[strongest])
    drawn = np.lexsort((priority, bin_of, group))
    place = np.empty(len(once), dtype=np.int64)
    place[drawn] = _rank_within(group[drawn] * N_BINS + bin_of[drawn])
    keep = np.where(test, place < rules.test, (rank < rules.top) | (place < rules.per_bin))
    kept = strongest[keep[strongest]]
    return take(rows, CANDIDATE_KINDS, once[kept])


def merge_counts(parts: Sequence[Columns]) -> Columns:
    """Add counts of the same feature, kind and bin; sorted by these."""
    rows = concatenated(parts, COUNT_KINDS)
    if not len(rows["feature"]):
        return rows
    key = (rows["feature"].astype(np.int64) * 3 + rows["what"]) * N_BINS + rows["bin"]
    order = np.argsort(key, kind="stable")
    begins = np.flatnonzero(np.concatenate([[True], np.diff(key[order]) != 0]))
    first = order[begins]
    merged = {name: rows[name][first] for name in ("feature", "what", "bin")}
    merged["count"] = np.add.reduceat(rows["count"][order], begins)
    merged["largest"] = np.maximum.reduceat(rows["largest"][order], begins)
    return merged


def rows_between(columns: Columns, kinds: dict[str, str], first: int, stop: int) -> Columns:
    """Rows of the features `first` to `stop - 1`; the rows are sorted by feature."""
    begin, end = np.searchsorted(columns["feature"], [first, stop])
    return take(columns, kinds, np.arange(begin, end))


def _counts(feature: NDArray[Any], what: NDArray[np.uint8], value: FloatArray) -> Columns:
    return {
        "feature": feature.astype(np.int32),
        "what": what,
        "bin": bins(value).astype(np.int16),
        "count": np.ones(len(feature), dtype=np.int64),
        "largest": value.astype(np.float32),
    }


def _rank_within(group: IntArray) -> NDArray[np.int64]:
    """Place of each entry within its run of equal groups."""
    if not len(group):
        return np.zeros(0, dtype=np.int64)
    begins = np.flatnonzero(np.concatenate([[True], np.diff(group) != 0]))
    lengths = np.diff(np.append(begins, len(group)))
    return np.arange(len(group)) - np.repeat(begins, lengths)
