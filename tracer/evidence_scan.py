"""The scan of a corpus of any size: once through the text, in bounded memory, taken up again after a kill.

Every shard of windows runs through the model once; the inputs of all transcoders are kept for the shard, so that each
encoder is needed once a shard and may be larger than what fits beside the others. What is kept of every feature is
described in `evidence_rows`, how it reaches the disk in `evidence_checkpoint`, and the finished files in
`evidence_manifest`. The result depends on the plan alone: weights, corpus, settings.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracescribe.tracer.corpus import Corpus
from tracescribe.tracer.corpus_windows import Window, WindowReader
from tracescribe.tracer.errors import EvidenceError, OutputError
from tracescribe.tracer.evidence_checkpoint import (
    CHECKPOINT,
    SAMPLE_KINDS,
    Checkpoint,
    ShardFiles,
    only_one,
)
from tracescribe.tracer.evidence_finish import finish
from tracescribe.tracer.evidence_manifest import MANIFEST, SAMPLE, SUMMARY, TOKEN_TEXTS, Manifest, read_manifest
from tracescribe.tracer.evidence_rows import TokenTable, collect, merge_counts, reduce_candidates
from tracescribe.tracer.evidence_sample import SampleChoice
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.parquet_files import Columns, concatenated
from tracescribe.tracer.scan_plan import BuildSettings, ScanPlan, differences, plan_as_json, plan_scan
from tracescribe.tracer.transcoders import TranscoderSet, check_fit
from tracescribe.tracer.window_runs import run_windows

Progress = Callable[[str, int, int, str], object]
"""Called with a stage, what is done of it, its total, and figures in words."""


def build(
    model: LanguageModel,
    transcoders: TranscoderSet,
    corpus: Corpus,
    folder: Path,
    settings: BuildSettings | None = None,
    progress: Progress | None = None,
    stop_after: int | None = None,
) -> Manifest | None:
    """Scan a corpus into a folder, or take up a scan that was cut short there.

    Args:
        model, transcoders: what is scanned with.
        corpus: what is scanned.
        folder: where the evidence goes. A finished scan of the same is left as it is.
        settings: how to scan; the defaults if None.
        progress: called as the work goes.
        stop_after: shards to do in this call; None does all.

    Returns:
        What the scan covers; None if it was stopped by `stop_after`.

    Raises:
        TranscoderMismatchError: the transcoders do not fit the model.
        SettingError: the memory limit is too small for one window.
        EvidenceError: the folder holds another scan, or the corpus cannot be read, changed, or has no documents.
        OutputError: the folder cannot be written to, or another process is writing to it.
    """
    check_fit(model, transcoders)
    scan_plan = plan_scan(model, transcoders, settings or BuildSettings())
    plan = plan_as_json(model, transcoders, corpus, scan_plan)
    if (folder / MANIFEST).is_file():
        return _already_there(folder, plan)
    with only_one(folder / CHECKPOINT):
        checkpoint = Checkpoint.open(folder / CHECKPOINT, plan, scan_plan.keep, transcoders.n_features)
        if not checkpoint.state.shards:
            _remove_results(folder)  # of a scan whose manifest somebody deleted
        scan = _Scan(model, transcoders, corpus, scan_plan, checkpoint, progress or (lambda *_: None))
        try:
            if not scan.run(stop_after):
                return None
        except BaseException:
            if not checkpoint.state.shards:  # nothing to take up again: leave no trace
                checkpoint.remove()
                with suppress(OSError):
                    folder.rmdir()
            raise
        manifest = finish(
            model, transcoders, checkpoint, scan_plan.sample_tokens, scan_plan.n_effects, folder, plan, scan.tell
        )
        checkpoint.remove()
    return manifest


def _already_there(folder: Path, plan: dict[str, Any]) -> Manifest:
    manifest = read_manifest(folder)
    other = differences(manifest.plan, plan)
    if other:
        raise EvidenceError(
            f"{folder} holds a finished scan with another {'; '.join(other)}; start over with --force, or choose another "
            "folder"
        )
    return manifest


class _Scan:
    """The loop over shards."""

    def __init__(
        self,
        model: LanguageModel,
        transcoders: TranscoderSet,
        corpus: Corpus,
        plan: ScanPlan,
        checkpoint: Checkpoint,
        tell: Progress,
    ) -> None:
        self._model, self._transcoders, self._corpus = model, transcoders, corpus
        self._plan, self._checkpoint, self.tell = plan, checkpoint, tell
        done = checkpoint.windows()
        self._sample = SampleChoice(plan.sample_tokens)
        self._sample.choose(done.windows["priority"], np.arange(len(done.windows)), done.windows["length"])

    def run(self, stop_after: int | None) -> bool:
        """Scan what is left; whether the corpus is finished."""
        state = self._checkpoint.state
        if state.finished:
            return True
        reader = WindowReader(self._corpus, self._model.vocabulary, self._plan.rules, state.position, state.digest)
        shard: list[Window] = []
        n_tokens = n_shards = 0
        for window in reader:
            if shard and n_tokens + len(window.ids) > self._plan.shard_tokens:
                self._scan(shard, window, window.digest)
                n_shards += 1
                if n_shards == stop_after:
                    return False
                shard, n_tokens = [], 0
            shard.append(window)
            n_tokens += len(window.ids)
        if not shard:
            raise EvidenceError("the corpus has no sentences; give a text with one document a line")
        self._scan(shard, None, reader.digest)
        return True

    def _scan(self, windows: list[Window], following: Window | None, digest: str) -> None:
        """One shard, from windows to a commit."""
        first = self._checkpoint.state.windows
        table = _token_table(windows, first)
        inputs, next_ids = run_windows(self._model, windows, self._plan.batch_tokens)
        sampled = self._sample.choose(table.priority, table.window, table.length)
        with self._checkpoint.shard() as files:
            for layer in range(self._model.n_layers):
                self._encode_layer(layer, inputs[layer], table, sampled, files)
        self._checkpoint.commit(windows, next_ids, None if following is None else following.position, digest)
        state = self._checkpoint.state
        done = windows[-1].end or state.tokens
        self.tell("scan", done, self._corpus.size or done, f"{state.tokens} tokens")

    def _encode_layer(
        self, layer: int, inputs: Tensor, table: TokenTable, sampled: NDArray[np.bool_], files: ShardFiles
    ) -> None:
        rules, width = self._plan.keep, self._transcoders.n_features[layer]
        candidates: list[Columns] = []
        counts: list[Columns] = []
        sample: list[Columns] = []
        most = self._plan.pending_candidates
        # BatchTopK chooses over a whole prompt: there every window is encoded by itself
        alone = self._transcoders.stored.layers[layer].activation.kind == "batchtopk"
        for span in _spans(table.length, 0 if alone else self._plan.encode_tokens[layer]):
            token, feature, value = self._activations(layer, inputs[span.start : span.stop], table.position[span])
            token = token + span.start
            found, counted = collect(table, token, feature, value, rules)
            candidates.append(found)
            counts.append(counted)
            sample.append(_sampled(table, token, feature, value, sampled))
            if sum(len(part["feature"]) for part in candidates) > most:
                candidates, counts = [reduce_candidates(candidates, rules)], [merge_counts(counts)]
                most = max(self._plan.pending_candidates, 2 * len(candidates[0]["feature"]))
        kept, counted = reduce_candidates(candidates, rules), merge_counts(counts)
        files.write_layer(layer, width, kept, counted, concatenated(sample, SAMPLE_KINDS))

    @torch.no_grad()
    def _activations(
        self, layer: int, resid_mid: Tensor, position: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Token, feature and value of every activation other than zero."""
        transcoders = self._transcoders
        x = resid_mid.to(self._model.device, self._model.compute_dtype)
        read = self._model.architecture.blocks[layer].read(transcoders.reads, x)
        activations = transcoders.encode(layer, read.to(transcoders.device, transcoders.dtype))
        activations[torch.from_numpy(position < self._plan.zero_positions).to(activations.device)] = 0.0
        token, feature = activations.nonzero(as_tuple=True)
        value = activations[token, feature].to("cpu", torch.float32)
        return token.cpu().numpy(), feature.cpu().numpy(), value.numpy()


def _spans(lengths: NDArray[np.int64], most: int) -> list[slice]:
    """Tokens of whole windows, at most `most` at a time; the plan made sure that one window fits."""
    spans: list[slice] = []
    start = stop = 0
    for length in lengths:
        if stop > start and stop + int(length) - start > most:
            spans.append(slice(start, stop))
            start = stop
        stop += int(length)
    return [*spans, slice(start, stop)]


def _token_table(windows: Sequence[Window], first: int) -> TokenTable:
    lengths = np.array([len(window.ids) for window in windows], dtype=np.int64)
    row = np.repeat(np.arange(len(windows)), lengths)
    return TokenTable(
        row=row,
        position=np.arange(len(row)) - (np.cumsum(lengths) - lengths)[row],
        window=first + np.arange(len(windows)),
        length=lengths,
        test=np.array([window.is_test for window in windows], dtype=np.bool_),
        priority=np.array([window.priority for window in windows], dtype=np.uint64),
    )


def _sampled(
    table: TokenTable,
    token: NDArray[np.int64],
    feature: NDArray[np.int64],
    value: NDArray[np.float32],
    sampled: NDArray[np.bool_],
) -> Columns:
    mine = sampled[table.row[token]]
    at = token[mine]
    return {
        "window": table.window[table.row[at]],
        "position": table.position[at].astype(np.uint16),
        "feature": feature[mine].astype(np.int32),
        "value": value[mine],
    }


def remove_scan(folder: Path) -> None:
    """Delete a scan, finished or not; other files in the folder stay.

    Raises:
        OutputError: a file cannot be deleted, or another process is scanning into the folder.
    """
    if not folder.is_dir():
        return
    try:
        with only_one(folder / CHECKPOINT):
            _remove_results(folder)
            shutil.rmtree(folder / CHECKPOINT)
    except OSError as error:
        raise OutputError(f"cannot clear {folder}: {error.strerror or error}; choose another folder") from error


def _remove_results(folder: Path) -> None:
    (folder / MANIFEST).unlink(missing_ok=True)  # first: without it nothing counts as finished
    for path in [folder / SUMMARY, folder / TOKEN_TEXTS, *folder.glob("layer_*.parquet*")]:
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / SAMPLE, ignore_errors=True)
