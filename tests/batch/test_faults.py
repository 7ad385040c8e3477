"""What goes wrong around a job: disks, databases, clocks, processes. Each time a clear error or a retry, and nothing lost.

The small job of each test ends with the results of one that nobody disturbed.
"""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.batch.conftest import SMALL
from tests.batch.job_site import Command, Site, kill, prompts, wait_until
from tests.batch.outcome import check_cases, check_files, check_results, look
from tests.batch.small_disk import small_disk
from tests.runs.postgres_server import PostgresServer
from tests.runs.stopping import stop_between_transactions

pytestmark = pytest.mark.batch

Results = Mapping[str, Mapping[str, bytes]]
CLOCK = Path(__file__).with_name("lying_clock")


def submit(site: Site) -> None:
    """Store the small job."""
    site.run("jobs", "submit", str(site.write_job(None, prompts(SMALL))))


def check_whole(site: Site, expected: Results) -> None:
    """The small job is done, as if nothing had happened."""
    wait_until(lambda: not site.processes(), "no process outlives its job")
    found = look(site)
    check_cases(found, found.job_id(), SMALL)
    check_files(found)
    check_results(found.results(found.job_id()), expected)
    site.run("audit", "verify")
    site.run("store", "check")


def error_line(text: str) -> str:
    """The one line that tells of an error; there is no traceback beside it."""
    assert "Traceback" not in text, text[-4000:]
    lines = [line for line in text.splitlines() if line.lower().startswith("error")]
    assert len(lines) == 1, text[-4000:]
    return lines[0]


# -- disks ------------------------------------------------------------------------------------------------------------


def test_disk_full(site: Site, small_results: Results) -> None:
    with small_disk(site.files, "64m") as disk:
        submit(site)
        job = site.start("jobs", "resume", "last")
        # the size cannot be told in advance: the longer a job takes, the more its database's log holds
        wait_until(lambda: look(site).finished() >= 1, "a case finished", by=job)
        disk.leave(1 << 19)
        assert job.wait() == 1, job.text
        assert "full" in error_line(job.text)
        # a little room, without which SQLite cannot even be read; what was cut off could not be given back in writing
        disk.leave(1 << 20)
        told = site.json("jobs", "show", "last", "--cases")["cases"]
        assert {row["status"] for row in told} <= {"done", "waiting", "running"}
        assert 0 < sum(row["status"] == "done" for row in told) == look(site).finished() < SMALL
        disk.grow("64m")
        site.run("jobs", "resume", "last")
        check_whole(site, small_results)


def test_disk_full_to_the_last_byte(site: Site, small_results: Results) -> None:
    """Not even the database can grow: whatever was committed before stays readable."""
    with small_disk(site.files, "32m") as disk:
        submit(site)
        job = site.start("jobs", "resume", "last")
        wait_until(lambda: look(site).finished() >= 2, "two cases finished", by=job)
        ballast = disk.fill()
        assert job.wait() == 1
        assert "full" in error_line(job.text)
        done = look(site).finished()
        ballast.unlink()
        assert look(site).finished() == done >= 2
        site.run("jobs", "resume", "last")
        check_whole(site, small_results)


def test_read_only_store(site: Site, small_results: Results) -> None:
    with small_disk(site.files, "64m") as disk:
        submit(site)
        job = site.start("jobs", "resume", "last")
        wait_until(lambda: look(site).finished() >= 2, "two cases finished", by=job)
        kill(job.pid)
        job.wait()
        wait_until(lambda: not site.processes(), "workers end with their parent")
        disk.make_read_only()
        said = site.run("jobs", "resume", "last", status=1)
        assert "read-only" in error_line(said) or "cannot be written" in error_line(said)
        disk.make_writable()
        site.run("jobs", "resume", "last")
        check_whole(site, small_results)


# -- clocks -----------------------------------------------------------------------------------------------------------


def test_clocks_that_jump_by_hours(site: Site, small_results: Results) -> None:
    submit(site)
    said = site.run("jobs", "resume", "last", PYTHONPATH=str(CLOCK))
    assert "Traceback" not in said
    check_whole(site, small_results)
    assert {row["attempt"] for row in look_at_cases(site)} == {1}, "a jump of the clock was taken for a death"


def look_at_cases(site: Site) -> list[dict[str, object]]:
    """Rows of the table of cases."""
    from sqlalchemy import select

    from tracescribe.runs.store.tables import cases

    return look(site).rows(select(cases))


# -- databases --------------------------------------------------------------------------------------------------------


def hold_lock(site: Site) -> sqlite3.Connection:
    """Another process's program that holds the database, as far as the store can tell."""
    connection = sqlite3.connect(site.files / "store.db", timeout=30, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def test_database_locked_for_a_while(site: Site, small_results: Results) -> None:
    submit(site)
    job = site.start("jobs", "resume", "last")
    for wanted in (1, 5):
        wait_until(lambda wanted=wanted: look(site).finished() >= wanted, "cases finished", by=job)  # type: ignore[misc]
        lock = hold_lock(site)
        time.sleep(8.0)
        lock.close()
    assert job.wait() == 0, job.text
    check_whole(site, small_results)


def test_database_locked_for_ever(site: Site, small_results: Results) -> None:
    submit(site)
    job = site.start("jobs", "resume", "last")
    wait_until(lambda: look(site).finished() >= 1, "a case finished", by=job)
    lock = hold_lock(site)
    assert job.wait() == 1
    assert "locked" in error_line(job.text)
    wait_until(lambda: not site.processes(), "workers end too")
    lock.close()
    site.run("jobs", "resume", "last")
    check_whole(site, small_results)


def test_postgresql_restarted_in_mid_job(site: Site, small_results: Results, postgres: PostgresServer) -> None:
    site = on(site, postgres)
    submit(site)
    job = site.start("jobs", "resume", "last")
    for wanted, way in ((2, "restart"), (5, "kill"), (8, "pause")):
        wait_until(lambda wanted=wanted: look(site).finished() >= wanted, "cases finished", by=job)  # type: ignore[misc]
        if way == "restart":
            postgres.restart()
        elif way == "kill":
            postgres.kill()
            postgres.start()
        else:
            postgres.stop()
            time.sleep(6.0)
            postgres.start()
    assert job.wait() == 0, job.text
    check_whole(site, small_results)


def test_postgresql_gone_for_good(site: Site, small_results: Results, postgres: PostgresServer) -> None:
    site = on(site, postgres)
    submit(site)
    job = site.start("jobs", "resume", "last")
    wait_until(lambda: look(site).finished() >= 1, "a case finished", by=job)
    postgres.stop()
    try:
        assert job.wait() == 1
        assert "reach" in error_line(job.text)
        wait_until(lambda: not site.processes(), "workers end too")
    finally:
        postgres.start()
    site.run("jobs", "resume", "last")
    check_whole(site, small_results)


def on(site: Site, postgres: PostgresServer) -> Site:
    """The same site with its store on the server."""
    return Site(site.folder, postgres.new_database(), mark=site.mark)


# -- processes --------------------------------------------------------------------------------------------------------


def test_two_resumes_at_once(site: Site, small_results: Results) -> None:
    submit(site)
    both = [site.start("jobs", "resume", "last") for _ in range(2)]
    assert [command.wait() for command in both] == [0, 0], both[0].text + both[1].text
    check_whole(site, small_results)


def test_a_stopped_worker_that_wakes_up_late(site: Site, small_results: Results) -> None:
    """What a frozen machine looks like: the case is given to another worker, and the sleeper cannot finish it."""
    submit(site)
    job = site.start("jobs", "resume", "last")
    wait_until(lambda: look(site).finished() >= 2, "two cases finished", by=job)
    victim = stop_a_holder(site, job)
    assert job.wait() == 0, job.text
    kill(victim, signal.SIGCONT)
    check_whole(site, small_results)


def stop_a_holder(site: Site, job: Command) -> int:
    """Stop a worker that holds a case, and not the database's lock, which all others wait for; its process id."""
    while True:
        wait_until(lambda: bool(running_workers(site)), "a case is being worked on", by=job)
        for pid in running_workers(site)[:1]:
            with suppress(OSError):  # it ended just now
                stop_between_transactions(pid, site.files / "store.db")
                if pid in running_workers(site):
                    return pid
                kill(pid, signal.SIGCONT)  # it had handed its case in


def running_workers(site: Site) -> list[int]:
    """Ids of the processes of workers that hold a case."""
    from sqlalchemy import select

    from tracescribe.runs.store.tables import cases, workers

    query = select(workers.c.pid).join(cases, cases.c.worker_id == workers.c.worker_id)
    return [int(row["pid"]) for row in look(site).rows(query.where(cases.c.status == "running"))]
