"""Exports: whole or not there, never over other people's files, named by nothing that anybody wrote, and logged."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from tests.runs.job_results.stored_jobs import HOSTILE, CaseSpec, add_job
from tracescribe.runs.job_results.export import case_folder, export_job
from tracescribe.runs.job_results.folders import MARK, whole_folder
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.errors import ArtefactDamagedError
from tracescribe.runs.store.tables import audit_entries, jobs
from tracescribe.tracer.errors import InputError, OutputError, UnknownIdError


def files_of(number: int) -> tuple[Artefact, ...]:
    """Artefacts as a case leaves them, one of a name that no worker gives."""
    return (
        Artefact("report.json", "report", b'{"n": %d}' % number),
        Artefact("report.html", "page", b"<p>%d" % number),
        Artefact("graph.json", "graph", b"graph %d" % number),
        Artefact("../../evil" if number == 1 else "report.md", "markdown", b"evil %d" % number),
    )


@pytest.fixture
def job(store: Store) -> str:
    """A job with hostile titles."""
    titles = ("the capital of Texas", "../../etc/passwd\0", HOSTILE[:200], "con", "")
    specs = [CaseSpec(f"{i}", title=title, artefacts=files_of(i)) for i, title in enumerate(titles)]
    add_job(store, "aaaa", [*specs, CaseSpec("waiting", "waiting")], status="running")
    return "aaaa"


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_written_and_named_by_us(store: Store, job: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    written = export_job(store, job, out, what=("calls", "reports", "graphs", "summary", "parquet"))
    found = tree(out)
    assert written.files == len(found) and {"summary.md", "summary.html", "summary.json", "cases.parquet"} <= set(found)
    lines = [json.loads(line) for line in found["cases.jsonl"].splitlines()]
    assert [line["case_id"] for line in lines] == [f"aaaa.{i}" for i in range(5)]
    for number, line in enumerate(lines):
        assert line["folder"].startswith(f"cases/{number:06d}-") and (out / line["folder"]).resolve().is_relative_to(
            out
        )
        for name, sha256 in line["files"].items():
            assert hashlib.sha256(found[f"{line['folder']}/{name}"]).hexdigest() == sha256
        assert set(line["files"]) >= {"report.json", "report.html", "graph.json"} and len(line["files"]) == 4
    assert all(part.isascii() and not part.startswith(".") for name in found for part in Path(name).parts)
    assert pq.read_table(out / "cases.parquet").num_rows == 6
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"], "nothing is left beside it"


def test_only_what_was_asked_for_is_written_and_logged(store: Store, job: str, tmp_path: Path) -> None:
    export_job(store, job, tmp_path / "a", what=("graphs",))
    assert {Path(name).name for name in tree(tmp_path / "a")} == {"graph.json", "cases.jsonl", MARK}
    export_job(store, job, tmp_path / "b", what=("summary",))
    assert set(tree(tmp_path / "b")) == {"summary.md", "summary.html", "summary.json", MARK}
    query = sa.select(audit_entries.c.act, audit_entries.c.subject).order_by(audit_entries.c.sequence)
    acts = store.read(lambda connection: [tuple(row) for row in connection.execute(query)])
    opened = [("report opened", f"aaaa.{i}") for i in range(5)]
    assert acts == [("export", "aaaa"), *opened, ("export", "aaaa")]


def test_a_place_named_after_a_person_is_not_kept_in_the_log(store: Store, job: str, tmp_path: Path) -> None:
    """The job's own patterns are in force, and the summary repeats no path that they find something in."""
    specification = {
        "privacy": {"more": {"ticket": "TCK-[0-9]{4}"}},
        "output": {"folder": "/of/bob@example.com-TCK-4711"},
    }
    place = {"specification": json.dumps(specification | {"prompts": {"inline": ["one"]}})}
    store.write(lambda connection: connection.execute(sa.update(jobs).where(jobs.c.job_id == job).values(place)))
    export_job(store, job, tmp_path / "bob@example.com-TCK-4711", what=("summary", "parquet"))
    logged = store.read(lambda connection: list(connection.execute(sa.select(audit_entries.c.details)).scalars()))
    written = "".join(logged).encode() + b"".join(tree(tmp_path / "bob@example.com-TCK-4711").values())
    assert b"[redacted " in written
    assert b"bob@example" not in written and b"TCK-4" not in written


def test_an_earlier_export_is_replaced_only_when_asked_and_nothing_else_ever(
    store: Store, job: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export_job(store, job, out, what=("reports",))
    with pytest.raises(OutputError, match="holds an earlier export; replace it with --force"):
        export_job(store, job, out)
    export_job(store, job, out, what=("summary",), force=True)
    assert set(tree(out)) == {"summary.md", "summary.html", "summary.json", MARK}

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years", encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(out)
    for place in (mine, link, mine / "thesis.tex"):
        with pytest.raises(OutputError, match="is in the way and was written by no export"):
            export_job(store, job, place, force=True)
    assert tree(mine) == {"thesis.tex": b"years"}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_damaged_file_ends_the_export_and_leaves_what_was_there(store: Store, job: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_job(store, job, out, what=("summary",))
    before = tree(out)
    sha256 = files_of(3)[0].sha256
    (file,) = [p for p in (tmp_path / "store" / "artefacts").rglob("*") if p.is_file() and sha256.endswith(p.name)]
    file.write_bytes(b"other")
    with pytest.raises(ArtefactDamagedError, match=sha256):
        export_job(store, job, out, what=("reports",), force=True)
    assert tree(out) == before and not (tmp_path / ".out.partial").exists()


def test_wrong_calls_are_told(store: Store, job: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is exported as nope; choose of summary, parquet"):
        export_job(store, job, tmp_path / "out", what=("nope", "summary"))
    with pytest.raises(UnknownIdError, match="there is no job 'zzzz'"):
        export_job(store, "zzzz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


KILLED = """
import sys, time
from pathlib import Path
from tracescribe.runs.job_results.folders import whole_folder, write_mark
with whole_folder(Path(sys.argv[1]), force=True) as folder:
    (folder / "half").write_text("half")
    print("writing", flush=True)
    time.sleep(600)
"""


def test_what_a_kill_leaves_is_removed_by_the_next_export(store: Store, job: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_job(store, job, out, what=("summary",))
    before = tree(out)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"writing\n"
    with pytest.raises(Exception, match=rf"another process \({process.pid}\) works in"):
        export_job(store, job, out, force=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert tree(out) == before and (tmp_path / ".out.partial" / "content" / "half").exists()
    export_job(store, job, out, what=("summary",), force=True)
    assert set(tree(out)) == set(before) and not (tmp_path / ".out.partial").exists()


def test_a_kill_between_two_renames_loses_nothing(store: Store, job: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_job(store, job, out, what=("summary",))
    before = tree(out)
    (tmp_path / ".out.partial").mkdir()
    out.rename(tmp_path / ".out.partial" / "replaced")
    with pytest.raises(KeyError), whole_folder(out, force=True):
        raise KeyError
    assert tree(out) == before and not (tmp_path / ".out.partial").exists()


def test_folders_of_cases_keep_their_order_and_are_short() -> None:
    names = [case_folder(i, HOSTILE * 10) for i in (2, 10, 100_000)]
    assert names == sorted(names) and max(map(len, names)) < 80
