"""Jobs over HTTP: figures for everybody who may see jobs, single cases for fewer; a stream that ends with its job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.runs.job_results.stored_jobs import HOSTILE, CaseSpec, add_job, add_worker
from tests.runs.web.visitors import new_store, new_token, team_app, visitor
from tracescribe.runs.access.tokens import revoke_token
from tracescribe.runs.jobs.lookup import StoreReader
from tracescribe.runs.jobs.progress import SILENT_SECONDS, JobObserver, JobProgress
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.tables import cases, jobs, workers
from tracescribe.runs.web.errors import Refusal
from tracescribe.runs.web.job_states import JobState, JobWatches
from tracescribe.runs.web.job_streams import MAX_OF_VISITOR, StreamPlaces, job_events
from tracescribe.runs.web.job_sums import rate_over_time

SECRET = "a prompt that viewers must not see"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with a job that is done, one with every kind of failure, one at work and a large one."""
    with new_store(tmp_path_factory.mktemp("jobs")) as opened:
        scored = [CaseSpec(f"p{i}", scores={"overall": 0.5}, verdicts={"supported": 2}) for i in range(4)]
        add_job(opened, "done1", scored, name=HOSTILE, created_at=1_700_000_100.0, finished_at=1_700_000_200.0)
        failed = [CaseSpec(SECRET, status="failed", failure=("provider", f"no answer to {SECRET}"), title=SECRET)] * 3
        failed += [CaseSpec("q", status="failed", failure=("error", "it broke"))]
        add_job(opened, "failed1", [*failed, CaseSpec("r")], created_at=1_700_000_050.0)
        waiting = [CaseSpec(f"w{i}", status="waiting") for i in range(3)]
        add_job(opened, "work1", [CaseSpec("x"), *waiting], status="running", created_at=1_700_000_300.0)
        add_worker(opened, "w-1", "work1")
        yield opened


@pytest.fixture(scope="module")
def app(store: Store) -> FastAPI:
    """Where visitors log in."""
    return team_app(store)


@pytest.fixture(scope="module")
def vera(app: FastAPI, store: Store) -> TestClient:
    """A viewer."""
    return visitor(app, new_token(store, "vera", "viewer"))


@pytest.fixture(scope="module")
def rosa(app: FastAPI, store: Store) -> TestClient:
    """A reviewer."""
    return visitor(app, new_token(store, "rosa", "reviewer"))


def test_jobs_are_listed_page_by_page(vera: TestClient) -> None:
    everything = vera.get("/api/jobs").json()
    assert [job["job_id"] for job in everything["jobs"]] == ["work1", "done1", "failed1"] and everything["total"] == 3
    second = vera.get("/api/jobs", params={"per_page": 2, "page": 2}).json()
    assert [job["job_id"] for job in second["jobs"]] == ["failed1"] and second["total"] == 3
    running = vera.get("/api/jobs", params={"status": "running"}).json()
    assert [job["job_id"] for job in running["jobs"]] == ["work1"] and running["total"] == 1
    assert vera.get("/api/jobs", params={"page": 10**6}).json()["jobs"] == []
    for wrong in ({"status": "no"}, {"page": 0}, {"page": 10**30}, {"per_page": 201}):
        assert vera.get("/api/jobs", params=wrong).status_code == 422


def test_failures_come_with_what_to_do_and_a_runbook(vera: TestClient) -> None:
    failures = vera.get("/api/jobs/failed1").json()["job"]["failures"]
    assert [(one["kind"], one["n_cases"]) for one in failures] == [("provider", 3), ("error", 1)]
    assert "tracescribe jobs retry failed1" in failures[0]["advice"]
    assert failures[0]["runbook"] == "provider-outage.md" and failures[1]["runbook"] is None


def test_a_viewer_sees_figures_and_nothing_of_a_prompt(vera: TestClient) -> None:
    for path in ("/jobs", "/jobs/failed1", "/api/jobs", "/api/jobs/failed1", "/api/jobs/failed1/summary"):
        answer = vera.get(path)
        assert answer.status_code == 200 and SECRET not in answer.text, path
    assert vera.get("/api/jobs/failed1/cases").status_code == 403
    summary = vera.get("/api/jobs/done1/summary").json()
    assert summary["scores"][0]["mean"] == 0.5 and summary["verdicts"] == {"supported": 8}
    assert summary["lists"] == [] and summary["failures"] == []


def test_a_reviewer_sees_cases_by_status_and_kind(rosa: TestClient) -> None:
    found = rosa.get("/api/jobs/failed1/cases", params={"kind": "provider", "per_page": 2, "page": 2}).json()
    assert found["total"] == 3 and [case["position"] for case in found["cases"]] == [2]
    assert found["cases"][0]["title"] == SECRET and not found["cases"][0]["has_report"]
    done = rosa.get("/api/jobs/failed1/cases", params={"status": "done"}).json()
    assert [case["has_report"] for case in done["cases"]] == [True]
    assert SECRET in json.dumps(rosa.get("/api/jobs/failed1/summary").json()["failures"])
    assert rosa.get("/api/jobs/failed1/cases", params={"kind": "x' OR 1=1"}).status_code == 422
    assert rosa.get("/api/jobs/failed1/cases", params={"page": 10**6}).json()["cases"] == []


def test_hostile_names_are_text_and_unknown_jobs_are_not_found(vera: TestClient, store: Store) -> None:
    for path in ("/jobs", "/jobs/done1"):
        shown = vera.get(path).text
        assert "<img src=x" not in shown and "&lt;img src=x" in shown
    for path in ("/jobs/{}", "/api/jobs/{}", "/api/jobs/{}/events", "/api/jobs/{}/rate", "/api/jobs/{}/summary"):
        answer = vera.get(path.format("nosuchjob"))
        assert answer.status_code == 404 and "there is no job" in answer.text.lower(), path
        assert str(store.address.shown) not in answer.text, "where the store lies is none of a viewer's business"
        assert vera.get(path.format("..%2f..%2fetc")).status_code in (404, 422), path


def events_of(text: str) -> list[tuple[str, str, Any]]:
    """Event, id and data of a stream's events; comments left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


def test_the_stream_of_a_done_job_tells_its_state_and_ends(vera: TestClient) -> None:
    answer = vera.get("/api/jobs/done1/events")
    assert answer.headers["content-type"].startswith("text/event-stream") and "retry: " in answer.text
    (kind, event_id, state), (end, _, told) = events_of(answer.text)
    assert (kind, end, told) == ("progress", "end", {"status": "done"}) and state["job"]["finished"] == 4
    again = vera.get("/api/jobs/done1/events", headers={"Last-Event-ID": event_id})
    assert [kind for kind, _, _ in events_of(again.text)] == ["end"]
    other = vera.get("/api/jobs/done1/events", headers={"Last-Event-ID": "older"})
    assert [kind for kind, _, _ in events_of(other.text)] == ["progress", "end"]


def test_a_stream_ends_with_the_right_to_see_it(app: FastAPI, store: Store) -> None:
    tom = visitor(app, new_token(store, "tom", "viewer"))
    seen: list[str] = []
    look = JobWatches.look

    def watched(self: JobWatches, job_id: str) -> JobState:
        seen.append(job_id)
        if len(seen) == 2:
            revoke_token(store, "tom")
        return look(self, job_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobWatches, "look", watched)
        text = tom.get("/api/jobs/work1/events").text  # of a job that runs on
    assert [name for name, _, _ in events_of(text)] == ["progress", "fault"] and len(seen) == 2


def test_a_stream_tells_changes_alone_gives_signs_of_life_and_stops(store: Store) -> None:
    watches = JobWatches(store.address, clock=iter(range(10**6)).__next__)

    def finish(status: str) -> None:
        store.write(
            lambda c: c.execute(sa.update(cases).where(cases.c.job_id == "work1").values(status="done")) and None
        )
        store.write(lambda c: c.execute(sa.update(jobs).where(jobs.c.job_id == "work1").values(status=status)) and None)

    async def follow() -> list[str]:
        told = []
        async for event in job_events(lambda: watches.look("work1"), None, pause=0.0, heartbeat=0.0):
            told.append(event.decode())
            if len(told) == 6:
                finish("done")
            assert len(told) < 50
        return told

    told = anyio.run(follow)
    assert [kind for kind, _, _ in events_of("".join(told))] == ["progress", "progress", "end"]
    assert sum("still here" in event for event in told) >= 4

    async def cut() -> list[bytes]:
        running: JobState = watches.look("work1").model_copy(update={"over": False})
        return [event async for event in job_events(lambda: running, None, pause=0.0, longest=0.05)]

    assert not any(b"event: end" in event for event in anyio.run(cut))


def test_a_worker_whose_beat_stands_still_is_told_as_silent(store: Store) -> None:
    add_job(store, "still1", [CaseSpec("s", status="waiting")], status="running", created_at=1.0)
    add_worker(store, "w-still", "still1")
    now = [0.0]
    watches = JobWatches(store.address, clock=lambda: now[0])
    assert not watches.look("still1").workers[0].is_silent and not watches.look("still1").abandoned
    now[0] = SILENT_SECONDS + 1
    state = watches.look("still1")
    assert state.workers[0].is_silent and state.abandoned and state.seconds_left is None
    store.write(lambda c: c.execute(sa.update(workers).where(workers.c.worker_id == "w-still").values(beat=9)) and None)
    now[0] += 1
    assert not watches.look("still1").workers[0].is_silent


def test_open_streams_have_a_limit() -> None:
    places = StreamPlaces()
    held = [places.taken("vera") for _ in range(MAX_OF_VISITOR)]
    for one in held:
        one.__enter__()
    with pytest.raises(Refusal) as refused, places.taken("vera"):
        pass
    assert refused.value.status == 429
    with places.taken("rosa"):
        pass
    held[0].__exit__(None, None, None)
    with places.taken("vera"):
        pass


def test_visitors_share_one_look_a_second(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, now, real = [0], [0.0], JobObserver.look

    def counted(self: JobObserver, reader: StoreReader) -> JobProgress:
        looks[0] += 1
        return real(self, reader)

    monkeypatch.setattr(JobObserver, "look", counted)
    watches = JobWatches(store.address, clock=lambda: now[0])
    for _ in range(5):
        watches.look("done1")
    now[0] = 1.0
    watches.look("done1")
    assert looks == [2]


def test_cases_over_time_are_counted_in_equal_spans() -> None:
    found = rate_over_time([100.0, 101.0, 109.0, 110.0] * 3)
    assert sum(found.finished) == 12 and found.first == 100.0 and found.last == 110.0
    assert found.span_seconds * len(found.finished) == pytest.approx(10.0)
    assert rate_over_time([]).finished == () and sum(rate_over_time([5.0]).finished) == 1
