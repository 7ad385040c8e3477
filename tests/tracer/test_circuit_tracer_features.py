"""Feature files in circuit-tracer's format: both layouts read, written and read again, hostile ones refused."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracescribe.tracer import embedded
from tracescribe.tracer.circuit_tracer_documents import parse_document
from tracescribe.tracer.circuit_tracer_export import QUANTILES, feature_document, write_features
from tracescribe.tracer.circuit_tracer_features import CircuitTracerFeatures, cantor_inverse
from tracescribe.tracer.errors import EvidenceError, UnknownIdError
from tracescribe.tracer.evidence_rows import bin_edges, bins
from tracescribe.tracer.evidence_source import open_evidence
from tracescribe.tracer.evidence_store import EvidenceStore
from tracescribe.tracer.feature_files import ActivationCounts
from tracescribe.tracer.graph import FeatureRef
from tracescribe.tracer.graph_json import cantor_number

LAYERS = 2
WIDTH = 3


def document(layer: int, feature: int) -> dict[str, Any]:
    """A document as others publish it, with fields that this product does not know."""
    examples = [
        {
            "tokens": ["<bos>", f"word{layer}{feature}", f"n{n}"],
            "tokens_acts_list": [0.0, float(n + 1), 0.0],
            "train_token_ind": 1,
            "is_repeated_datapoint": False,
            "ha_resampled": None,
        }
        for n in range(12)
    ]
    return {
        "transcoder_id": "some-set",
        "index": feature,
        "examples_quantiles": [
            {"quantile_name": "Top", "examples": examples[8:]},
            {"quantile_name": "Subsample Interval 0", "examples": [*examples[:8], examples[0]]},
        ],
        "top_logits": [" a", " b"],
        "bottom_logits": [" c"],
        "act_min": 0.0,
        "act_max": 12.5,
        "quantile_values": [0, 1],
        "histogram": [1, 2],
        "activation_frequency": 0.125,
    }


def write_single(folder: Path) -> None:
    (folder / "features").mkdir(parents=True)
    for layer in range(LAYERS):
        for feature in range(WIDTH):
            path = folder / "features" / f"{cantor_number(layer, feature)}.json"
            path.write_text(json.dumps(document(layer, feature)))


def write_packed(folder: Path, *, as_dict: bool = False) -> None:
    """The packed layout; the middle feature of layer 0 has no record."""
    (folder / "features").mkdir(parents=True)
    index: dict[str, Any] = {"version": "1.0", "format": "variable_chunks"} if as_dict else {}
    for layer in range(LAYERS):
        content, offsets = b"", [0]
        for feature in range(WIDTH):
            if (layer, feature) != (0, 1):
                text = json.dumps(document(layer, feature)).encode()
                packed = gzip.compress(text) if feature else zlib.compress(text)
                content += struct.pack("<I", len(packed)) + packed
            offsets.append(len(content))
        (folder / "features" / f"layer_{layer}.bin").write_bytes(content)
        index[str(layer)] = {"filename": f"layer_{layer}.bin", "offsets": offsets}
    told = index if as_dict else list(index.values())
    (folder / "features" / "index.json.gz").write_bytes(gzip.compress(json.dumps(told).encode()))


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "single": write_single,
    "packed list": write_packed,
    "packed by number": lambda folder: write_packed(folder, as_dict=True),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_evidence(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    source = open_evidence(tmp_path)
    assert isinstance(source, CircuitTracerFeatures)
    ref = FeatureRef(1, 2)
    found = source.feature(ref)
    assert (found.ref, found.density, found.max_activation) == (ref, 0.125, 12.5)
    assert [effect.token for effect in found.promoted] == [" a", " b"]
    assert [effect.token for effect in found.suppressed] == [" c"]
    strengths = [max(context.activations) for context in found.contexts]
    assert strengths == sorted(strengths, reverse=True)
    test = source.test_contexts(ref, 100, 100, np.random.default_rng(0))
    assert {context.tokens for context in test}.isdisjoint(context.tokens for context in found.contexts)
    assert len(test) + len(found.contexts) == 12, "the example that stands there twice counts once"
    assert all(len(context.next_tokens) == len(context.tokens) == 3 for context in (*test, *found.contexts))
    assert {context.quantile for context in found.contexts} <= {"Top", "Subsample Interval 0"}
    assert source.density(ref) == 0.125
    assert source.live(0).tolist() == ([0, 1, 2] if layout == "single" else [0, 2])
    everything = CircuitTracerFeatures(tmp_path / "features", test_share=0.0).feature(ref)
    assert len(everything.contexts) == 12


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ref", [FeatureRef(0, 3), FeatureRef(2, 0), FeatureRef(0, -1), FeatureRef(-1, 2)])
def test_features_that_are_not_there(layout: str, ref: FeatureRef, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    with pytest.raises(UnknownIdError, match="in the feature files|has features 0 to 2"):
        open_evidence(tmp_path).feature(ref)
    with pytest.raises(UnknownIdError, match="no layer 7"):
        open_evidence(tmp_path).live(7)


def test_a_published_end_offset_may_count_one_byte_more(tmp_path: Path) -> None:
    write_packed(tmp_path)
    path = tmp_path / "features" / "layer_1.bin"
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    index = json.loads(gzip.decompress((tmp_path / "features" / "index.json.gz").read_bytes()))
    index[1]["offsets"][-1] += 1
    (tmp_path / "features" / "index.json.gz").write_bytes(gzip.compress(json.dumps(index).encode()))
    assert open_evidence(tmp_path).feature(FeatureRef(1, 2)).max_activation == 12.5


HOSTILE: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"nonsense", "not JSON"),
    (b"[1, 2]", "damaged at document"),
    (b"[" * 200_000, "not JSON"),
    (b'{"examples_quantiles": 3}', "damaged at examples_quantiles"),
    (b'{"examples_quantiles": [{"quantile_name": "x", "examples": [{"tokens": ["a"]}]}]}', "tokens_acts_list"),
    (
        b'{"examples_quantiles": [{"quantile_name": "x", "examples": [{"tokens": ["a"], "tokens_acts_list": [1, 2]}]}]}',
        "1 tokens with 2 activations",
    ),
    (
        b'{"examples_quantiles": [{"quantile_name": "x", "examples": [{"tokens": [], "tokens_acts_list": []}]}]}',
        "0 tokens",
    ),
    (
        b'{"examples_quantiles": [{"quantile_name": "x", "examples": [{"tokens": ["a"], "tokens_acts_list": [NaN]}]}]}',
        "finite",
    ),
    (b'{"act_max": Infinity}', "damaged at act_max"),
    (b'{"activation_frequency": -1}', "damaged at activation_frequency"),
    (b'{"top_logits": [1]}', "damaged at top_logits"),
    (b"\xff\xfe\x00", "not JSON"),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE)
def test_hostile_documents_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "0.json").write_bytes(content)
    with pytest.raises(EvidenceError, match=message):
        open_evidence(tmp_path).feature(FeatureRef(0, 0))
    write_packed(tmp_path / "packed")
    packed = zlib.compress(content)
    path = tmp_path / "packed" / "features" / "layer_0.bin"
    path.write_bytes(struct.pack("<I", len(packed)) + packed + bytes(10_000))
    with pytest.raises(EvidenceError, match=message):
        open_evidence(tmp_path / "packed").feature(FeatureRef(0, 0))


def _record(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "features" / "layer_0.bin").write_bytes(content + bytes(10_000))


def _index(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "features" / "index.json.gz"
        told = json.loads(gzip.decompress(path.read_bytes()))
        change(told)
        path.write_bytes(gzip.compress(json.dumps(told).encode()))

    return edit


def _bomb() -> bytes:
    """A gibibyte of zeros in a mebibyte."""
    machine = zlib.compressobj(9)
    block = bytes(1 << 20)
    packed = b"".join(machine.compress(block) for _ in range(128)) + machine.flush()
    return struct.pack("<I", len(packed)) + packed


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (_record(b"\xff\xff\xff\xff"), "length 4294967295 in"),
    (_record(b"\x04\x00\x00\x00abcd"), "cannot be decompressed"),
    (_record(struct.pack("<I", 9) + zlib.compress(b"x" * 1000)[:9]), "is cut short"),
    (lambda f: (f / "features" / "layer_0.bin").unlink(), "cannot read .*layer_0.bin"),
    (lambda f: (f / "features" / "layer_0.bin").write_bytes(b"ab"), "length -1 in 2 bytes"),
    (lambda f: (f / "features" / "index.json.gz").write_bytes(b"no gzip"), "cannot be decompressed"),
    (lambda f: (f / "features" / "index.json.gz").write_bytes(gzip.compress(b"3")), "holds int, expected layers"),
    (_index(lambda i: i[0].update(filename="../secret.bin")), "outside the folder"),
    (_index(lambda i: i[0].update(filename="/etc/passwd")), "outside the folder"),
    (_index(lambda i: i[0].update(filename="..")), "outside the folder"),
    (_index(lambda i: i[0].update(filename=3)), "damaged at filename"),
    (_index(lambda i: i[0].update(offsets=[])), "damaged at offsets"),
    (_index(lambda i: i[0].update(offsets=["0", "9"])), "damaged at offsets"),
    (_index(lambda i: i[0].update(offsets=[50, 10, 20])), "offsets 50 to 10"),
    (_index(lambda i: i[0].update(offsets=[-5, 10, 20])), "offsets -5 to 10"),
    (_index(lambda i: i[0].update(offsets=[0, 1 << 60, 1 << 61])), "no place for a record"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damaged_packed_files_are_refused(damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    write_packed(tmp_path)
    damage(tmp_path)
    with pytest.raises(EvidenceError, match=message):
        open_evidence(tmp_path).feature(FeatureRef(0, 0))


def test_bombs_are_refused(tmp_path: Path) -> None:
    write_packed(tmp_path)
    bomb = _bomb()
    (tmp_path / "features" / "layer_0.bin").write_bytes(bomb)
    _index(lambda i: i[0].update(offsets=[0, len(bomb)]))(tmp_path)
    with pytest.raises(EvidenceError, match="decompresses to more than 67108864 bytes"):
        open_evidence(tmp_path).feature(FeatureRef(0, 0))


def test_mutated_documents_are_evidence_or_an_error() -> None:
    """Bytes flipped, cut and doubled at random: nothing but a document or a typed error may come out."""
    rng = np.random.default_rng(0)
    whole = json.dumps(document(1, 2)).encode()
    n_read = 0
    for _ in range(1500):
        content = bytearray(whole)
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.integers(len(content)))
            kind = int(rng.integers(3))
            if kind == 0:
                content[at] = int(rng.integers(256))
            elif kind == 1:
                del content[at : at + int(rng.integers(1, 40))]
            else:
                content[at:at] = content[at : at + int(rng.integers(1, 40))]
        try:
            parse_document(bytes(content), "mutant")
            n_read += 1
        except EvidenceError:
            pass
    assert 0 < n_read < 1500


def test_what_is_exported_is_read_again(tmp_path: Path) -> None:
    store = EvidenceStore.load(embedded.evidence_dir())
    refs = [FeatureRef(layer, int(store.live(layer)[n])) for layer in range(len(store.n_features)) for n in (0, 1)]
    told: list[int] = []
    n_files = write_features(store, refs, tmp_path, "my-set", lambda stage, done, total, text: told.append(done))
    assert n_files == len(refs) == told[-1]
    source = CircuitTracerFeatures(tmp_path, test_share=0.0)
    for ref in refs:
        mine, read = store.feature(ref), source.feature(ref)
        assert {c.tokens: c.activations for c in read.contexts} == {c.tokens: c.activations for c in mine.contexts}
        assert (read.density, read.max_activation) == (mine.density, mine.max_activation)
        assert [e.token for e in read.promoted] == [e.token for e in mine.promoted]
        raw = json.loads((tmp_path / "features" / f"{cantor_number(ref.layer, ref.feature)}.json").read_text())
        assert raw["transcoder_id"] == "my-set" and raw["index"] == ref.feature
        assert sum(raw["histogram"]) == mine.n_active
        values = store.dense(ref)
        values = values[values > 0]
        for share, told_value in zip(QUANTILES, raw["quantile_values"], strict=True):
            low, high = bin_edges(
                int(bins(np.array([np.quantile(values, share, method="inverted_cdf")], dtype=np.float32))[0])
            )
            assert low <= told_value <= high, "right to within a bin"
        for quantile in raw["examples_quantiles"]:
            for example in quantile["examples"]:
                assert example["tokens_acts_list"][example["train_token_ind"]] == max(example["tokens_acts_list"])
    with pytest.raises(EvidenceError, match="feature files already"):
        write_features(source, refs, tmp_path)


def test_a_dead_feature_has_a_document_too() -> None:
    store = EvidenceStore.load(embedded.evidence_dir())
    layer = next(n for n in range(len(store.n_features)) if (store.n_active(n) == 0).any())
    dead = store.feature(FeatureRef(layer, int(np.flatnonzero(store.n_active(layer) == 0)[0])))
    nothing = np.zeros(0, dtype=np.int64)
    told = feature_document(dead, ActivationCounts(nothing, nothing), "set")
    assert told["histogram"] == [] and told["quantile_values"] == [0.0] * len(QUANTILES)
    assert parse_document(json.dumps(told).encode(), "dead").examples_quantiles == []


def test_cantor_numbers_are_taken_apart() -> None:
    for number in [*range(500), 10**18 + 7]:
        ref = cantor_inverse(number)
        assert cantor_number(ref.layer, ref.feature) == number and min(ref) >= 0


def test_a_folder_without_evidence_is_told(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="no evidence in .*; scan with: tracescribe evidence build"):
        open_evidence(tmp_path)
