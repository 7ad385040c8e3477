"""Corpus scans: open one, build one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs import terminal
from tracescribe.runs.loading import load_pair
from tracescribe.runs.workspace import prepare_folder
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.tracer.evidence_store import EvidenceStore
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet


@dataclass(frozen=True)
class ScanSummary:
    """What a scan covers.

    Attributes:
        folder: where it lies.
        sentences, tokens: of the corpus.
        features: of the transcoder set; `live_features` of them fire often enough to be counted.
    """

    folder: str
    sentences: int
    tokens: int
    features: int
    live_features: int


def open_evidence(folder: Path | None) -> EvidenceStore:
    """A saved scan; None opens that of the embedded model.

    Raises:
        EvidenceError: no evidence there, or damaged files.
    """
    from tracescribe.tracer import embedded
    from tracescribe.tracer.evidence_store import EvidenceStore

    return EvidenceStore.load(embedded.evidence_dir() if folder is None else folder.expanduser())


def build_evidence(model: str, transcoders: str, corpus: Path | None, out: Path | None) -> ScanSummary:
    """Scan a corpus with a model and its transcoders, and write the result.

    Args:
        model, transcoders: names or folders.
        corpus: text file with one sentence a line; None takes the embedded model's public corpus.
        out: folder for the evidence; None scans the embedded pair again in its own place.

    Raises:
        InputError: the model or the transcoders cannot be used, or no folder for another model or corpus.
        EvidenceError: the corpus cannot be read, or holds words outside the vocabulary.
        OutputError: the folder cannot be written to; found out before any work.
    """
    from tracescribe.tracer import embedded

    own = (model, transcoders, corpus) == (embedded.MODEL_ID, embedded.MODEL_ID, None)
    if out is None and not own:
        raise InputError("no folder for the evidence; give --out (only the embedded model's own scan has a place)")
    folder = prepare_folder(out or embedded.evidence_dir())
    from tracescribe.tracer.evidence import read_corpus

    sentences = read_corpus(embedded.corpus_path() if corpus is None else corpus.expanduser())
    log = terminal.StepLog()
    with log.step("load"):
        pair = load_pair(model, transcoders)
    with terminal.progress_bars() as bars:
        return scan_to_folder(pair.model, pair.transcoders, sentences, folder, terminal.StageBars(bars))


def scan_to_folder(
    model: LanguageModel,
    transcoders: TranscoderSet,
    sentences: tuple[str, ...],
    folder: Path,
    bars: terminal.StageBars,
) -> ScanSummary:
    """Scan, save, and say what the scan covers."""
    from tracescribe.tracer.evidence import scan

    def progress(stage: str, done: int, total: int) -> None:
        bars(stage, done, total, "")

    store = scan(model, transcoders, sentences, progress=progress)
    store.save(folder)
    live = sum(len(store.live(layer)) for layer in range(len(store.n_features)))
    return ScanSummary(str(folder), store.n_sentences, store.n_tokens, sum(store.n_features), live)
