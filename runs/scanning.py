"""Corpus scans: open one, build one, write what is known of a feature for others' viewers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs import terminal
from tracescribe.runs.loading import Pair, load_pair
from tracescribe.runs.workspace import prepare_folder
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.tracer.evidence_source import FeatureEvidenceSource
    from tracescribe.tracer.graph import FeatureRef
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet


@dataclass(frozen=True)
class ScanRequest:
    """What to scan, with what, and where to.

    Attributes:
        model, transcoders: names or folders.
        corpus: a text or JSON-lines file, or with `split` the name of a data set; None takes the embedded model's
            public corpus.
        out: folder for the evidence; None scans the embedded pair again in its own place.
        field: text field of JSON lines or of the data set.
        split, config: of the data set.
        context_size: most tokens in a window.
        max_memory: such as `2GB`; what the scan may take beside the weights.
        dtype, device: of the model.
        force: whether a scan that lies in the folder, finished or not, is thrown away.
    """

    model: str
    transcoders: str
    corpus: str | None = None
    out: Path | None = None
    field: str | None = None
    split: str | None = None
    config: str | None = None
    context_size: int | None = None
    max_memory: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    force: bool = False


@dataclass(frozen=True)
class ScanSummary:
    """What a scan covers.

    Attributes:
        folder: where it lies.
        sentences: documents of the corpus.
        windows: pieces that they were cut into.
        tokens: of the corpus.
        features: of the transcoder set; `live_features` of them fire often enough to be counted.
    """

    folder: str
    sentences: int
    windows: int
    tokens: int
    features: int
    live_features: int


def open_evidence(folder: Path | None) -> FeatureEvidenceSource:
    """A saved scan or others' feature files; None opens the scan of the embedded model.

    Raises:
        EvidenceError: no evidence there, or damaged files.
    """
    from tracescribe.tracer import embedded, evidence_source

    return evidence_source.open_evidence(embedded.evidence_dir() if folder is None else folder.expanduser())


def build_evidence(request: ScanRequest) -> ScanSummary:
    """Scan a corpus with a model and its transcoders, or take up a scan that was cut short.

    Raises:
        InputError: the model, the transcoders or a setting cannot be used, or no folder for another model or corpus.
        EvidenceError: the corpus cannot be read or changed, or the folder holds another scan.
        OutputError: the folder cannot be written to; found out before any work.
    """
    from tracescribe.tracer import embedded

    own = (request.model, request.transcoders, request.corpus) == (embedded.MODEL_ID, embedded.MODEL_ID, None)
    if request.out is None and not own:
        raise InputError("no folder for the evidence; give --out (only the embedded model's own scan has a place)")
    if request.out is None:
        return _rebuild_embedded(prepare_folder(embedded.evidence_dir()))
    return _build_in_folder(request, prepare_folder(request.out))


def _rebuild_embedded(folder: Path) -> ScanSummary:
    from tracescribe.tracer import embedded
    from tracescribe.tracer.evidence import read_corpus

    sentences = read_corpus(embedded.corpus_path())
    pair = _loaded(ScanRequest(embedded.MODEL_ID, embedded.MODEL_ID))
    with terminal.progress_bars() as bars:
        return scan_to_folder(pair.model, pair.transcoders, sentences, folder, terminal.StageBars(bars))


def _build_in_folder(request: ScanRequest, folder: Path) -> ScanSummary:
    from tracescribe.tracer import embedded
    from tracescribe.tracer.corpus import open_corpus
    from tracescribe.tracer.evidence_scan import build, remove_scan
    from tracescribe.tracer.memory import parse_size
    from tracescribe.tracer.scan_plan import DEFAULT_MAX_MEMORY, BuildSettings

    named = str(embedded.corpus_path()) if request.corpus is None else request.corpus
    corpus = open_corpus(
        named if request.split is not None else Path(named).expanduser(),
        field=request.field,
        split=request.split,
        config=request.config,
    )
    next(corpus.documents(), None)  # a corpus that cannot be read is told before a model is loaded
    settings = BuildSettings(
        context_size=request.context_size,
        max_memory=DEFAULT_MAX_MEMORY if request.max_memory is None else parse_size(request.max_memory),
    )
    pair = _loaded(request)
    if request.force:
        remove_scan(folder)
    with terminal.progress_bars() as bars:
        manifest = build(pair.model, pair.transcoders, corpus, folder, settings, terminal.StageBars(bars))
    assert manifest is not None, "no limit of shards was given"
    return ScanSummary(
        folder=str(folder),
        sentences=manifest.n_documents,
        windows=manifest.n_windows,
        tokens=manifest.n_tokens,
        features=sum(manifest.n_features),
        live_features=manifest.live_features,
    )


def _loaded(request: ScanRequest) -> Pair:
    with terminal.StepLog().step("load"):
        return load_pair(request.model, request.transcoders, dtype=request.dtype, device=request.device)


def scan_to_folder(
    model: LanguageModel,
    transcoders: TranscoderSet,
    sentences: tuple[str, ...],
    folder: Path,
    bars: terminal.StageBars,
) -> ScanSummary:
    """Scan a small corpus with every activation kept, save, and say what the scan covers."""
    from tracescribe.tracer.evidence import scan

    def progress(stage: str, done: int, total: int) -> None:
        bars(stage, done, total, "")

    store = scan(model, transcoders, sentences, progress=progress)
    store.save(folder)
    live = sum(len(store.live(layer)) for layer in range(len(store.n_features)))
    n_sentences = store.n_sentences
    return ScanSummary(str(folder), n_sentences, n_sentences, store.n_tokens, sum(store.n_features), live)


def export_features(folder: Path | None, refs: list[FeatureRef] | None, out: Path, transcoder_id: str | None) -> int:
    """Write features as circuit-tracer's feature files.

    Args:
        folder: the evidence; None takes the embedded model's.
        refs: the features; None takes all that are live.
        out: folder for the files.
        transcoder_id: what the files call the transcoders; None takes the evidence's name for them.

    Returns:
        How many files were written.

    Raises:
        EvidenceError: no evidence there, or damaged files.
        UnknownIdError: no such feature.
        OutputError: the folder cannot be written to.
    """
    from tracescribe.tracer.circuit_tracer_export import write_features

    source = open_evidence(folder)
    target = prepare_folder(out)
    with terminal.progress_bars() as bars:
        return write_features(source, refs, target, transcoder_id, terminal.StageBars(bars))
