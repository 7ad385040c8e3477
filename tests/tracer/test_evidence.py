"""Evidence: agreement with single runs, the split, sampling, the files, and what ships with the embedded model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tracescribe.tracer import embedded
from tracescribe.tracer.clean_run import clean_run
from tracescribe.tracer.edits import FeatureShift, InterventionSettings
from tracescribe.tracer.errors import EvidenceError, SettingError, UnknownIdError
from tracescribe.tracer.evidence import (
    EvidenceStore,
    ScanSettings,
    corpus_sha256,
    in_test_half,
    load_embedded_evidence,
    read_corpus,
    scan,
)
from tracescribe.tracer.feature_evidence import (
    N_CONTEXTS_PER_QUANTILE,
    N_QUANTILES,
    N_TOP_CONTEXTS,
    sample_by_quantile,
)
from tracescribe.tracer.graph import FeatureRef
from tracescribe.tracer.interventions import intervene
from tracescribe.tracer.logit_effects import decoder_norms, logit_effects
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet

N_SENTENCES = 250


@pytest.fixture(scope="module")
def sentences() -> tuple[str, ...]:
    """A part of the public corpus, two sentences twice."""
    part = read_corpus(embedded.corpus_path())[:N_SENTENCES]
    return (*part, part[3], part[7])


@pytest.fixture(scope="module")
def store(
    embedded_model: LanguageModel, embedded_transcoders: TranscoderSet, sentences: tuple[str, ...]
) -> EvidenceStore:
    return scan(embedded_model, embedded_transcoders, sentences, ScanSettings(batch_size=16))


@pytest.fixture(scope="module")
def saved(store: EvidenceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence")
    store.save(folder)
    return folder


@pytest.fixture(scope="module")
def busiest(store: EvidenceStore) -> list[FeatureRef]:
    """The most active features of each layer."""
    return [
        FeatureRef(layer, int(feature))
        for layer in range(len(store.n_features))
        for feature in np.argsort(-store.n_active(layer), kind="stable")[:4]
        if store.n_active(layer)[feature] > 0
    ]


def test_scan_agrees_with_single_runs(
    store: EvidenceStore,
    embedded_model: LanguageModel,
    embedded_transcoders: TranscoderSet,
    sentences: tuple[str, ...],
) -> None:
    for number in range(0, len(sentences), 25):
        clean = clean_run(embedded_model, embedded_transcoders, embedded_model.encode(sentences[number]))
        assert store.sentence_token_ids(number).tolist() == clean.tokens.tolist()
        assert store.sentence_tokens(number)[1:] == tuple(sentences[number].split())
        assert store.next_token(number).tolist() == clean.logits.argmax(-1).tolist()
        for layer in range(embedded_model.n_layers):
            entries = store.sparse(layer)
            mine = entries.sentence == number
            found = np.zeros((clean.n_pos, store.n_features[layer]), dtype=np.float32)
            found[entries.position[mine], entries.feature[mine]] = entries.value[mine]
            assert found == pytest.approx(clean.activations(layer).numpy(), abs=1e-4)


def test_batch_size_changes_nothing(
    store: EvidenceStore, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet, sentences: tuple[str, ...]
) -> None:
    done: list[tuple[str, int, int]] = []
    other = scan(
        embedded_model,
        embedded_transcoders,
        sentences[:60],
        ScanSettings(batch_size=64),
        lambda stage, n, total: done.append((stage, n, total)),
    )
    assert done[-1] == ("scan", 60, 60) and [n for _, n, _ in done] == sorted(n for _, n, _ in done)
    for layer in range(len(store.n_features)):
        mine, theirs = store.sparse(layer), other.sparse(layer)
        part = mine.sentence < 60
        assert np.array_equal(mine.sentence[part], theirs.sentence)
        assert np.array_equal(mine.feature[part], theirs.feature)
        assert mine.value[part] == pytest.approx(theirs.value, abs=1e-4)


def test_nothing_fires_on_bos(store: EvidenceStore) -> None:
    for layer in range(len(store.n_features)):
        assert (store.sparse(layer).position >= 1).all() and (store.sparse(layer).value > 0).all()
    assert int((~store.token_counts).sum()) == store.n_sentences


def test_densities_count_tokens(store: EvidenceStore, busiest: list[FeatureRef]) -> None:
    assert len(busiest) >= 8
    for ref in busiest:
        dense = store.dense(ref)
        assert store.density(ref) == pytest.approx((dense > 0).sum() / store.token_counts.sum())
        assert store.n_active(ref.layer)[ref.feature] == (dense > 0).sum()
    for layer in range(len(store.n_features)):
        assert np.array_equal(store.live(layer, 3), np.flatnonzero(store.n_active(layer) >= 3))
        assert set(store.live(layer)) <= set(store.live(layer, 1))


def test_no_sentence_lies_in_both_halves(store: EvidenceStore, sentences: tuple[str, ...]) -> None:
    assert store.is_test[3] == store.is_test[N_SENTENCES] and store.is_test[7] == store.is_test[N_SENTENCES + 1]
    labelling = {s for s, test in zip(sentences, store.is_test, strict=True) if not test}
    testing = {s for s, test in zip(sentences, store.is_test, strict=True) if test}
    assert not labelling & testing and len(labelling) > 80 and len(testing) > 80


def test_the_split_is_a_hash_of_the_words() -> None:
    texts = [f"word{i} is word{i % 7}" for i in range(4000)]
    quarter = ScanSettings(test_share=0.25)
    share = np.mean([in_test_half(text, quarter) for text in texts])
    assert share == pytest.approx(0.25, abs=0.03)
    assert all(in_test_half(f"  {t.replace(' ', '   ')} ", quarter) == in_test_half(t, quarter) for t in texts[:50])
    salted = ScanSettings(split_salt="other")
    assert any(in_test_half(t, salted) != in_test_half(t, ScanSettings()) for t in texts[:50])


def test_feature_evidence_tells_the_truth(store: EvidenceStore, busiest: list[FeatureRef]) -> None:
    for ref in busiest:
        found = store.feature(ref)
        dense = store.dense(ref)
        assert (found.layer, found.feature, found.ref) == (ref.layer, ref.feature, ref)
        assert found.max_activation == dense.max() and found.n_active == (dense > 0).sum()
        numbers = [int(context.context_id[1:]) for context in found.contexts]
        assert len(numbers) == len(set(numbers)) > 0
        for number, context in zip(numbers, found.contexts, strict=True):
            assert not store.is_test[number], "contexts for labelling come from the labelling half"
            assert context.is_active and context.tokens == store.sentence_tokens(number)
            assert context.activations == tuple(dense[store.span(number)])
            assert len(context.next_tokens) == len(context.tokens)
            assert context.activations[context.peak] == max(context.activations)
        peaks = [max(context.activations) for context in found.contexts]
        assert peaks == sorted(peaks, reverse=True)
        strongest = dense[~store.token_in_test].max()
        assert peaks[0] == strongest and found.contexts[0].quantile == "top"
    assert store.feature(busiest[0]) == store.feature(busiest[0])


def test_a_feature_that_never_fires_has_no_contexts(store: EvidenceStore) -> None:
    layer = next(n for n in range(len(store.n_features)) if (store.n_active(n) == 0).any())
    dead = FeatureRef(layer, int(np.flatnonzero(store.n_active(layer) == 0)[0]))
    found = store.feature(dead)
    assert (found.density, found.n_active, found.max_activation, found.contexts) == (0.0, 0, 0.0, ())
    assert len(found.promoted) == 10
    assert all(not c.is_active for c in store.test_contexts(dead, 5, 5, np.random.default_rng(0)))


def test_test_contexts_come_from_the_test_half(store: EvidenceStore, busiest: list[FeatureRef]) -> None:
    for ref in busiest:
        drawn = store.test_contexts(ref, 6, 9, np.random.default_rng(0))
        assert drawn == store.test_contexts(ref, 6, 9, np.random.default_rng(0))
        numbers = [int(context.context_id[1:]) for context in drawn]
        assert len(set(numbers)) == len(numbers) and store.is_test[numbers].all()
        active = [context.is_active for context in drawn]
        dense = store.dense(ref)
        fires = {n for n in np.flatnonzero(store.is_test) if dense[store.span(int(n))].any()}
        assert active == [True] * min(6, len(fires)) + [False] * 9
        assert {n for n, a in zip(numbers, active, strict=True) if a} <= fires
    other = store.test_contexts(busiest[0], 6, 9, np.random.default_rng(1))
    assert other != store.test_contexts(busiest[0], 6, 9, np.random.default_rng(0))


def test_sampling_takes_the_top_and_every_band() -> None:
    strengths = np.linspace(10, 1, 400).astype(np.float32)
    chosen = sample_by_quantile(np.arange(400), strengths)
    assert [s for s, _ in chosen[:N_TOP_CONTEXTS]] == list(range(N_TOP_CONTEXTS))
    assert len(chosen) == N_TOP_CONTEXTS + N_QUANTILES * N_CONTEXTS_PER_QUANTILE
    names = [name for _, name in chosen]
    assert names == ["top"] * 12 + ["q75-100"] * 4 + ["q50-75"] * 4 + ["q25-50"] * 4 + ["q0-25"] * 4
    assert chosen[-1][0] == 399 and [s for s, _ in chosen] == sorted(s for s, _ in chosen)
    for n in range(30):
        few = [s for s, _ in sample_by_quantile(np.arange(n), strengths[:n])]
        assert few == sorted(set(few)) and len(few) >= min(n, N_TOP_CONTEXTS + 1)
    tied = sample_by_quantile(np.array([5, 3, 9]), np.ones(3, dtype=np.float32))
    assert [s for s, _ in tied] == [3, 5, 9]


def test_logit_effects_agree_with_an_intervention(
    embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    """In a layer with nothing above it, the direct effect is exact up to the final norm's denominator."""
    model, transcoders = embedded_model, embedded_transcoders
    layer = model.n_layers - 1
    effects = logit_effects(model, transcoders, layer, torch.tensor([0, 1]))
    clean = clean_run(model, transcoders, model.encode("the capital of the state containing Dallas is"))
    denominator = clean.denominators[model.architecture.final_norm.module][-1]
    row = [FeatureShift(layer, clean.n_pos - 1, 1, 3.0)]
    found = intervene(model, transcoders, clean.tokens, [row], InterventionSettings(mode="direct"), clean=clean)
    moved = found.logits[0, -1] - clean.logits[-1]
    expected = 3.0 * effects[1] / denominator
    assert moved - moved.mean() == pytest.approx(expected, abs=1e-4 * float(expected.abs().max()) + 1e-5)


def test_logit_effects_count_every_layer_written_to(
    embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    rows = embedded_transcoders.decoder_rows(0, torch.tensor([7]))[0]
    unembed = embedded_model.architecture.unembedding * embedded_model.architecture.final_norm.gain
    by_layer = torch.stack([unembed @ vector - (unembed @ vector).mean() for vector in rows])
    assert len(rows) == embedded_model.n_layers > 1
    found = logit_effects(embedded_model, embedded_transcoders, 0, torch.tensor([7]))[0]
    assert torch.allclose(found, by_layer.sum(0), atol=1e-5)


def test_promoted_tokens_are_the_largest_effects(
    store: EvidenceStore, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    effects = logit_effects(embedded_model, embedded_transcoders, 1, torch.tensor([4]))[0]
    found = store.feature(FeatureRef(1, 4))
    up, down = effects.topk(10), effects.topk(10, largest=False)
    assert [t.effect for t in found.promoted] == pytest.approx(up.values.tolist(), abs=1e-5)
    assert [t.effect for t in found.suppressed] == pytest.approx(down.values.tolist(), abs=1e-5)
    assert all(t.token == embedded_model.token_text(t.token_id) for t in (*found.promoted, *found.suppressed))
    assert float(effects.mean()) == pytest.approx(0.0, abs=1e-5)


def test_decoder_norms(embedded_transcoders: TranscoderSet) -> None:
    norms = decoder_norms(embedded_transcoders, 1)
    rows = embedded_transcoders.decoder_rows(1, torch.tensor([3, 0]))
    assert norms[[3, 0]] == pytest.approx([float(r.pow(2).sum().sqrt()) for r in rows], rel=1e-5)
    assert norms.shape == (embedded_transcoders.n_features[1],)


def test_a_saved_store_is_the_same_store(store: EvidenceStore, saved: Path, busiest: list[FeatureRef]) -> None:
    again = EvidenceStore.load(saved)
    assert again.origin == store.origin and again.corpus == store.corpus
    assert sorted(p.name for p in saved.iterdir()) == ["activations.safetensors", "index.json"]
    for ref in busiest:
        assert again.feature(ref) == store.feature(ref)
        assert np.array_equal(again.dense(ref), store.dense(ref))
    assert np.array_equal(again.is_test, store.is_test)


def test_saving_twice_gives_the_same_bytes(store: EvidenceStore, saved: Path, tmp_path: Path) -> None:
    store.save(tmp_path)
    for file in saved.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_evidence_of_other_weights_is_refused(
    saved: Path, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    EvidenceStore.load(saved, model=embedded_model, transcoders=embedded_transcoders)
    other_model = dataclasses.replace(embedded_model, weights_sha256="f" * 64)
    other_set = dataclasses.replace(embedded_transcoders, sha256="e" * 64)
    with pytest.raises(EvidenceError, match=r"other weights \(model [0-9a-f]{12}, expected ffffffffffff\); scan again"):
        EvidenceStore.load(saved, model=other_model, transcoders=embedded_transcoders)
    with pytest.raises(EvidenceError, match=r"model .*; transcoders [0-9a-f]{12}, expected eeeeeeeeeeee"):
        EvidenceStore.load(saved, model=other_model, transcoders=other_set)


def _truncate(folder: Path) -> None:
    path = folder / "activations.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _drop_index(folder: Path) -> None:
    (folder / "index.json").unlink()


def _drop_tensors(folder: Path) -> None:
    (folder / "activations.safetensors").unlink()


def _cut_index(folder: Path) -> None:
    path = folder / "index.json"
    path.write_text(path.read_text()[:500])


def _edit_index(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


def _edit_tensors(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "activations.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    _edit_index(folder, lambda index: index.update(tensors_sha256=digest))


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (_drop_index, r"no evidence in .* \(no index.json\); scan with: tracescribe evidence build"),
    (_drop_tensors, "cannot read .*activations.safetensors: No such file"),
    (_truncate, "truncated, damaged or of another scan; scan again"),
    (_cut_index, "index.json is damaged at document"),
    (lambda f: _edit_index(f, lambda i: i.update(format_version=9)), "damaged at format_version"),
    (lambda f: _edit_index(f, lambda i: i.pop("sentences")), "damaged at sentences: Field required"),
    (lambda f: _edit_index(f, lambda i: i.update(extra=1)), "damaged at extra"),
    (lambda f: _edit_index(f, lambda i: i.update(token_texts={})), "lacks the text of"),
    (lambda f: _edit_index(f, lambda i: i["sentences"].pop()), "lengths has shape .*expected"),
    (lambda f: _edit_tensors(f, lambda t: t.pop("value_0")), "value_0 has shape nothing, expected"),
    (lambda f: _edit_tensors(f, lambda t: t["value_0"].fill(np.nan)), "value_0 holds numbers that are not finite"),
    (lambda f: _edit_tensors(f, lambda t: t["feature_0"].fill(np.iinfo(t["feature_0"].dtype).max)), "feature_0 holds"),
    (lambda f: _edit_tensors(f, lambda t: t.update(token_0=t["token_0"][::-1].copy())), "token_0 is not sorted"),
    (lambda f: _edit_tensors(f, lambda t: t.update(is_test=t["is_test"] + 2)), "is_test holds"),
    (lambda f: _edit_tensors(f, lambda t: t.pop("promoted_1")), "promoted_1 has shape"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damaged_evidence_is_refused(saved: Path, tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damage(tmp_path)
    with pytest.raises(EvidenceError, match=message):
        EvidenceStore.load(tmp_path)


def test_bad_corpora_are_refused(
    embedded_model: LanguageModel, embedded_transcoders: TranscoderSet, tmp_path: Path
) -> None:
    with pytest.raises(EvidenceError, match="no sentences"):
        scan(embedded_model, embedded_transcoders, [])
    with pytest.raises(EvidenceError, match="corpus sentence 2: .*xylophonist"):
        scan(embedded_model, embedded_transcoders, ["the capital of Texas is Austin .", "a xylophonist"])
    with pytest.raises(EvidenceError, match=r"cannot read the corpus .*missing.txt"):
        read_corpus(tmp_path / "missing.txt")
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(EvidenceError, match="give a UTF-8 text"):
        read_corpus(tmp_path / "latin.txt")
    (tmp_path / "gaps.txt").write_text("one two\n\n  three \n")
    assert read_corpus(tmp_path / "gaps.txt") == ("one two", "three")


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"n_effects": 0}, {"zero_positions": -1}, {"test_share": 1.5}])
def test_bad_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="scan settings"):
        ScanSettings(**options)


def test_unknown_ids_are_refused(store: EvidenceStore) -> None:
    with pytest.raises(UnknownIdError, match="no layer 99: the evidence has layers 0 to"):
        store.feature(FeatureRef(99, 0))
    with pytest.raises(UnknownIdError, match="no feature 0/99999: layer 0 has features 0 to"):
        store.density(FeatureRef(0, 99999))
    with pytest.raises(UnknownIdError, match="no sentence s-1: the corpus has s0 to s251"):
        store.sentence_tokens(-1)


def test_shipped_evidence_belongs_to_the_shipped_weights(
    embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    started = time.process_time()
    shipped = load_embedded_evidence(embedded_model, embedded_transcoders)
    refs = [FeatureRef(layer, int(f)) for layer in range(embedded_model.n_layers) for f in shipped.live(layer)]
    shipped.feature(refs[0])
    loaded = time.process_time()
    for ref in refs[::10]:
        shipped.feature(ref)
    per_feature = (time.process_time() - loaded) / len(refs[::10])
    assert loaded - started < 1.0 and per_feature < 0.02, "several times the usual: a slow machine still passes"
    sentences = read_corpus(embedded.corpus_path())
    assert shipped.corpus == sentences and shipped.origin.corpus_sha256 == corpus_sha256(sentences)
    assert 0.45 < shipped.is_test.mean() < 0.55
    assert len(refs) > 200
    size = sum(file.stat().st_size for file in embedded.evidence_dir().iterdir())
    assert size <= 3 * 2**20
    sample = list(range(0, len(sentences), 400))
    again = scan(embedded_model, embedded_transcoders, [sentences[i] for i in sample])
    for row, number in enumerate(sample):
        assert again.next_token(row).tolist() == shipped.next_token(number).tolist()


def test_shipped_evidence_of_another_corpus_is_refused(
    embedded_model: LanguageModel,
    embedded_transcoders: TranscoderSet,
    saved: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "evidence_dir", lambda: saved)
    with pytest.raises(EvidenceError, match="scanned from a corpus with hash"):
        load_embedded_evidence(embedded_model, embedded_transcoders)
