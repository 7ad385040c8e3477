"""`tracescribe jobs validate|init|submit`: what they print, refuse, ask, and exit with; and the page on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracescribe.runs.jobs.schema import field_table, job_schema

Run = Callable[..., Any]
REPOSITORY = Path(__file__).resolve().parents[3]
PAID = "agent.spec=one-shot@openai-compatible:http://127.0.0.1:9/v1#m"
PRICED = ("--set", PAID, "--set", "agent.price_input=1", "--set", "agent.price_output=2")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing outside the test's folder is touched, and no store but its own is used."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRACESCRIBE_STORE", raising=False)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job of two prompts."""
    path = tmp_path / "job.yaml"
    path.write_text("prompts:\n  inline: [the capital of the state containing Dallas is, mail bob@example.com]\n")
    return path


def test_a_file_in_order_is_told_in_a_line(run: Run, job: Path) -> None:
    done = run("jobs", "validate", job, "--set", "seeds=[1,2]")
    assert done.code == 0
    assert done.out == f"{job}: in order; 4 cases (2 prompts or graphs, 2 seeds) for offline on embedded\n"
    assert "1 prompt holds what looks like email: redacted" in done.err
    told = run("jobs", "validate", job, "--json").json
    assert told["valid"] and (told["cases"], told["agent"], told["faults"]) == (2, "offline", [])


def test_all_faults_of_a_file_are_told_a_line_each(run: Run, job: Path) -> None:
    job.write_text("prompts: {inlin: [a]}\nseeds: 3\nagent: {spec: offline, stile: x}\n")
    done = run("jobs", "validate", job)
    assert done.code == 2 and done.out == ""
    lines = done.err.splitlines()
    assert [line.split(": ")[:3] for line in lines] == [
        ["error", f"{job}:1:11", "prompts.inlin"],
        ["error", f"{job}:2:8", "seeds"],
        ["error", f"{job}:3:24", "agent.stile"],
    ]
    told = run("jobs", "validate", job, "--json")
    assert told.code == 2 and told.json["valid"] is False
    assert [(fault["line"], fault["column"], fault["field"]) for fault in told.json["faults"]] == [
        (1, 11, "prompts.inlin"),
        (2, 8, "seeds"),
        (3, 24, "agent.stile"),
    ]
    submitted = run("jobs", "submit", job)
    assert submitted.code == 2 and len(submitted.err.splitlines()) == 4
    assert submitted.err.endswith("3 faults, told above; nothing was stored\n")
    assert not Path("tracescribe-workspace").exists()


def test_escapes_in_a_file_reach_no_terminal(run: Run, job: Path) -> None:
    job.write_text('prompts: {inline: [a]}\n"\\e[31mred\\u202e": 1\nname: [1]\n')
    done = run("jobs", "validate", job)
    assert done.code == 2 and "\x1b" not in done.err and "\u202e" not in done.err


def test_the_schema_is_printed(run: Run) -> None:
    assert run("jobs", "validate", "--schema").json == job_schema()
    nothing = run("jobs", "validate")
    assert nothing.code == 2 and "name the job's file, or ask for --schema" in nothing.err


def test_a_file_to_begin_with_is_written_once(run: Run) -> None:
    assert run("jobs", "init").code == 0
    assert run("jobs", "validate", "job.yaml").code == 0
    again = run("jobs", "init")
    assert again.code == 1 and again.err.startswith("error: ") and "is there already" in again.err


def test_a_job_is_submitted_and_found_again(run: Run, job: Path) -> None:
    done = run("jobs", "submit", job, "--store", "store", "--json")
    assert done.code == 0 and (done.json["cases"], done.json["new"]) == (2, True)
    assert done.json["estimate"]["usd"] is None and done.json["notes"]
    job_id = done.json["job"]
    assert job_id in run("jobs", "list", "--store", "store").out
    again = run("jobs", "submit", job, "--store", "store", "--once")
    assert again.code == 0 and f"job {job_id} is there already: 2 cases" in again.out
    assert Path("store/store.db").is_file()


@pytest.mark.batch
def test_what_may_cost_is_estimated_from_some_cases(run: Run, job: Path) -> None:
    """Marked for its time: a process of its own loads the model."""
    limits = ("--set", "budget={case: {usd: 0.25}, job: {usd: 1}}")
    refused = run("jobs", "submit", job, *PRICED, *limits, "--set", "prompts={gold: oracle, limit: 2}")
    assert refused.code == 2 and refused.out == ""
    assert "estimate for 2 cases (from 2 of them): 2 to 6 requests" in refused.err
    assert "limits: a case 0.25 USD, the job 1 USD, at most 0.50 USD in all" in refused.err
    assert refused.err.splitlines()[-1].endswith("nobody is here to be asked; give --yes to go on")
    assert run("jobs", "list", "--json").json["jobs"] == []


def test_what_may_cost_money_needs_a_yes(run: Run, job: Path) -> None:
    limits = ("--set", "budget={case: {usd: 0.25}, job: {usd: 1}}")
    # another model is not loaded for an estimate
    other = ("--set", "weights={model: org/name, transcoders: org/name}")
    refused = run("jobs", "submit", job, *PRICED, *limits, *other)
    assert refused.code == 2 and refused.err.splitlines()[-1].endswith("give --yes to go on")
    assert run("jobs", "list", "--json").json["jobs"] == []
    done = run("jobs", "submit", job, *PRICED, *limits, "--yes", "--json")
    estimate = done.json["estimate"]
    assert done.code == 0 and estimate["sampled"] == 0 and estimate["most_usd"] == 0.5
    assert 0 < estimate["usd"]["low"] <= estimate["usd"]["high"]
    assert "limits: a case 0.25 USD, the job 1 USD, at most 0.50 USD in all" in done.err


def test_a_free_agent_is_not_asked_about_and_a_key_is_looked_for_before_anything_is_stored(run: Run, job: Path) -> None:
    missing = run("jobs", "run", job, "--set", "agent.spec=openai:gpt-5-mini", "--yes")
    assert missing.code == 2 and "no key for openai: set OPENAI_API_KEY" in missing.err
    assert not Path("tracescribe-workspace").exists()


def test_wrong_calls_are_one_line(run: Run, job: Path) -> None:
    for arguments, told in (
        (("resume", "last"), "no store"),
        (("submit", "none.yaml"), "cannot read job none.yaml"),
        (("run", job, "--workers", "0"), "--workers"),
        (("resume", "last", "--max-usd", "inf"), "is no finite number"),
    ):
        done = run("jobs", *arguments)
        assert done.code == 2 and done.out == "" and told in done.err and done.err.count("\n") == 1, done.err
    assert run("jobs", "submit", job).code == 0
    unknown = run("jobs", "resume", "zzzz")
    assert unknown.code == 2 and "zzzz" in unknown.err


def test_a_job_that_died_before_it_could_say_that_it_is_done_is_done_by_resuming(run: Run, job: Path) -> None:
    from sqlalchemy import update

    from tracescribe.runs.store.database import open_store, parse_address
    from tracescribe.runs.store.tables import cases, jobs

    assert run("jobs", "submit", job, "--store", "store").code == 0
    store = open_store(parse_address("store"))
    store.write(lambda connection: connection.execute(update(cases).values(status="done", seconds=1.0)) and None)
    store.write(lambda connection: connection.execute(update(jobs).values(status="running")) and None)
    store.close()
    done = run("jobs", "resume", "last", "--store", "store", "--json")
    assert done.code == 0 and (done.json["status"], done.json["cases"]) == ("done", {"done": 2})
    again = run("jobs", "run", job, "--store", "store", "--once")
    assert again.code == 0 and "is done: 2 done" in again.out


def test_the_page_tells_every_field_as_the_models_have_it() -> None:
    """Renew the table: python -m tracescribe.runs.jobs.schema --table"""
    assert field_table() in (REPOSITORY / "docs" / "batch.md").read_text(encoding="utf-8")


def test_an_estimate_knows_what_like_cases_took(run: Run, job: Path, tmp_path: Path) -> None:
    from sqlalchemy import update

    from tracescribe.runs.store.database import open_store, parse_address
    from tracescribe.runs.store.tables import cases

    prompts = json.dumps([f"the prompt {number}" for number in range(6)])
    assert run("jobs", "submit", job, "--store", "store", "--set", f"prompts.inline={prompts}").code == 0
    unknown = run("jobs", "submit", job, "--store", "store", "--json")
    assert unknown.json["estimate"]["seconds"] is None and "time: unknown" in unknown.err
    store = open_store(parse_address("store"))
    done = update(cases).values(status="done", seconds=cases.c.position * 10.0, paid_usd=0.5)
    store.write(lambda connection: connection.execute(done) and None)
    store.close()
    told = run("jobs", "submit", job, "--store", "store", "--set", "executor.workers=2", "--json")
    assert told.json["estimate"]["known"]["n_cases"] == 8
    # positions 0..5 and 0..1: 160 s over 8 cases; two cases by two workers
    assert told.json["estimate"]["seconds"] == pytest.approx(20.0)
    assert "8 earlier cases took 20.0 s and cost 0.5000 USD on average" in told.err
