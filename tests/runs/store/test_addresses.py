"""Addresses: read from what people write, and never shown with a password."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracescribe.runs.store.addresses import parse_address, without_password
from tracescribe.runs.store.errors import StoreAddressError


def test_a_folder_is_a_database_in_it(tmp_path: Path) -> None:
    address = parse_address(str(tmp_path))
    assert address.database_file == tmp_path / "store.db"
    assert address.scratch == tmp_path / "scratch"
    assert pickle.loads(pickle.dumps(address)) == address


def test_a_relative_place_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACESCRIBE_STORE", raising=False)
    assert parse_address("here").database_file == tmp_path / "here" / "store.db"
    assert parse_address("sqlite:///x.db").database_file == tmp_path / "x.db"
    assert parse_address(None).database_file == tmp_path / "tracescribe-workspace" / "store" / "store.db"
    assert parse_address("here", artefacts="there").artefacts == str(tmp_path / "there")
    assert parse_address("here", artefacts="memory://there").artefacts == "memory://there"


def test_the_environment_speaks_where_nobody_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACESCRIBE_STORE", str(tmp_path / "env"))
    assert parse_address(None).database_file == tmp_path / "env" / "store.db"
    assert parse_address(str(tmp_path / "option")).database_file == tmp_path / "option" / "store.db"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_is_spoken_to_by_one_driver(scheme: str) -> None:
    address = parse_address(f"{scheme}://me:hunter2@db.example:5433/jobs?sslmode=require")
    assert address.url == "postgresql+psycopg://me:hunter2@db.example:5433/jobs?sslmode=require"
    assert address.database_file is None
    assert address.shown == "postgresql+psycopg://me:***@db.example:5433/jobs?sslmode=require"
    assert "hunter2" not in repr(address) + str(address)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("mysql://u:hunter2@h/d", r"cannot be at 'mysql://u:\*\*\*@h/d'"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("postgresql://u:hunter2@host", "names no database"),
        ("postgresql://u:hunter2@host:port/d", "cannot be read"),
        ("postgresql://u:hunter2@[::1/d", "cannot be read"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_its_password(
    text: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreAddressError, match=told) as caught:
        parse_address(text)
    assert "hunter2" not in str(caught.value)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.touch()
    with pytest.raises(StoreAddressError, match="is a file; give its folder"):
        parse_address(str(file))


@given(
    st.text("abcXYZ09-_.~", min_size=1, max_size=12),
    st.text("abcXYZ09-_.~!$*+,;=%:", min_size=8, max_size=20).map(lambda word: f"pw{word}"),
)
def test_no_password_is_ever_shown(user: str, password: str) -> None:
    for url in (f"postgresql://{user}:{password}@h/d", f"postgresql://{user}@h/d?password={password.replace(';', '')}"):
        assert password not in without_password(url)
