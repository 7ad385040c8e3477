"""Hashes, canonical JSON and atomic writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracescribe.tracer.errors import OutputError
from tracescribe.tracer.fingerprints import sha256_folder
from tracescribe.tracer.provenance import (
    canonical_json,
    sha256_files,
    sha256_json,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)


def test_a_hash_of_files_follows_names_and_contents_alone(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_bytes(b"1")
        (tmp_path / folder / "y").write_bytes(b"2")
    first = sha256_files([tmp_path / "a" / "x", tmp_path / "a" / "y"])
    assert first == sha256_files([tmp_path / "b" / "y", tmp_path / "b" / "x"])
    (tmp_path / "b" / "x").write_bytes(b"12")
    (tmp_path / "b" / "y").write_bytes(b"")
    assert first != sha256_files([tmp_path / "b" / "x", tmp_path / "b" / "y"])


def test_a_folder_hash_is_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tracescribe.tracer import fingerprints

    calls: list[object] = []

    def counted(paths: tuple[Path, ...]) -> str:
        calls.append(paths)
        return sha256_files(paths)

    monkeypatch.setattr(fingerprints, "sha256_files", counted)
    (tmp_path / "w.safetensors").write_bytes(b"1")
    (tmp_path / "ignored.txt").write_bytes(b"1")
    first = sha256_folder(tmp_path, ["*.safetensors"])
    (tmp_path / "ignored.txt").write_bytes(b"2")
    assert sha256_folder(tmp_path, ["*.safetensors"]) == first and len(calls) == 1
    (tmp_path / "w.safetensors").write_bytes(b"1234")
    assert sha256_folder(tmp_path, ["*.safetensors"]) != first and len(calls) == 2


def test_canonical_json_ignores_the_order_of_keys() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'
    assert sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1}) != sha256_json({"a": 2, "b": 2})
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))


def test_writes_make_folders_and_leave_no_temporary_file(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "new" / "a.txt", "é")
    write_json_atomic(tmp_path / "new" / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "new" / "a.txt").read_bytes() == "é".encode()
    assert (tmp_path / "new" / "a.json").read_text(encoding="utf-8") == '{\n "b": 1,\n "a": "é"\n}\n'
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["a.json", "a.txt"]


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept"
    write_bytes_atomic(path, b"old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutputError, match="cannot write .*kept: No space left on device; choose a folder"):
        write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["kept"]


def test_a_file_in_the_way_of_a_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes_atomic(tmp_path / "file" / "x", b"")
