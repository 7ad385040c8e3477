"""Scans of any size: agreement with a full scan, kills and resumption, memory, merging, damaged files."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tracer.scanning import CONTEXT, SHAPE, in_child, words
from tests.tracer.tiny_pair import make_pair
from tracescribe.tracer.clean_run import clean_run
from tracescribe.tracer.corpus import FileCorpus
from tracescribe.tracer.corpus_windows import Window, WindowReader, WindowRules, lead_ids
from tracescribe.tracer.errors import EvidenceError, OutputError, SettingError, UnknownIdError
from tracescribe.tracer.evidence import ScanSettings, scan
from tracescribe.tracer.evidence_checkpoint import CHECKPOINT, FAN_IN, only_one
from tracescribe.tracer.evidence_manifest import MANIFEST
from tracescribe.tracer.evidence_scan import build, remove_scan
from tracescribe.tracer.evidence_store import EvidenceStore
from tracescribe.tracer.feature_files import FeatureFiles
from tracescribe.tracer.graph import FeatureRef
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.scan_plan import FIXED_BYTES, BuildSettings, plan_scan
from tracescribe.tracer.transcoders import TranscoderSet
from tracescribe.tracer.window_runs import run_windows

SMALL = BuildSettings(context_size=CONTEXT, max_memory=4 << 20, batch_tokens=256, sample_tokens=400, shard_tokens=128)
"""Many small shards, so that runs are merged and there is much to kill."""
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
KILLS = 5
ROOT = Path(__file__).parents[2]
Pair = tuple[LanguageModel, TranscoderSet]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), SHAPE)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> FileCorpus:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n\n".join(words(160)) + "\n", encoding="utf-8")
    return FileCorpus(path)


@pytest.fixture(scope="module")
def undisturbed(pair: Pair, corpus: FileCorpus, tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("undisturbed") / "scan"
    build(*pair, corpus, folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def files(undisturbed: Path) -> FeatureFiles:
    return FeatureFiles.load(undisturbed)


@pytest.fixture(scope="module")
def windows(pair: Pair, corpus: FileCorpus) -> list[Window]:
    """Every window of the corpus."""
    rules = WindowRules(CONTEXT, lead_ids(pair[0].vocabulary), 0.5, "tracescribe-evidence-1")
    return list(WindowReader(corpus, pair[0].vocabulary, rules))


@pytest.fixture(scope="module")
def full(pair: Pair, windows: list[Window]) -> EvidenceStore:
    """The same windows with every activation: another implementation of the scan."""
    texts = [" ".join(pair[0].token_text(int(i)) for i in window.ids[1:]) for window in windows]
    return scan(*pair, texts, ScanSettings(batch_size=16))


def every_file(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def all_refs(store: FeatureFiles | EvidenceStore) -> list[FeatureRef]:
    return [FeatureRef(layer, f) for layer, width in enumerate(store.n_features) for f in range(width)]


def test_counts_and_extremes_agree_with_a_full_scan(files: FeatureFiles, full: EvidenceStore) -> None:
    assert files.manifest.n_windows == full.n_sentences
    assert files.manifest.n_tokens == full.n_tokens
    assert files.manifest.n_counted_tokens == int(full.token_counts.sum())
    assert files.manifest.n_documents == 160
    for layer in range(len(files.n_features)):
        assert np.array_equal(files.n_active(layer), full.n_active(layer))
        assert np.array_equal(files.live(layer), full.live(layer))
        assert files.densities(layer) == pytest.approx(full.densities(layer))
    for ref in all_refs(files):
        mine, theirs = files.feature(ref), full.feature(ref)
        assert mine.max_activation == pytest.approx(theirs.max_activation, abs=1e-5)
        assert [e.token for e in mine.promoted] == [e.token for e in theirs.promoted]
        assert [e.token_id for e in mine.suppressed] == [e.token_id for e in theirs.suppressed]
        counted = files.activation_counts(ref)
        assert int(counted.tokens.sum()) == theirs.n_active


def test_the_strongest_contexts_are_exact_and_others_are_windows_of_the_corpus(
    files: FeatureFiles, full: EvidenceStore, windows: list[Window]
) -> None:
    n_shown = 0
    for ref in all_refs(files):
        dense = full.dense(ref)
        found = files.feature(ref).contexts
        strengths = [max(context.activations) for context in found]
        assert strengths == sorted(strengths, reverse=True)
        assert len({context.tokens for context in found}) == len(found), "the same window is shown once"
        peaks: dict[tuple[str, ...], float] = {}
        for number in [i for i, window in enumerate(windows) if not window.is_test]:
            value = float(dense[full.span(int(number))].max())
            if value > 0:
                peaks[full.sentence_tokens(int(number))] = value
        expected = sorted(peaks.values(), reverse=True)[:12]
        assert strengths[:12] == pytest.approx(expected, abs=1e-5)
        for context in found:
            number = int(context.context_id[1:])
            assert context.tokens == full.sentence_tokens(number)
            assert context.activations == pytest.approx(dense[full.span(number)], abs=1e-5)
            assert len(context.next_tokens) == len(context.tokens)
        n_shown += len(found)
    assert n_shown > 200


def test_halves_are_of_whole_documents(files: FeatureFiles, windows: list[Window]) -> None:
    half: dict[int, set[bool]] = {}
    for window in windows:
        half.setdefault(window.position.document, set()).add(window.is_test)
    assert all(len(found) == 1 for found in half.values())
    assert windows[0].is_test in half[80] and 40 < sum(found == {True} for found in half.values()) < 120
    n_test = 0
    for ref in all_refs(files):
        labelling = {c.tokens for c in files.feature(ref).contexts}
        drawn = files.test_contexts(ref, 1000, 5, np.random.default_rng(1))
        assert drawn == files.test_contexts(ref, 1000, 5, np.random.default_rng(1))
        for context in drawn:
            if context.is_active:
                n_test += 1
                assert windows[int(context.context_id[1:])].is_test and context.tokens not in labelling
    assert n_test > 100


def test_negatives_are_silent(files: FeatureFiles, full: EvidenceStore) -> None:
    for ref in all_refs(files)[::5]:
        drawn = files.test_contexts(ref, 0, 6, np.random.default_rng(2))
        assert all(not context.is_active for context in drawn)
        texts = {full.sentence_tokens(i): i for i in range(full.n_sentences)}
        for context in drawn:
            assert not full.dense(ref)[full.span(texts[context.tokens])].any()


def test_windows_are_the_document_in_pieces(pair: Pair, corpus: FileCorpus) -> None:
    model: LanguageModel = pair[0]
    rules = WindowRules(CONTEXT, lead_ids(model.vocabulary), 0.5, "salt")
    joined: dict[int, list[int]] = {}
    for window in WindowReader(corpus, model.vocabulary, rules):
        assert window.ids[0] == 0 and 1 < len(window.ids) <= CONTEXT
        joined.setdefault(window.position.document, []).extend(int(i) for i in window.ids[1:])
    unlimited = dataclasses.replace(model.vocabulary, max_positions=10_000)
    for document in corpus.documents():
        assert joined[document.number] == unlimited.encode(document.text).tolist()[1:]


def test_windows_are_resumed_anywhere(pair: Pair, corpus: FileCorpus) -> None:
    model: LanguageModel = pair[0]
    rules = WindowRules(CONTEXT, lead_ids(model.vocabulary), 0.5, "salt")
    every = list(WindowReader(corpus, model.vocabulary, rules))
    for start in (1, 17, len(every) - 1):
        again = list(WindowReader(corpus, model.vocabulary, rules, every[start].position, every[start].digest))
        assert [w.position for w in again] == [w.position for w in every[start:]]
        assert all(np.array_equal(a.ids, b.ids) for a, b in zip(again, every[start:], strict=True))
        with pytest.raises(EvidenceError, match="the corpus changed since the scan began"):
            list(WindowReader(corpus, model.vocabulary, rules, every[start].position, "0" * 64))


def test_activations_agree_with_a_single_run(files: FeatureFiles, pair: Pair) -> None:
    model, transcoders = pair
    sample = files.sample
    for number in range(0, sample.n_sentences, 9):
        clean = clean_run(model, transcoders, model.encode(sample.corpus[number]))
        assert sample.sentence_token_ids(number).tolist() == clean.tokens.tolist()
        assert sample.next_token(number).tolist() == clean.logits.argmax(-1).tolist()
        for layer in range(model.n_layers):
            entries = sample.sparse(layer)
            mine = entries.sentence == number
            found = np.zeros((clean.n_pos, sample.n_features[layer]), dtype=np.float32)
            found[entries.position[mine], entries.feature[mine]] = entries.value[mine]
            assert found == pytest.approx(clean.activations(layer).numpy(), abs=1e-4)


def test_the_sample_is_bounded_and_random(files: FeatureFiles) -> None:
    sample = files.sample
    assert 300 < sample.n_tokens <= 400
    assert sample.n_sentences == files.manifest.n_sample_windows < files.manifest.n_windows
    assert 0 < sample.is_test.sum() < sample.n_sentences


def test_killed_at_any_moment_and_resumed_gives_the_same_bytes(
    pair: Pair, corpus: FileCorpus, undisturbed: Path, tmp_path: Path
) -> None:
    """A real process, killed with SIGKILL at drawn moments of its work; every next one takes up what is there."""
    draw = random.Random(7)
    folder = tmp_path / "scan"
    expected = every_file(undisturbed)
    assert not any(name.startswith(CHECKPOINT) for name in expected)
    moments = [b"s" * draw.randrange(1, 5) for _ in range(KILLS)] + [b"f", b"ff", b"never"]
    killed = 0
    for moment in moments:
        child, reader = in_child(lambda tell: build(*pair, corpus, folder, SMALL, lambda stage, *_: tell(stage)))
        told = b""
        while moment not in told and (read := os.read(reader, 1)):
            told += read
        if moment in told:
            time.sleep(draw.random() * 0.02)
            os.kill(child, signal.SIGKILL)
        os.close(reader)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            assert (folder / CHECKPOINT).is_dir() or (folder / MANIFEST).exists()
        else:
            assert os.WEXITSTATUS(status) == 0
    assert killed >= KILLS
    assert every_file(folder) == expected


def test_stopped_after_every_shard_gives_the_same_bytes(
    pair: Pair, corpus: FileCorpus, undisturbed: Path, tmp_path: Path
) -> None:
    calls = 1
    while build(*pair, corpus, tmp_path / "scan", SMALL, stop_after=1) is None:
        calls += 1
        for rubbish in ("candidates-9-9.parquet", "state.json.part", ".state.json.x1"):
            (tmp_path / "scan" / CHECKPOINT / rubbish).write_bytes(b"half-written")
        with (tmp_path / "scan" / CHECKPOINT / "tokens.bin").open("ab") as handle:
            handle.write(b"tokens of a shard that was never finished")
    assert calls > FAN_IN + 1, "runs are merged on the way"
    assert every_file(tmp_path / "scan") == every_file(undisturbed)


def test_done_shards_are_not_done_again(
    pair: Pair, corpus: FileCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracescribe.tracer import evidence_scan

    seen: list[int] = []

    def counted(model: Any, windows: Any, batch_tokens: int) -> Any:
        seen.append(len(windows))
        return run_windows(model, windows, batch_tokens)

    monkeypatch.setattr(evidence_scan, "run_windows", counted)
    assert build(*pair, corpus, tmp_path / "scan", SMALL, stop_after=3) is None
    manifest = build(*pair, corpus, tmp_path / "scan", SMALL)
    assert manifest is not None and sum(seen) == manifest.n_windows
    build(*pair, corpus, tmp_path / "scan", SMALL)
    assert sum(seen) == manifest.n_windows, "a finished scan is left as it is"


def test_memory_stays_within_the_limit_on_ten_times_the_corpus(tmp_path: Path) -> None:
    limit, no_limit = 4 << 20, 1 << 30
    growth = growth_of_scans("by-corpus", tmp_path, limit, no_limit)
    once, ten_times = growth[limit]
    assert ten_times < once + 3 * limit, growth
    assert ten_times < 8 * limit, growth
    assert growth[no_limit][1] > 8 * limit, "the limit is what held the first one"


def test_a_scan_takes_the_limit_and_a_fixed_amount_at_most(tmp_path: Path) -> None:
    """The embedded model, from before the first import of the Parquet library; with more allowed it takes more."""
    low, high = 64 << 20, 1 << 30
    growth = growth_of_scans("by-limit", tmp_path, low, high)
    assert growth[low] < low + FIXED_BYTES < growth[high] < high + FIXED_BYTES, growth


def growth_of_scans(by: str, folder: Path, *limits: int) -> dict[int, Any]:
    """Measured in a new process: a fork of this one would hold what the tests before it left in memory."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.tracer.scan_growth", by, str(folder / "scans"), *map(str, limits)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {int(limit): growth for limit, growth in json.loads(done.stdout).items()}


def test_another_plan_is_refused(pair: Pair, corpus: FileCorpus, undisturbed: Path, tmp_path: Path) -> None:
    model, transcoders = pair
    folder = tmp_path / "scan"
    assert build(model, transcoders, corpus, folder, SMALL, stop_after=1) is None
    other = dataclasses.replace(model, weights_sha256="f" * 64)
    with pytest.raises(
        EvidenceError, match=r"unfinished scan with another model sha256 \(found [0-9a-f]+, expected ffff"
    ):
        build(other, transcoders, corpus, folder, SMALL)
    with pytest.raises(
        EvidenceError, match=r"another settings rules context size \(found 12, expected 11\); start over"
    ):
        build(model, transcoders, corpus, folder, dataclasses.replace(SMALL, context_size=11))
    changed = tmp_path / "changed.txt"
    changed.write_text(corpus.path.read_text() + "w3\n")
    with pytest.raises(EvidenceError, match="another corpus bytes"):
        build(model, transcoders, FileCorpus(changed), folder, SMALL)
    with pytest.raises(EvidenceError, match="finished scan with another model sha256"):
        build(other, transcoders, corpus, undisturbed, SMALL)
    remove_scan(folder)
    (folder / "layer_000.parquet").write_bytes(b"of a scan whose manifest is gone")
    (folder / "mine.txt").write_text("stays")
    changed_build = build(model, transcoders, FileCorpus(changed), folder, SMALL)
    assert changed_build is not None and (folder / "mine.txt").read_text() == "stays"


def test_two_scans_into_one_folder_are_refused(pair: Pair, corpus: FileCorpus, tmp_path: Path) -> None:
    with only_one(tmp_path / "scan" / CHECKPOINT), pytest.raises(OutputError, match="another process is scanning"):
        build(*pair, corpus, tmp_path / "scan", SMALL)


def test_what_cannot_fit_is_told_before_any_work(pair: Pair) -> None:
    with pytest.raises(SettingError, match=r"a window of 12 tokens needs \d+ bytes of memory, found a limit of 1000"):
        plan_scan(*pair, BuildSettings(context_size=12, max_memory=1000))
    with pytest.raises(SettingError, match="context size 64 is more than model model reads"):
        plan_scan(*pair, BuildSettings(context_size=64))
    with pytest.raises(SettingError, match="scan settings: batch_tokens 0 below 1; n_effects 0 below 1"):
        BuildSettings(batch_tokens=0, n_effects=0)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _garble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(bytes(content))


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / MANIFEST).unlink(), "no evidence in"),
    (lambda f: (f / MANIFEST).write_text("{}"), "damaged at"),
    (lambda f: (f / "layer_001.parquet").unlink(), "layer_001.parquet has 0 bytes, expected"),
    (lambda f: _cut(f / "layer_000.parquet"), r"layer_000.parquet has \d+ bytes, expected"),
    (lambda f: _garble(f / "layer_000.parquet"), "layer_000.parquet"),
    (lambda f: _garble(f / "summary.parquet"), "summary.parquet"),
    (lambda f: _garble(f / "tokens.parquet"), "tokens.parquet"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damaged_scans_are_refused(
    undisturbed: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    for name, content in every_file(undisturbed).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    damage(tmp_path)
    with pytest.raises(EvidenceError, match=message):
        opened = FeatureFiles.load(tmp_path)
        for ref in all_refs(opened):
            opened.feature(ref)
            opened.test_contexts(ref, 1, 1, np.random.default_rng(0))


def test_unknown_features_are_refused(files: FeatureFiles) -> None:
    with pytest.raises(UnknownIdError, match="no layer 9: the evidence has layers 0 to 2"):
        files.feature(FeatureRef(9, 0))
    with pytest.raises(UnknownIdError, match="no feature 0/99999: layer 0 has features 0 to 23"):
        files.density(FeatureRef(0, 99999))


def test_evidence_of_other_weights_is_refused(files: FeatureFiles, pair: Pair) -> None:
    model, transcoders = pair
    files.check(model, transcoders)
    with pytest.raises(EvidenceError, match=r"other weights \(model [0-9a-f]{12}, expected ffffffffffff\)"):
        files.check(dataclasses.replace(model, weights_sha256="f" * 64), transcoders)
