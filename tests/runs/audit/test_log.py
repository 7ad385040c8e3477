"""Entries are appended in one chain, whoever appends, on both databases."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import get_args

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.runs.audit.acts import ACTS, Act
from tracescribe.runs.audit.chain import chain_sha256, first_previous
from tracescribe.runs.audit.damage import DAMAGE_KINDS, DamageKind
from tracescribe.runs.audit.log import MAX_DETAILS, Entry, append, append_many, details_text
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.audit.sealing import seal
from tracescribe.runs.audit.sources import source_of
from tracescribe.runs.audit.verifying import local_trust, verify_log
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.tables import audit_entries
from tracescribe.tracer.redaction import redacting, redactor_of

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "audit.md"


def test_entries_of_many_threads_make_one_chain(either_store: Store) -> None:
    """No gap, no fork, and the entries of one transaction stay together."""

    def append_some(who: int) -> None:
        for n in range(8):
            entries = [Entry("verdict", f"t{who}.{n}", {"part": part}, f"worker:{who}") for part in range(2)]
            either_store.write(lambda connection, entries=entries: append_many(connection, entries))  # type: ignore[misc]

    threads = [threading.Thread(target=append_some, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seal(either_store)
    found = verify_log(source_of(either_store), local_trust(either_store.store_id))
    assert found.is_whole
    assert found.n_entries == 4 * 8 * 2 + 1
    entries = find_entries(either_store, Wanted(acts=("verdict",)))
    for first, second in zip(entries[::2], entries[1::2], strict=True):
        assert (first.subject, first.sequence + 1) == (second.subject, second.sequence)


def test_a_transaction_that_fails_leaves_no_entry(either_store: Store) -> None:
    def work(connection: sa.Connection) -> None:
        append(connection, act="job done", subject="j")
        raise KeyError("for the test")

    with pytest.raises(KeyError):
        either_store.write(work)
    assert find_entries(either_store, Wanted()) == []


def test_the_chain_is_what_it_is_documented_to_be(store: Store) -> None:
    store.write(lambda connection: append(connection, act="job done", subject="j", details={"b": 1, "a": "é"}))
    (entry,) = find_entries(store, Wanted())
    assert entry.details == '{"a":"é","b":1}'
    assert entry.previous == first_previous(store.store_id)
    fields = (entry.at, entry.actor, entry.act, entry.subject, entry.details, entry.previous)
    assert entry.chain == chain_sha256(0, *fields)
    hashed = json.dumps([0, *fields], ensure_ascii=False, separators=(",", ":")).encode()
    assert entry.chain == hashlib.sha256(hashed).hexdigest()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), _JSON, max_size=5))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_details_are_json_that_any_database_takes(details: dict[str, object]) -> None:
    text = details_text(details)
    text.encode()
    assert "\0" not in text
    assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize("details", [{"text": "x" * 10**6}, {str(n): "y" * 900 for n in range(100)}])
def test_large_details_are_shortened(details: dict[str, str]) -> None:
    text = details_text(details)
    assert len(text) <= MAX_DETAILS
    assert isinstance(json.loads(text), dict)


def test_a_hostile_subject_is_stored_and_verified(either_store: Store) -> None:
    either_store.write(lambda connection: append(connection, act="job done", subject="\0\ud800\x1b[31m" + "z" * 500))
    assert verify_log(source_of(either_store), local_trust(either_store.store_id)).is_whole


def test_what_a_job_calls_personal_is_not_in_the_log(store: Store) -> None:
    with redacting(redactor_of(("email",), {})):
        store.write(
            lambda connection: append(
                connection, act="claim registered", subject="c", details={"s": "to a.b@example.org"}
            )
        )
    details = store.read(lambda connection: connection.execute(sa.select(audit_entries.c.details)).scalar())
    assert details == '{"s":"to [redacted email]"}'


def test_entries_are_found_by_what_they_tell_of(store: Store) -> None:
    for subject in ("job", "job.1", "job.10", "job2", "jobs.1"):
        store.write(lambda connection, subject=subject: append(connection, act="case failed", subject=subject))  # type: ignore[misc]
    found = find_entries(store, Wanted(subjects=("job",), prefix=True))
    assert [entry.subject for entry in found] == ["job", "job.1", "job.10"]
    assert [entry.subject for entry in find_entries(store, Wanted(subjects=("job.1",)))] == ["job.1"]
    assert [entry.subject for entry in find_entries(store, Wanted(limit=2))] == ["job2", "jobs.1"]


def test_every_act_and_every_kind_of_damage_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert set(ACTS) == set(get_args(Act))
    assert set(DAMAGE_KINDS) == set(get_args(DamageKind))
    rows: list[tuple[str, str]] = [*ACTS.items(), *DAMAGE_KINDS.items()]
    assert [name for name, meaning in rows if f"| `{name}` | {meaning} |" not in text] == []


def test_acts_fit_their_column() -> None:
    assert max(map(len, get_args(Act))) <= 40
