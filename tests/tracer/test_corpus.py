"""Corpora: text files, JSON lines and data sets, and what is wrong with some."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tracer.tiny_pair import TinyShape, make_pair
from tracescribe.tracer.corpus import open_corpus
from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.evidence_scan import build
from tracescribe.tracer.scan_plan import BuildSettings

SMALL = BuildSettings(context_size=12, max_memory=4 << 20, sample_tokens=400, shard_tokens=128)


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": " one ", "n": 1}\n\n{"text": ""}\n{"text": "two\\nlines"}\n')
    assert [d.text for d in open_corpus(path).documents()] == ["one", "two\nlines"]
    assert [d.number for d in open_corpus(path).documents()] == [0, 1]
    other = tmp_path / "corpus.txt"
    other.write_text('{"body": "one"}\n')
    assert [d.text for d in open_corpus(other, field="body").documents()] == ["one"]
    assert [d.text for d in open_corpus(other).documents()] == ['{"body": "one"}']


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "one"}\nnonsense\n', "line 2 is not JSON"),
        (b"[1]\n", "line 1 is list, expected an object with the field 'text'"),
        (b'{"body": "one"}\n', "line 1 has no field 'text' .it has 'body'.; name another with --field"),
        (b'{"text": 3}\n', "field 'text' is int, expected text"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b'{"text": "\xff"}', "line 1 is not UTF-8 .byte 10."),
    ],
)
def test_bad_json_lines_are_told_with_their_number(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(content)
    with pytest.raises(EvidenceError, match=message):
        list(open_corpus(path).documents())


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracescribe.tracer.corpus.MAX_LINE_BYTES", 100)
    path = tmp_path / "corpus.txt"
    path.write_text("short\n" + "long " * 100)
    with pytest.raises(EvidenceError, match="line 2 is longer than 100 bytes"):
        list(open_corpus(path).documents())
    with pytest.raises(EvidenceError, match="cannot read the corpus .*nowhere: No such file .*with --split"):
        list(open_corpus(tmp_path / "nowhere").documents())


class _Datasets:
    """Stands in for the `datasets` library, which the tests do not need to be installed."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def load_dataset(self, name: str, config: str | None, *, split: str, streaming: bool) -> Iterator[Any]:
        assert streaming
        if name == "gone":
            raise ConnectionError("cannot reach the hub\nmore")
        yield from self.rows


def test_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair(tmp_path, TinyShape(jump=True))
    rows = [{"text": " ".join(f"w{3 + (n * k) % 37}" for k in range(1, 25))} for n in range(60)]
    monkeypatch.setitem(sys.modules, "datasets", _Datasets(rows))
    corpus = open_corpus("some/set", split="train")
    assert [d.text for d in corpus.documents()] == [row["text"] for row in rows]
    assert build(*pair, corpus, tmp_path / "scan", SMALL, stop_after=2) is None
    monkeypatch.setitem(sys.modules, "datasets", _Datasets(rows[1:]))
    with pytest.raises(
        EvidenceError, match=r"the corpus changed since the scan began: its first \d+ documents have hash"
    ):
        build(*pair, corpus, tmp_path / "scan", SMALL)
    monkeypatch.setitem(sys.modules, "datasets", _Datasets(rows[:2]))
    with pytest.raises(
        EvidenceError, match=r"the corpus changed since the scan began: it has no document \d+ any more"
    ):
        build(*pair, corpus, tmp_path / "scan", SMALL)
    monkeypatch.setitem(sys.modules, "datasets", _Datasets(rows))
    manifest = build(*pair, corpus, tmp_path / "scan", SMALL)
    assert manifest is not None and manifest.n_documents == 60
    with pytest.raises(EvidenceError, match="no field 'body'"):
        list(open_corpus("some/set", split="train", field="body").documents())
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(EvidenceError, match=r"not installed; install it with: pip install 'tracescribe\[datasets\]'"):
        list(corpus.documents())


def test_a_data_set_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", _Datasets([]))
    with pytest.raises(
        EvidenceError, match=r"cannot read data set 'gone', split 'train': .*ConnectionError: cannot reach"
    ):
        list(open_corpus("gone", split="train").documents())
