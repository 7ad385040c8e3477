"""Looking at jobs: right on both databases, found by beginnings, quick to start, and harmless to the terminal."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.runs.job_results.stored_jobs import HOSTILE, CaseSpec, add_job, add_worker
from tracescribe.runs import cli
from tracescribe.runs.jobs import listing
from tracescribe.runs.jobs.lookup import find_case, find_job, open_reader
from tracescribe.runs.store.database import Store, parse_address
from tracescribe.runs.store.errors import StoreAddressError, StoreVersionError
from tracescribe.runs.store.tables import cases
from tracescribe.tracer.errors import UnknownIdError

HEAVY = ("sqlalchemy", "alembic", "pydantic", "torch", "numpy", "fsspec", "cryptography", "opentelemetry", "ray")


def mixed(n: int, seed: int) -> list[CaseSpec]:
    """Cases of every status, with failures of several kinds."""
    rng = random.Random(seed)
    specs = []
    for i in range(n):
        status = rng.choice(listing.CASE_STATUSES)
        failure = (rng.choice(("provider", "timeout", "error")), f"message {i}") if status == "failed" else None
        specs.append(CaseSpec(f"prompt {i}", status, paid_usd=rng.random(), failure=failure))
    return specs


def test_counts_and_money_are_those_of_the_cases(any_store: Store) -> None:
    specs = {job: mixed(n, n) for job, n in (("aaaa", 57), ("aabb", 13), ("cccc", 0))}
    for place, (job, cases_of) in enumerate(specs.items()):
        add_job(any_store, job, cases_of, created_at=1000.0 + place, status=("done", "running", "waiting")[place])
    with open_reader(any_store.address) as reader:
        rows = {row.job_id: row for row in listing.list_jobs(reader)}
        assert list(rows) == ["cccc", "aabb", "aaaa"], "the last submitted first"
        for job, row in rows.items():
            assert row.cases == dict(Counter(s.status for s in specs[job]))
            assert row.failures == dict(Counter(s.failure[0] for s in specs[job] if s.failure))
            assert row.paid_usd == pytest.approx(sum(s.paid_usd for s in specs[job]))
            assert row.reserved_usd == pytest.approx(0.5 * row.cases.get("running", 0))
        assert [row.job_id for row in listing.list_jobs(reader, status="running")] == ["aabb"]
        assert [row.job_id for row in listing.list_jobs(reader, limit=1)] == ["cccc"]
        assert listing.count_jobs(reader) == 3 and listing.count_jobs(reader, "done") == 1
        listed = listing.list_cases(reader, "aaaa", status="failed", limit=1000)
        assert [case.failure_message for case in listed] == [s.failure[1] for s in specs["aaaa"] if s.failure]
        assert len(listing.list_cases(reader, "aaaa", limit=5)) == 5


def test_jobs_and_cases_are_found_by_beginnings(any_store: Store) -> None:
    for place, job in enumerate(("abcd2345", "abzz2345", "qq%_2345")):
        add_job(any_store, job, mixed(12, place), created_at=float(place))
    with open_reader(any_store.address) as reader:
        assert find_job(reader, "abc") == "abcd2345" and find_job(reader, "qq%") == "qq%_2345"
        assert find_job(reader, "last") == "qq%_2345"
        for pattern in ("%", "_", "ab_d", "ABC"):
            with pytest.raises(UnknownIdError, match="there is no job"):
                find_job(reader, pattern)
        with pytest.raises(UnknownIdError, match="several jobs begin with 'ab': abcd2345, abzz2345; give more"):
            find_job(reader, "ab")
        with pytest.raises(UnknownIdError, match=r"no job 'abcd2354'; did you mean abcd2345"):
            find_job(reader, "abcd2354")
        with pytest.raises(UnknownIdError, match="there is no job ''"):
            find_job(reader, "")
        assert find_case(reader, "abcd2345", "abcd2345.3") == "abcd2345.3"
        assert find_case(reader, "abcd2345", "11") == "abcd2345.11"
        assert find_case(reader, "abcd2345", "abcd2345.11") == "abcd2345.11"
        with pytest.raises(UnknownIdError, match="several cases"):
            find_case(reader, "abcd2345", "abcd2345.1x"[:-2])
        with pytest.raises(UnknownIdError, match="there is no case 'abzz2345.3'"):
            find_case(reader, "abcd2345", "abzz2345.3")


def test_a_look_does_not_wait_for_who_writes_and_cannot_write(store: Store) -> None:
    add_job(store, "aaaa", mixed(5, 1))
    file = store.address.database_file
    assert file is not None
    with store.engine.connect() as writer:
        writer.exec_driver_sql("UPDATE jobs SET name = 'other'")
        with open_reader(store.address) as reader:
            assert listing.read_job(reader, "aaaa").name == "a job"
            with pytest.raises(Exception, match="readonly|read-only"):
                reader.rows("UPDATE jobs SET name = 'mine' RETURNING name")
        writer.rollback()


def test_what_is_no_store_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreAddressError, match="there is no store in"), open_reader(parse_address(str(tmp_path))):
        pass
    assert list(tmp_path.iterdir()) == []
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'store.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE jobs (job_id TEXT)")
    engine.dispose()
    with pytest.raises(StoreVersionError, match="other tables"), open_reader(parse_address(str(tmp_path))):
        pass


def test_looking_imports_nothing_heavy(store: Store) -> None:
    add_job(store, "aaaa", mixed(5, 1))
    assert store.address.database_file is not None
    folder = str(store.address.database_file.parent)
    code = (
        "import sys; from tracescribe.runs.cli import main\n"
        f"assert main(['jobs', 'list', '--store', {folder!r}]) == 0\n"
        f"assert main(['jobs', 'show', 'aaaa', '--cases', '--store', {folder!r}]) == 0\n"
        f"assert main(['jobs', 'show', 'aaaa', '2', '--store', {folder!r}]) == 0\n"
        f"print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.rstrip().endswith("HEAVY []")


def test_the_commands_tell_everything_and_obey_no_text(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    specs = [
        CaseSpec("one", scores={"overall": 0.5}, verdicts={"supported": 2}, paid_usd=0.25),
        CaseSpec("two", "failed", failure=("provider", HOSTILE), title=HOSTILE[:200]),
        CaseSpec("three", "running"),
    ]
    add_job(store, "abcd2345", specs, name=HOSTILE[:200], status="running", usd_limit=2.0, message=None)
    add_worker(store, "w1", "abcd2345")
    assert store.address.database_file is not None
    place = ["--store", str(store.address.database_file.parent)]
    assert cli.main(["jobs", "list", *place]) == 0
    assert cli.main(["jobs", "show", "last", "--cases", *place]) == 0
    assert cli.main(["jobs", "show", "abcd", "1", *place]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown and "[red]x[/red]" in shown
    for words in ("1/3", "1 running, 1 done, 1 failed of 3 (66 %)", "$0.2500 of $2.00, $0.5000 reserved", "1 provider"):
        assert words in shown, words

    assert cli.main(["jobs", "show", "--cases", "--json", *place]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [case["status"] for case in told["cases"]] == ["done", "failed", "running"]
    assert told["cases"][1]["failure_kind"] == "provider" and told["job"]["finished"] == 2
    assert told["workers"][0]["case_id"] == "abcd2345.2"
    assert cli.main(["jobs", "show", "abcd", "0", "--json", *place]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one["figures"]["scores"] == {"overall": 0.5} and one["case"]["paid_usd"] == 0.25
    assert cli.main(["jobs", "list", "--json", "--limit", "1", *place]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"][0]["job_id"] == "abcd2345"
    assert cli.main(["jobs", "show", "nope", *place]) == 2
    assert cli.main(["jobs", "list", "--limit", "0", *place]) == 2
    assert cli.main(["jobs", "list", "--status", "nope", *place]) == 2
    told_errors = capsys.readouterr().err.splitlines()
    assert len(told_errors) == 3 and all(line.startswith("error: ") for line in told_errors)


def test_counting_needs_no_look_at_the_rows(store: Store) -> None:
    """What makes it quick with a hundred thousand cases: the index holds all that is counted."""
    sql = (
        "EXPLAIN QUERY PLAN SELECT job_id, status, failure_kind, count(*), sum(paid_usd), sum(reserved_usd) FROM cases "
        "WHERE job_id IN ('a', 'b') GROUP BY job_id, status, failure_kind"
    )
    with store.engine.connect() as connection:
        plan = " ".join(str(row) for row in connection.exec_driver_sql(sql))
        assert "USING COVERING INDEX" in plan and "TEMP B-TREE" not in plan
        found = {index["name"] for index in sa.inspect(connection).get_indexes("cases")}
    assert {index.name for index in cases.indexes} <= found
