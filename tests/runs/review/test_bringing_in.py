"""Reports from elsewhere become results like all others: once, whole, and with everything that holds for results."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.runs.conftest import Done
from tests.runs.review.conftest import ROSA, Doing, Folder
from tracescribe.runs.access import open_report
from tracescribe.runs.review import acts, indexing
from tracescribe.runs.review.bringing_in import bring_in, bring_in_folder
from tracescribe.runs.review.errors import BroughtInError
from tracescribe.runs.review.indexing import catch_up
from tracescribe.runs.review.listing import ReportQuery, find_reports, report_row
from tracescribe.runs.review.loading import load_review
from tracescribe.runs.review.stored import artefacts_of_case, graph_of_case, report_of_case
from tracescribe.runs.store.collecting import collect
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.retention import set_rule
from tracescribe.runs.store.tables import artefact_uses, audit_entries, cases, reports
from tracescribe.runs.store.verifying import verify
from tracescribe.tracer.errors import UnknownIdError


def test_a_folder_becomes_a_done_case(store: Store, folder: Folder, tmp_path: Path) -> None:
    written = tmp_path / "a \x1b[31m folder"
    written.mkdir()
    (written / "report.json").write_bytes(folder.report_bytes)
    (written / "graph.json").write_bytes(folder.graph_bytes)
    case_id = bring_in_folder(store, written, "local:me")
    assert bring_in_folder(store, written / "report.json") == case_id
    assert bring_in(store, folder.report_bytes, None, "again") == case_id
    stored = report_of_case(store, case_id)
    assert stored.report == folder.report
    graph = graph_of_case(store, case_id)
    assert graph is not None
    assert graph.prompt == folder.report.prompt
    assert open_report(store, ROSA, case_id, "graph.json") == folder.graph_bytes
    found = find_reports(store, ReportQuery()).reports
    assert [(one.case_id, one.prompt, one.kept) for one in found] == [(case_id, folder.report.prompt, True)]
    assert found[0].job_name == f"brought in: {folder.report.report_id}", (
        "folders are called by prompts: viewers see jobs"
    )
    entry = store.read(
        lambda connection: connection.execute(
            sa.select(audit_entries).where(audit_entries.c.act == "report brought in")
        ).one()
    )
    assert (entry.actor, entry.subject) == ("local:me", case_id)
    assert verify(store).faults == []
    assert verify(store).artefacts == 2


def test_a_graph_that_comes_later_is_put_beside_its_report(store: Store, folder: Folder) -> None:
    case_id = bring_in(store, folder.report_bytes, None, "alone")
    assert graph_of_case(store, case_id) is None
    assert bring_in(store, folder.report_bytes, gzip.compress(folder.graph_bytes), "with its graph") == case_id
    assert open_report(store, ROSA, case_id, "graph.json") == folder.graph_bytes
    assert find_reports(store, ReportQuery()).total == 1


def test_a_graph_that_is_kept_gzipped_is_not_stored_again(store: Store, folder: Folder) -> None:
    case_id = bring_in(store, folder.report_bytes, folder.graph_bytes, "first")
    named = sa.update(artefact_uses).where(artefact_uses.c.name == "graph.json").values(name="graph.json.gz")
    store.write(lambda connection: connection.execute(named).rowcount)
    assert bring_in(store, folder.report_bytes, folder.graph_bytes, "again") == case_id
    assert sorted(artefacts_of_case(store, case_id)) == ["graph.json.gz", "report.json"]


def another_prompt(content: bytes) -> bytes:
    document = json.loads(content)
    document["metadata"]["prompt"] = "another prompt"
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("report", "other_graph", "told"),
    [
        (lambda _: b"", None, "not JSON"),
        (lambda _: b"\xff\xfe", None, "not UTF-8"),
        (lambda _: b"{}", None, "not a circuit report"),
        (lambda _: b'{"a": 1, "a": 2}', None, "twice"),
        (lambda content: content.replace(b'"tested": false', b'"tested": true'), None, "breaks its contract"),
        (None, lambda _: b"{}", "graph cannot be brought in"),
        (None, lambda _: b"no graph", "graph cannot be brought in: graph.tsgraph: no native graph file"),
        (None, lambda _: b"\x1f\x8b broken", "graph cannot be brought in"),
        (None, another_prompt, "not the one that report"),
    ],
)
def test_what_is_no_report_or_not_its_graph_is_refused(
    store: Store,
    folder: Folder,
    report: Callable[[bytes], bytes] | None,
    other_graph: Callable[[bytes], bytes] | None,
    told: str,
) -> None:
    given = folder.report_bytes if report is None else report(folder.report_bytes)
    beside = None if other_graph is None else other_graph(folder.graph_bytes)
    with pytest.raises(BroughtInError, match=told) as caught:
        bring_in(store, given, beside, "bad")
    assert "\n" not in str(caught.value)
    assert find_reports(store, ReportQuery()).total == 0
    assert verify(store).artefacts == 0


def test_a_folder_without_a_report_is_told(store: Store, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "nowhere.json"):
        with pytest.raises(BroughtInError, match="cannot be read"):
            bring_in_folder(store, path)


def test_what_never_ends_is_not_read(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")
    device = tmp_path / "device"
    device.mkdir()
    (device / "report.json").symlink_to("/dev/zero")
    for path in (tmp_path, device):
        with pytest.raises(BroughtInError, match="is no file"):
            bring_in_folder(store, path)


def test_retention_takes_the_report_and_the_list_says_so(store: Store, case_id: str, do: Doing) -> None:
    do(ROSA, acts.Comment(target="report", text="seen"))
    set_rule(store, "report", 3600)
    assert collect(store, now=4e9).expired == {"report": 1}
    row = report_row(store, case_id)
    assert row is not None
    assert not row.kept
    assert row.review_status == "open"
    with pytest.raises(UnknownIdError, match="deleted by retention"):
        load_review(store, case_id, None, ROSA.name)
    assert catch_up(store).listed == 0


def test_older_cases_are_caught_up_with_and_damaged_ones_told(
    store: Store, folder: Folder, case_id: str, do: Doing, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(ROSA, acts.Close(status="accepted"))
    listed = report_row(store, case_id)
    other = bring_in(store, folder.report_bytes + b"\n", None, "the same with a line more")
    damaged = bring_in(store, folder.report_bytes + b"\n\n", None, "damaged")
    bad = indexing._listing_of_stored

    def listing(where: Store, sha256: str, figures: str | None) -> dict[str, Any]:
        from tracescribe.tracer.errors import ReportError

        if sha256 == report_of_case(where, damaged).sha256:
            raise ReportError("not a circuit report")
        return bad(where, sha256, figures)

    failed = sa.update(cases).where(cases.c.case_id == other).values(status="failed", failure_message="gold of others")
    store.write(lambda connection: (connection.execute(sa.delete(reports)), connection.execute(failed)))
    monkeypatch.setattr(indexing, "_listing_of_stored", listing)
    told: list[int] = []
    done = catch_up(store, told.append)
    assert (done.listed, done.damaged) == (2, {damaged: "not a circuit report"})
    assert report_row(store, case_id) == listed
    unscored = report_row(store, other)
    assert unscored is not None
    assert unscored.failure == "gold of others", "a case that could not be scored has a report all the same"
    assert catch_up(store).listed == 0


def test_a_score_of_the_case_is_the_headline(store: Store, folder: Folder, case_id: str) -> None:
    figures = {"scores": {"selection.f1": 0.5, "grouping.supernode_f1": 0.75, "labels.any": None}}

    def scored(connection: sa.Connection) -> None:
        connection.execute(sa.update(cases).values(figures=json.dumps(figures)))
        connection.execute(sa.delete(reports))

    store.write(scored)
    catch_up(store)
    row = report_row(store, case_id)
    assert row is not None
    assert (row.score, row.score_name) == (0.75, "grouping.supernode_f1")


def test_commands_cope_with_such_jobs(run: Callable[..., Done], store: Store, case_id: str) -> None:
    where = ("--store", str(store.address.database_file.parent))  # type: ignore[union-attr]
    listed = run("jobs", "list", *where, "--json").json
    assert f"brought in: {report_of_case(store, case_id).report.report_id}" in json.dumps(listed)
    shown = run("jobs", "show", "last", *where, "--cases")
    assert shown.code == 0
    assert "1 done of 1" in shown.out
    assert run("jobs", "resume", "last", *where).code in (0, 2)
    assert run("store", "check", *where).code == 0
    assert run("store", "gc", *where).code == 0
    assert run("audit", "verify", *where).code == 0
    assert report_of_case(store, case_id).case_id == case_id
