"""Output places are proved writable before any work, named without trusting a prompt, and left as they were found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracescribe.runs.workspace import (
    MAX_PROMPT_FILE_BYTES,
    default_report_folder,
    prepare_file,
    prepare_folder,
    read_prompt,
    slug,
)
from tracescribe.tracer.errors import InputError, OutputError


def test_a_folder_is_proved_writable_and_nothing_is_left(tmp_path: Path) -> None:
    assert prepare_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("", encoding="utf-8")
    prepare_folder(tmp_path / "a" / "b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    for folder in ("taken", "taken/report", "taken/report/deeper"):
        with pytest.raises(OutputError, match=rf"cannot write to .*{folder}: .*; choose another folder with --out"):
            prepare_folder(tmp_path / folder)
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_cannot_be_written_is_told_and_nothing_is_left() -> None:
    with pytest.raises(OutputError, match="cannot write to /proc/tracescribe"):
        prepare_folder(Path("/proc/tracescribe"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder; give the name of a file"):
        prepare_file(tmp_path)


def test_preparing_a_file_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    path.write_text("old", encoding="utf-8")
    assert prepare_file(path) == path
    assert path.read_text(encoding="utf-8") == "old"


@given(st.text(max_size=200))
def test_a_slug_is_one_harmless_path_component(text: str) -> None:
    name = slug(text)
    assert name
    assert len(name) <= 60
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert default_report_folder(text).parent.name == "reports"


def test_slugs_keep_prompts_apart_that_read_alike() -> None:
    assert slug("a b") != slug("a, b")


def test_a_prompt_comes_from_exactly_one_place(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("the opposite of hot is\n", encoding="utf-8")
    assert read_prompt(None, file) == "the opposite of hot is"
    assert read_prompt("hot", None) == "hot"
    for prompt, path in (("hot", file), (None, None)):
        with pytest.raises(InputError, match="either with --prompt or with --prompt-file"):
            read_prompt(prompt, path)


def test_a_prompt_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read prompt file .*absent.txt: No such file"):
        read_prompt(None, tmp_path / "absent.txt")
    binary = tmp_path / "binary"
    binary.write_bytes(b"hot \xff")
    with pytest.raises(InputError, match=r"is not UTF-8 text \(byte 4\)"):
        read_prompt(None, binary)
    huge = tmp_path / "huge"
    huge.write_bytes(b"a" * (MAX_PROMPT_FILE_BYTES + 1))
    with pytest.raises(InputError, match="give a file with one prompt"):
        read_prompt(None, huge)
