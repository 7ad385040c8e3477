"""The last step of a scan: from what was kept of every feature to the files that are looked up.

Layers are finished one by one, blocks of features at a time, so that neither memory nor a kill costs more than one layer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.evidence_checkpoint import Checkpoint, ScannedWindows, blocks_of
from tracescribe.tracer.evidence_manifest import (
    FEATURE_KINDS,
    FEATURES_PER_BLOCK,
    MANIFEST,
    SAMPLE,
    SUMMARY,
    SUMMARY_KINDS,
    TEST_BAND,
    TEXT_KINDS,
    TOKEN_TEXTS,
    Manifest,
    feature_block,
    layer_file,
)
from tracescribe.tracer.evidence_rows import (
    CANDIDATE_KINDS,
    COUNT_KINDS,
    LABELLING,
    TEST,
    TOKENS,
    KeepRules,
    bins,
    merge_counts,
    reduce_candidates,
    rows_between,
    shown_span,
)
from tracescribe.tracer.evidence_sample import write_sample
from tracescribe.tracer.evidence_store import MIN_ACTIVE_TOKENS
from tracescribe.tracer.feature_evidence import TopEffects, quantile_ranks
from tracescribe.tracer.logit_effects import top_effects
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.parquet_files import BlockReader, BlockWriter, Columns, take, whole_file
from tracescribe.tracer.provenance import write_text_atomic
from tracescribe.tracer.transcoders import TranscoderSet

_TEXTS_AT_ONCE = 4096


def finish(
    model: LanguageModel,
    transcoders: TranscoderSet,
    checkpoint: Checkpoint,
    sample_tokens: int,
    n_effects: int,
    folder: Path,
    plan: dict[str, Any],
    tell: Callable[[str, int, int, str], object],
) -> Manifest:
    """Write the files of a finished scan, the manifest last.

    Args:
        model, transcoders: what was scanned with.
        checkpoint: the scan, all of the corpus done.
        sample_tokens: most tokens of the reference sample.
        n_effects: promoted and suppressed tokens of each feature.
        folder: where the files go.
        plan: all that the result depends on.
        tell: progress callback.

    Raises:
        EvidenceError: the checkpoint is damaged.
        OutputError: the folder cannot be written to.
    """
    zero_positions = int(plan["settings"]["zero_positions"])
    windows, rules = checkpoint.windows(), KeepRules(**plan["settings"]["keep"])
    for layer in range(model.n_layers):
        path = folder / layer_file(layer)
        if not path.is_file():
            effects = top_effects(model, transcoders, layer, n_effects)
            with whole_file(path) as place, BlockWriter(place, FEATURE_KINDS) as writer:
                _write_layer(layer, transcoders.n_features, checkpoint, windows, rules, effects, writer)
        tell("finish", layer + 1, model.n_layers, "")
    every_effect = tuple(_read_effects(folder / layer_file(layer)) for layer in range(model.n_layers))
    live = _write_summary(folder / SUMMARY, transcoders.n_features, checkpoint)
    _write_texts(folder / TOKEN_TEXTS, model)
    n_sample = write_sample(model, transcoders, checkpoint, sample_tokens, every_effect, folder / SAMPLE, plan)
    lengths = windows.windows["length"]
    names = [SUMMARY, TOKEN_TEXTS, *(layer_file(layer) for layer in range(model.n_layers))]
    manifest = Manifest(
        tracer_version=str(plan["tracer_version"]),
        plan=plan,
        documents_sha256=checkpoint.state.digest,
        n_documents=checkpoint.state.documents,
        n_windows=checkpoint.state.windows,
        n_tokens=checkpoint.state.tokens,
        n_counted_tokens=checkpoint.state.tokens - int(np.minimum(lengths, zero_positions).sum(dtype=np.int64)),
        n_sample_windows=n_sample,
        n_features=transcoders.n_features,
        live_features=live,
        files={name: (folder / name).stat().st_size for name in sorted(names)},
    )
    write_text_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    return manifest


def choose_contexts(candidates: Columns, counts: NDArray[np.int64], rules: KeepRules) -> list[tuple[int, int]]:
    """Which candidates of one feature's labelling half to show.

    Ranks are wanted among all windows in which the feature fires. The strongest are known one by one; below them the
    counts say which bin a rank falls into and how deep, and the bin's candidates, a random sample of it, stand in.
    Where every window was kept the choice is that of `feature_evidence.sample_by_quantile`.

    Args:
        candidates: of this feature and half, strongest first.
        counts: `[N_BINS]` windows in each bin.
        rules: `top` of the candidates are the strongest of all.

    Returns:
        (row, place in `BANDS`) pairs, strongest first, each row once.
    """
    strength = candidates["strength"]
    bin_of = bins(strength)
    n_top = min(rules.top, len(strength))
    strongest = np.bincount(bin_of[:n_top], minlength=len(counts))
    below = counts - strongest  # windows of each bin that are not among the strongest
    chosen: dict[int, int] = {}
    for rank, band in quantile_ranks(int(counts.sum())):
        row = rank if rank < n_top else _row_at(rank - n_top, below, bin_of, n_top)
        if row is not None and row not in chosen:
            chosen[row] = band
    return sorted(chosen.items())


def _row_at(depth: int, below: NDArray[np.int64], bin_of: NDArray[np.int64], n_top: int) -> int | None:
    """The candidate that stands for the window at some depth below the strongest."""
    for bin_number in np.flatnonzero(below)[::-1]:
        size = int(below[bin_number])
        if depth < size:
            rows = np.flatnonzero(bin_of[n_top:] == bin_number) + n_top
            return int(rows[depth * len(rows) // size]) if len(rows) else None
        depth -= size
    return None


def _write_layer(
    layer: int,
    n_features: tuple[int, ...],
    checkpoint: Checkpoint,
    windows: ScannedWindows,
    rules: KeepRules,
    effects: TopEffects,
    writer: BlockWriter,
) -> None:
    candidate_runs, count_runs = checkpoint.runs("candidates"), checkpoint.runs("counts")
    for name, block_layer, first, stop in blocks_of(n_features):
        if block_layer != layer:
            continue
        found = [part for reader in candidate_runs if (part := reader.read(name)) is not None]
        counted = [part for reader in count_runs if (part := reader.read(name)) is not None]
        candidates, counts = reduce_candidates(found, rules), merge_counts(counted)
        for start in range(first, stop, FEATURES_PER_BLOCK):
            features = range(start, min(start + FEATURES_PER_BLOCK, stop))
            rows = [_feature_row(feature, candidates, counts, windows, rules, effects) for feature in features]
            writer.write(feature_block(start), _stacked(rows))
    for reader in (*candidate_runs, *count_runs):
        reader.close()


def _feature_row(
    feature: int,
    candidates: Columns,
    counts: Columns,
    windows: ScannedWindows,
    rules: KeepRules,
    effects: TopEffects,
) -> Columns:
    """One row of a layer's file; every column as an array."""
    mine = rows_between(candidates, CANDIDATE_KINDS, feature, feature + 1)
    told = rows_between(counts, COUNT_KINDS, feature, feature + 1)
    of_windows = told["what"] == LABELLING
    labelling = np.bincount(told["bin"][of_windows], weights=told["count"][of_windows], minlength=512).astype(np.int64)
    n_labelling = int((~mine["test"]).sum())  # sorted: the labelling half first
    half = {name: mine[name][:n_labelling] for name in ("strength", "window")}
    picked = choose_contexts(half, labelling, rules)
    shown = mine["priority"][[row for row, _ in picked]]
    # documents of both halves may hold the same words: what the labeller saw is no unseen text
    unseen = ~np.isin(mine["priority"], shown)
    picked += [(row, TEST_BAND) for row in range(n_labelling, len(mine["window"])) if unseen[row]]
    tokens = told["what"] == TOKENS
    row: Columns = {
        "feature": np.array([feature]),
        "labelling_windows": np.array([labelling.sum()]),
        "test_windows": np.array([told["count"][told["what"] == TEST].sum()]),
        "bins": told["bin"][tokens],
        "bin_tokens": told["count"][tokens],
    }
    for name, array in effects._asdict().items():
        row[name] = array[feature]
    return row | _contexts(mine, picked, windows, rules)


def _contexts(mine: Columns, picked: list[tuple[int, int]], windows: ScannedWindows, rules: KeepRules) -> Columns:
    """Context columns of one feature: tokens from the log, activations from the candidates."""
    kept = take(mine, CANDIDATE_KINDS, np.array([row for row, _ in picked], dtype=np.int64))
    table = np.asarray(windows.windows[kept["window"]])
    first, stop = shown_span(kept["peak"].astype(np.int64), table["length"].astype(np.int64), rules.shown_tokens)
    sizes = stop - first
    begins = np.cumsum(sizes) - sizes
    context = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(int(sizes.sum())) - begins[context]
    tokens = np.asarray(windows.tokens[(table["offset"] + first)[context] + place])
    activation = np.zeros(len(place), dtype=np.float32)
    owner = np.repeat(np.arange(len(sizes)), kept["positions.lengths"])
    activation[begins[owner] + kept["positions"] - first[owner]] = kept["values"]
    return {
        "context_window": kept["window"],
        "context_first": first,
        "context_band": np.array([band for _, band in picked], dtype=np.int8),
        "context_tokens": sizes,
        "token": tokens["id"],
        "next_token": tokens["next"],
        "activation": activation,
    }


def _stacked(rows: list[Columns]) -> Columns:
    """Rows as columns."""
    columns: Columns = {}
    for name, kind in FEATURE_KINDS.items():
        columns[name] = np.concatenate([row[name] for row in rows])
        if kind.startswith("list:"):
            columns[f"{name}.lengths"] = np.array([len(row[name]) for row in rows], dtype=np.int64)
    return columns


def _read_effects(path: Path) -> TopEffects:
    """Logit effects of a layer's features, from its finished file."""
    reader = BlockReader(path, FEATURE_KINDS)
    blocks = [block for name in reader.names if (block := reader.read(name, TopEffects._fields)) is not None]
    reader.close()
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in TopEffects._fields}
    n_rows = sum(len(block["promoted.lengths"]) for block in blocks)
    return TopEffects(**{name: array.reshape(n_rows, -1) for name, array in joined.items()})


def _write_summary(path: Path, n_features: tuple[int, ...], checkpoint: Checkpoint) -> int:
    """Counts and extremes of every feature; how many features are live."""
    runs = checkpoint.runs("counts")
    live = 0
    with whole_file(path) as place, BlockWriter(place, SUMMARY_KINDS) as writer:
        for layer, width in enumerate(n_features):
            n_active, largest = np.zeros(width, dtype=np.int64), np.zeros(width, dtype=np.float32)
            for name, block_layer, *_ in blocks_of(n_features):
                parts = [run.read(name) for run in runs] if block_layer == layer else []
                counts = merge_counts([part for part in parts if part is not None])
                tokens = counts["what"] == TOKENS
                np.add.at(n_active, counts["feature"][tokens], counts["count"][tokens])
                np.maximum.at(largest, counts["feature"][tokens], counts["largest"][tokens])
            writer.write(str(layer), {"n_active": n_active, "largest": largest})
            live += int((n_active >= MIN_ACTIVE_TOKENS).sum())
    for run in runs:
        run.close()
    return live


def _write_texts(path: Path, model: LanguageModel) -> None:
    """Text of every token id, as bytes, so that a text that is no valid Unicode is kept too."""
    with whole_file(path) as place, BlockWriter(place, TEXT_KINDS) as writer:
        for first in range(0, model.vocab_size, _TEXTS_AT_ONCE):
            ids = range(first, min(first + _TEXTS_AT_ONCE, model.vocab_size))
            texts = [model.token_text(i).encode("utf-8", "surrogatepass") for i in ids]
            lengths = np.array([len(text) for text in texts], dtype=np.int64)
            joined = np.frombuffer(b"".join(texts), dtype=np.uint8)
            writer.write(str(first), {"text": joined, "text.lengths": lengths})
