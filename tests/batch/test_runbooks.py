"""Every runbook is performed: its trouble is made to happen, its messages are looked for, and its very commands are run.

The commands come from the pages, block by block. Afterwards the job has the results of one that nothing happened to.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.batch.conftest import SMALL
from tests.batch.job_site import Command, Site, kill, prompts, wait_until
from tests.batch.outcome import check_cases, check_files, check_results, look
from tests.batch.runbook import check_symptoms, read_runbook
from tests.batch.small_disk import small_disk
from tests.batch.weather import Weather, weather
from tracescribe.runs.store.tables import cases, jobs
from tracescribe.tracer.embedded import model_dir, transcoder_dir

pytestmark = pytest.mark.batch

Results = Mapping[str, Mapping[str, bytes]]
ASKED = 8


@pytest.fixture(scope="module")
def provider() -> Iterator[Weather]:
    with weather() as made:
        yield made


@pytest.fixture(autouse=True)
def calm(provider: Weather) -> Iterator[None]:
    """Every test begins and ends with a provider that is up."""
    provider.turn("up")
    yield
    provider.turn("up")


@pytest.fixture(scope="module")
def asked_results(provider: Weather, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What the job with a language model gives when nothing happens."""
    folder = tmp_path_factory.mktemp("asked")
    made = Site(folder, str(folder / "store"))
    try:
        made.run("jobs", "run", str(made.write_job(provider.server, prompts(ASKED))), "--yes")
    finally:
        made.kill_all()
    return look(made).results(look(made).job_id())


def check_whole(site: Site, expected: Results) -> None:
    """The job is done, as if nothing had happened."""
    wait_until(lambda: not site.processes(), "no process outlives its job")
    found = look(site)
    check_cases(found, found.job_id(), len(expected), finishings=None)
    check_files(found)
    check_results(found.results(found.job_id()), expected)


def held_up(site: Site, provider: Weather, finished: int, **changes: Any) -> Command:
    """A job on its way that cannot go on: so many of its cases are finished, and the provider is silent until it is up."""
    site.run("jobs", "submit", str(site.write_job(provider.server, prompts(ASKED), **changes)), "--yes")
    provider.turn_once(lambda: look(site).finished() >= finished, "silent")
    job = site.start("jobs", "resume", "last")
    wait_until(lambda: provider.mood == "silent", f"{finished} cases finished", by=job)
    return job


def status(site: Site) -> str:
    """Of the only job."""
    (row,) = look(site).rows(select(jobs))
    return str(row["status"])


def test_provider_outage(site: Site, provider: Weather, asked_results: Results) -> None:
    page = read_runbook("provider-outage")
    site.run("jobs", "submit", str(site.write_job(provider.server, prompts(ASKED))), "--yes")
    provider.turn_once(lambda: look(site).finished() >= 2, "failing")
    job = site.start("jobs", "resume", "last")
    assert job.wait() == 1, job.text
    assert status(site) == "stopped"
    check_symptoms(page, job.text, page.perform(site, "Triage"))
    provider.turn("up")
    page.perform(site, "Recovery")
    check_whole(site, asked_results)


def test_budget_exhausted(site: Site, provider: Weather) -> None:
    page = read_runbook("budget-exhausted")
    spec = f"openai-compatible:{provider.server.url('openai')}#fake-1"
    agent = {"spec": spec, "style": "pipeline", "max_rounds": 0, "price_input": 20.0, "price_output": 100.0}
    budget = {"case": {"experiments": 2, "usd": 2.0}, "job": {"usd": 2.1}}
    job = site.write_job(provider.server, prompts(ASKED), agent=agent, budget=budget)
    said = site.run("jobs", "run", str(job), "--yes", status=1)
    assert status(site) == "stopped"
    check_symptoms(page, said, page.perform(site, "Triage"))
    page.perform(site, "Recovery", LIMIT="100")
    found = look(site)
    check_cases(found, found.job_id(), ASKED)
    check_files(found)


def test_an_artefact_is_damaged(site: Site, small_results: Results) -> None:
    page = read_runbook("corrupted-store")
    site.run("jobs", "run", str(site.write_job(None, prompts(SMALL))))
    files = sorted(look(site).files())
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"?")
    files[1].unlink()
    way = "An artefact is damaged or missing"
    check_symptoms(page, page.perform(site, "Triage"), way=way)
    page.perform(site, "Recovery", way)
    shutil.rmtree(next(iter(site.files.rglob("damaged"))))
    check_whole(site, small_results)


def test_the_database_is_damaged(site: Site, provider: Weather, asked_results: Results) -> None:
    page = read_runbook("corrupted-store")
    job = held_up(site, provider, 3)
    site.run("store", "backup", "backup.db")
    provider.turn("up")
    assert job.wait() == 0, job.text
    spoil(site.files / "store.db")
    said = site.run("jobs", "resume", "last", status=1)
    way = "The database is damaged"
    check_symptoms(page, said, page.perform(site, "Triage"), way=way)
    page.perform(site, "Recovery", way, STORE=site.store, BACKUP="backup.db")
    check_whole(site, asked_results)
    assert "entries up to" in site.run("audit", "verify")  # what came after the backup is gone, and that is told


def spoil(file: Path) -> None:
    """Write nonsense over the middle of a file."""
    with file.open("r+b") as stream:
        stream.seek(0)
        stream.write(b"this is no database any more" * 50)


def test_disk_full(site: Site, small_results: Results) -> None:
    page = read_runbook("disk-full")
    with small_disk(site.files, "64m") as disk:
        site.run("jobs", "submit", str(site.write_job(None, prompts(SMALL))))
        job = site.start("jobs", "resume", "last")
        wait_until(lambda: look(site).finished() >= 1, "a case finished", by=job)
        disk.leave(1 << 19)
        assert job.wait() == 1, job.text
        disk.leave(1 << 20)  # a little room, so that the store can be looked into as its people would
        triage = page.perform(site, "Triage", STORE=site.store)
        check_symptoms(page, job.text, triage)
        disk.grow("64m")
        page.perform(site, "Recovery")
        check_whole(site, small_results)


def test_worker_lost(site: Site, provider: Weather, asked_results: Results) -> None:
    page = read_runbook("worker-lost")
    job = held_up(site, provider, 2, max_crashes=1)
    assert kill(holder(site))
    wait_until(lambda: "failed" in {row["status"] for row in look(site).rows(select(cases))}, "a case failed", by=job)
    kill(job.pid)
    job.wait()
    wait_until(lambda: not site.processes(), "workers end when their parent was killed")
    assert status(site) == "running"
    check_symptoms(page, page.perform(site, "Triage"))
    provider.turn("up")
    page.perform(site, "Recovery")
    check_whole(site, asked_results)


def holder(site: Site) -> int:
    """A process that holds a case."""
    from tracescribe.runs.store.tables import workers

    query = select(workers.c.pid).join(cases, cases.c.worker_id == workers.c.worker_id)
    found: list[int] = []

    def look_again() -> bool:
        found[:] = [int(row["pid"]) for row in look(site).rows(query.where(cases.c.status == "running"))]
        return bool(found)

    wait_until(look_again, "a case is being worked on")
    return found[0]


def test_wrong_model_weights(site: Site, provider: Weather, tmp_path: Path) -> None:
    page = read_runbook("wrong-model-weights")
    right, place = tmp_path / "right", tmp_path / "weights"
    shutil.copytree(model_dir(), right)
    shutil.copytree(right, place)
    weights = {"model": str(place), "transcoders": str(transcoder_dir())}
    job = held_up(site, provider, 2, weights=weights)
    kill(job.pid)
    job.wait()
    wait_until(lambda: not site.processes(), "workers end when their parent was killed")
    provider.turn("up")
    change(place)
    finished = look(site).finished()
    said = site.run("jobs", "resume", "last", status=1)
    assert status(site) == "stopped"
    assert look(site).finished() == finished
    check_symptoms(page, said, page.perform(site, "Triage"))
    page.perform(site, "Recovery", RIGHT=str(right), WRONG=str(place))
    found = look(site)
    check_cases(found, found.job_id(), ASKED)
    check_files(found)
    site.run("audit", "verify")


def change(model: Path) -> None:
    """Give a model other weights: one number of one tensor."""
    from safetensors.torch import load_file, save_file

    (file,) = model.glob("*.safetensors")
    tensors = load_file(file)
    name = max(tensors, key=lambda key: tensors[key].numel())
    tensors[name].view(-1)[0] += 1.0
    save_file(tensors, file, metadata={"format": "pt"})
