"""Who may open what, that every opening is logged, and that what is not in the table is refused."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import cast, get_args

import pytest

from tests.runs.access.conftest import REPORT
from tracescribe.runs.access.errors import AccessDeniedError
from tracescribe.runs.access.reading import log_export, open_report, require, require_logged
from tracescribe.runs.access.roles import ALLOWED, PERMISSIONS, Permission, Principal, Role, local_principal
from tracescribe.runs.audit.log import local_actor
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.store.artefacts import Artefacts
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.errors import ArtefactDamagedError, StoreReadOnlyError
from tracescribe.tracer.errors import UnknownIdError

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "access.md"


def someone(role: str) -> Principal:
    """A person with a token."""
    return Principal("token:ada", cast("Role", role), "t1")


def log(store: Store) -> list[tuple[str, str, str]]:
    """Actor, act and subject of each entry."""
    return [(entry.actor, entry.act, entry.subject) for entry in find_entries(store, Wanted())]


@pytest.mark.parametrize("role", ["reviewer", "admin"])
def test_who_may_opens_a_report_and_is_logged(store: Store, role: str) -> None:
    assert open_report(store, someone(role), "c1") == REPORT
    assert log(store) == [("token:ada", "report opened", "c1")]
    (entry,) = find_entries(store, Wanted())
    assert json.loads(entry.details)["name"] == "report.json"


def test_the_person_at_the_machine_is_logged_too(store: Store) -> None:
    assert open_report(store, None, "c1") == REPORT
    assert log(store) == [(local_actor(), "report opened", "c1")]


@pytest.mark.parametrize("role", ["viewer", "nobody", ""])
@pytest.mark.parametrize("case_id", ["c1", "no such case"])
def test_who_may_not_is_refused_and_logged_without_learning_what_there_is(
    store: Store, role: str, case_id: str
) -> None:
    with pytest.raises(AccessDeniedError, match="which does not include 'open reports'"):
        open_report(store, someone(role), case_id)
    assert log(store) == [("token:ada", "report refused", case_id)]


def test_aggregates_are_a_viewers_and_evidence_is_not(store: Store) -> None:
    assert open_report(store, someone("viewer"), "c1", "scores.json") == b'{"score": 1}'
    with pytest.raises(AccessDeniedError, match="see evidence"):
        open_report(store, someone("viewer"), "c1", "evidence.json")


def test_what_is_not_there_is_told_to_who_may_know(store: Store) -> None:
    with pytest.raises(UnknownIdError, match="has no 'graph.json'"):
        open_report(store, someone("reviewer"), "c1", "graph.json")
    assert log(store) == []


def test_nothing_is_opened_that_cannot_be_logged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreReadOnlyError("for the test")

    monkeypatch.setattr("tracescribe.runs.access.reading.append", refuse)
    with pytest.raises(StoreReadOnlyError):
        open_report(store, someone("reviewer"), "c1")


def test_a_damaged_report_is_not_handed_out(store: Store, tmp_path: Path) -> None:
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == REPORT]
    path.chmod(0o644)
    path.write_bytes(REPORT.replace(b"1", b"2"))
    with pytest.raises(ArtefactDamagedError):
        open_report(store, someone("reviewer"), "c1")
    assert isinstance(store.artefacts, Artefacts)


def test_each_report_that_is_exported_is_logged(store: Store) -> None:
    log_export(store, someone("admin"), "j", ["c1", "c2"], form="reports", to="somewhere")
    assert [entry[1:] for entry in log(store)] == [("export", "j"), ("report opened", "c1"), ("report opened", "c2")]


def test_only_admins_export_and_summaries_name_cases_too(store: Store) -> None:
    log_export(store, someone("admin"), "j", [], form="parquet")
    for role, reports in (("viewer", []), ("reviewer", []), ("reviewer", ["c1"])):
        with pytest.raises(AccessDeniedError):
            log_export(store, someone(role), "j", reports, form="summary")
    assert [entry[1:] for entry in log(store)] == [("export", "j"), *[("access refused", "j")] * 3]


def test_what_the_table_does_not_have_is_refused(store: Store) -> None:
    for role, permission in product((*get_args(Role), "owner", ""), (*get_args(Permission), "everything", "")):
        allowed = permission in ALLOWED.get(cast("Role", role), frozenset())
        if allowed:
            require(someone(role), cast("Permission", permission))
        else:
            with pytest.raises(AccessDeniedError):
                require_logged(store, someone(role), cast("Permission", permission), "s")
    assert local_principal().may("manage tokens")


def test_each_role_may_what_the_one_below_may() -> None:
    assert ALLOWED["viewer"] < ALLOWED["reviewer"] < ALLOWED["admin"] == set(get_args(Permission))


def test_the_table_is_documented_as_it_is() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert set(PERMISSIONS) == set(get_args(Permission))
    rows = [
        f"| `{permission}` | {meaning} | " + " | ".join("yes" if permission in ALLOWED[r] else "no" for r in ALLOWED)
        for permission, meaning in PERMISSIONS.items()
    ]
    assert [row for row in rows if row + " |" not in text] == []
    assert text.count("\n| `") == len(rows)
