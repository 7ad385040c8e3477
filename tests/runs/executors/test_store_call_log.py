"""The call log in the store: no answered request is sent again, whoever asks, and whatever dies in between."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.agents.fake_server import INPUT_TOKENS, OUTPUT_TOKENS, Question, Reply, serving
from tests.agents.provider_rig import TEXAS
from tests.runs.executors.asking import COMPLETION, ask, leased, log_of, request
from tests.runs.executors.small_jobs import put_job
from tracescribe.agents.calls.call_events import CallEvent, CallIntent
from tracescribe.agents.calls.call_log import FileCallLog, MemoryCallLog
from tracescribe.agents.calls.ledger import summary_of
from tracescribe.runs.executors.call_ledger import case_call_log, case_events, case_ledger, job_ledger, provider_is_down
from tracescribe.runs.executors.call_rows import JobLimitError
from tracescribe.runs.executors.leases import declare_dead, give_back
from tracescribe.runs.executors.store_call_log import ProviderFailedError, ProviderRefusedError, StoreCallLog
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.errors import LeaseLostError
from tracescribe.runs.store.tables import call_events, calls, cases
from tracescribe.tracer.errors import BudgetExceededError

ROOT = Path(__file__).parents[3]
BILL = (INPUT_TOKENS + OUTPUT_TOKENS) / 1000.0
"""USD of an answer of the fake server at the price of these tests."""


def paid(store: Store, job_id: str) -> list[tuple[float, int, int]]:
    """USD, tokens and calls that each case of a job paid."""
    query = sa.select(cases.c.paid_usd, cases.c.paid_tokens, cases.c.paid_calls)
    rows = store.read(
        lambda connection: connection.execute(query.where(cases.c.job_id == job_id).order_by(cases.c.position)).all()
    )
    return [(round(row[0], 9), row[1], row[2]) for row in rows]


def told(events: list[CallEvent]) -> list[tuple[Any, ...]]:
    """Events without their moments."""
    return [tuple(event.model_dump(exclude={"at"}).values()) for event in events]


# -- as any other call log --------------------------------------------------------------------------------------------

ACTS = st.lists(st.tuples(st.sampled_from(["ask", "fail", "die", "look"]), st.integers(0, 2)), max_size=12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(acts=ACTS)
def test_it_does_what_the_log_in_memory_does(store: Store, acts: list[tuple[str, int]]) -> None:
    """Whatever is asked, answered, failed or cut off by a death: the same answers and the same events."""
    number = store.read(
        lambda connection: connection.execute(sa.select(sa.func.count()).select_from(cases)).scalar_one()
    )
    job_id = f"job{number}"
    put_job(store, job_id, ["p"])
    plain = MemoryCallLog()
    lease = leased(store, job_id)
    log = log_of(store, lease)
    expected_calls = 0
    for act, text in acts:
        asked = request(f"{job_id} {text}")
        assert log.recorded(asked.sha256) == plain.recorded(asked.sha256)
        if plain.recorded(asked.sha256) is not None or act == "look":
            continue
        assert log.intend(asked, 1) is None
        plain.intend(asked, 1)
        match act:
            case "ask":
                log.answer(asked.sha256, COMPLETION, 0.25)
                plain.answer(asked.sha256, COMPLETION, 0.25)
                expected_calls += 1
            case "fail":
                log.fail(asked.sha256, "MalformedAnswerError: no")
                plain.fail(asked.sha256, "MalformedAnswerError: no")
            case "die":
                declare_dead(store, lease.worker_id, crashed=False)
                lease = leased(store, job_id)
                log = log_of(store, lease)
    assert told(case_events(store, lease.case_id)) == told(list(plain.events))
    assert case_ledger(store, lease.case_id) == summary_of(list(plain.events))
    assert paid(store, job_id) == [(0.25 * expected_calls, 37 * expected_calls, expected_calls)]


def test_the_file_form_is_read_back(any_store: Store, tmp_path: Path) -> None:
    put_job(any_store, "one", ["p"])
    put_job(any_store, "two", ["p"])
    first, second = (log_of(any_store, leased(any_store, job)) for job in ("one", "two"))
    for text in ("a", "b"):
        first.intend(request(text), 1)
        first.answer(request(text).sha256, COMPLETION, 0.5)
    assert second.recorded(request("b").sha256) == COMPLETION
    assert second.recorded(request("b").sha256) == COMPLETION
    for log, known in ((first, "ab"), (second, "b")):
        path = tmp_path / f"{known}.jsonl"
        path.write_bytes(case_call_log(any_store, log.owner.case_id))
        read = FileCallLog(path)
        assert [read.recorded(request(text).sha256) for text in known] == [COMPLETION] * len(known)
        assert read.in_flight() == ()
        read.close()
    summary = case_ledger(any_store, second.owner.case_id)
    assert (summary.calls, summary.reused, summary.sendings, summary.usd) == (1, 1, 0, None)
    assert paid(any_store, "two") == [(0.0, 0, 0)]
    assert job_ledger(any_store, "one").usd == 1.0


# -- many at once -----------------------------------------------------------------------------------------------------


def test_eight_that_ask_the_same_send_it_once(any_store: Store) -> None:
    put_job(any_store, "j", [f"p{number}" for number in range(8)])
    logs = [log_of(any_store, leased(any_store, "j")) for _ in range(8)]

    def slow(_: Question) -> Reply:
        return Reply(text='{"word": "Texas"}', delay=0.2)

    with serving(slow) as server, ThreadPoolExecutor(8) as pool:
        words = list(pool.map(lambda log: ask(log, server.url("openai"), "Which?"), logs))
        assert words == ["Texas"] * 8
        assert server.calls == 1
    summary = job_ledger(any_store, "j")
    assert (summary.sendings, summary.resent, summary.answered, summary.paid_twice) == (1, 0, 1, 0)
    assert sorted(paid(any_store, "j"))[-2:] == [(0.0, 0, 0), (BILL, 150, 1)]
    events = [event.event for log in logs for event in case_events(any_store, log.owner.case_id)]
    assert sorted(events) == ["answer", "intent", *["reuse"] * 7]


def test_whoever_waits_sends_it_after_a_failure(any_store: Store) -> None:
    put_job(any_store, "j", ["a", "b"])
    first, second = (log_of(any_store, leased(any_store, "j")) for _ in range(2))
    asked = request("x")
    first.intend(asked, 1)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(second.recorded(asked.sha256)))
    waiting.start()
    first.fail(asked.sha256, "EmptyAnswerError: nothing")
    waiting.join(300)
    assert found == [None]
    assert second.intend(asked, 1) is None
    second.answer(asked.sha256, COMPLETION)
    intents = [event for event in case_events(any_store, second.owner.case_id) if isinstance(event, CallIntent)]
    assert [intent.resent for intent in intents] == [False], "it is known what became of the first sending"


def test_an_answer_between_looking_and_sending_is_used(any_store: Store) -> None:
    put_job(any_store, "j", ["a", "b"])
    first, second = (log_of(any_store, leased(any_store, "j")) for _ in range(2))
    asked = request("x")
    assert second.recorded(asked.sha256) is None
    first.intend(asked, 1)
    first.answer(asked.sha256, COMPLETION)
    assert second.intend(asked, 1) == COMPLETION


# -- deaths -----------------------------------------------------------------------------------------------------------


class Held:
    """A server's script that holds its first answer back until it is told to go on."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _: Question) -> Reply:
        if not self.arrived.is_set():
            self.arrived.set()
            self.go_on.wait(300)
        return TEXAS


def test_a_request_in_flight_at_a_kill_is_sent_once_more_and_marked(store: Store, tmp_path: Path) -> None:
    put_job(store, "j", ["a", "b"])
    held = Held()
    with serving(held) as server:
        url = server.url("openai")
        command = [sys.executable, "-m", "tests.runs.executors.asking", str(tmp_path / "store"), "j", url, "Which?"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert held.arrived.wait(300)
            log = log_of(store, leased(store, "j"))
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(ask, log, url, "Which?")
                with pytest.raises(TimeoutError):
                    waiting.result(0.5)
                assert server.calls == 1, "its sender lives"
                process.send_signal(signal.SIGKILL)
                process.wait()
                assert waiting.result(300) == "Texas"
        held.go_on.set()
        assert server.calls == 2
        assert ask(log, url, "Which?") == "Texas" and server.calls == 2
    summary = job_ledger(store, "j")
    assert (summary.calls, summary.sendings, summary.resent, summary.answered, summary.paid_twice) == (1, 2, 1, 1, 0)
    assert sorted(paid(store, "j")) == [(0.0, 0, 0), (BILL, 150, 1)]


def test_an_answer_that_comes_after_its_sender_was_given_up_is_on_record_too(any_store: Store) -> None:
    put_job(any_store, "j", ["a"])
    late = log_of(any_store, leased(any_store, "j"))
    asked = request("x")
    late.intend(asked, 1)
    declare_dead(any_store, late.owner.worker_id, crashed=False)
    again = log_of(any_store, leased(any_store, "j"))
    assert again.recorded(asked.sha256) is None
    again.intend(asked, 1)
    again.answer(asked.sha256, COMPLETION, 0.5)
    other = COMPLETION.model_copy(update={"text": '{"word": "Ohio"}'})
    late.answer(asked.sha256, other, 0.5)
    assert again.recorded(asked.sha256) == COMPLETION, "the first answer stays the answer"
    summary = case_ledger(any_store, again.owner.case_id)
    assert (summary.paid_twice, summary.resent, summary.usd) == (1, 1, 1.0)
    texts = [event.completion.text for event in case_events(any_store, again.owner.case_id) if event.event == "answer"]
    assert texts == [COMPLETION.text, other.text]
    assert paid(any_store, "j") == [(1.0, 74, 2)]


def test_transactions_bear_being_run_twice(any_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome of a commit may be unknown: then the same transaction is run again, after it was committed."""
    put_job(any_store, "j", ["a", "b"], usd_limit=10.0, case_usd=1.0)
    log, other = (log_of(any_store, leased(any_store, "j")) for _ in range(2))
    write = any_store.write

    def twice(work: Callable[[sa.Connection], Any], **given: Any) -> Any:
        write(work, **given)
        return write(work, **given)

    monkeypatch.setattr(any_store, "write", twice)
    answered, failed = request("x"), request("y")
    assert log.intend(answered, 1) is None
    log.answer(answered.sha256, COMPLETION, 0.25)
    assert log.intend(failed, 1) is None
    log.fail(failed.sha256, "EmptyAnswerError: nothing")
    assert other.recorded(answered.sha256) == COMPLETION
    events = [event.event for event in case_events(any_store, log.owner.case_id)]
    assert events == ["intent", "answer", "intent", "failure"]
    assert [event.event for event in case_events(any_store, other.owner.case_id)] == ["reuse"]
    assert paid(any_store, "j") == [(0.25, 37, 1), (0.0, 0, 0)]
    query = sa.select(cases.c.reserved_usd).order_by(cases.c.position)
    assert any_store.read(lambda connection: list(connection.execute(query).scalars())) == [0.75, 1.0]
    rows = any_store.read(lambda connection: connection.execute(sa.select(calls.c.sendings, calls.c.resent)).all())
    assert [tuple(row) for row in rows] == [(1, 0), (1, 0)]


# -- what may not be sent ---------------------------------------------------------------------------------------------


def test_who_lost_its_lease_sends_nothing(any_store: Store) -> None:
    put_job(any_store, "j", ["a"])
    lease = leased(any_store, "j")
    give_back(any_store, lease)
    for log in (log_of(any_store, lease), StoreCallLog(any_store, lease)):
        with pytest.raises(LeaseLostError):
            log.intend(request("x"), 1)
    assert case_events(any_store, lease.case_id) == []
    assert any_store.read(lambda connection: connection.execute(sa.select(calls.c.status)).all()) == []


def test_nothing_is_sent_once_the_jobs_money_is_used_up(any_store: Store) -> None:
    put_job(any_store, "j", ["a", "b"], usd_limit=1.0, case_usd=0.5)
    log = log_of(any_store, leased(any_store, "j"))
    log.intend(request("x"), 1)
    log.answer(request("x").sha256, COMPLETION, 1.0)
    with pytest.raises(JobLimitError, match="1 USD are used up .* --max-usd"):
        log.intend(request("y"), 1)
    assert log.recorded(request("x").sha256) == COMPLETION


def test_waiting_for_another_ends_with_the_cases_seconds(store: Store) -> None:
    put_job(store, "j", ["a", "b"])
    first, second = log_of(store, leased(store, "j")), log_of(store, leased(store, "j"), seconds=0.1)
    first.intend(request("x"), 1)
    with pytest.raises(BudgetExceededError, match="seconds"):
        second.recorded(request("x").sha256)


def test_jobs_that_reuse_nothing_pay_for_themselves(store: Store) -> None:
    put_job(store, "one", ["a"])
    put_job(store, "two", ["a", "b"])
    shared = log_of(store, leased(store, "one"))
    own, own_too = (log_of(store, leased(store, "two"), reuse=False) for _ in range(2))
    asked = request("x")
    shared.intend(asked, 1)
    shared.answer(asked.sha256, COMPLETION)
    assert own.recorded(asked.sha256) is None and own.intend(asked, 1) is None
    own.answer(asked.sha256, COMPLETION)
    assert own_too.recorded(asked.sha256) == COMPLETION, "within the job nothing is paid twice"
    assert [event.request_sha256 for event in case_events(store, own.owner.case_id)] == [asked.sha256] * 2


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("ProviderTimeoutError: no answer", ProviderFailedError),
        ("ProviderOverloadError: status 500", ProviderFailedError),
        ("ProviderAccessError: status 401", ProviderRefusedError),
        ("ProviderCreditError: status 402", ProviderRefusedError),
        ("ProviderModelError: status 404", ProviderRefusedError),
        ("ProviderRequestError: status 400", None),
        ("BudgetExceededError: seconds", None),
    ],
)
def test_what_a_failure_means_for_the_run(store: Store, error: str, raised: type[Exception] | None) -> None:
    put_job(store, "j", ["a"])
    log = log_of(store, leased(store, "j"))
    log.intend(request("x"), 1)
    if raised is None:
        log.fail(request("x").sha256, error)
    else:
        with pytest.raises(raised, match=error.partition(": ")[2]):
            log.fail(request("x").sha256, error)
    assert [event.event for event in case_events(store, log.owner.case_id)] == ["intent", "failure"]


def test_a_provider_is_down_when_cases_fail_in_a_row(any_store: Store) -> None:
    put_job(any_store, "j", list("abcd"))
    logs = [log_of(any_store, leased(any_store, "j")) for _ in range(4)]

    def down(number: int) -> bool:
        case_id = logs[number].owner.case_id
        return any_store.read(lambda connection: provider_is_down(connection, "j", case_id, cases=3))

    for number in (0, 1):
        logs[number].intend(request(str(number)), 1)
        logs[number].fail(request(str(number)).sha256, "EmptyAnswerError: x")
        assert not down(number)
    logs[3].intend(request("good"), 1)
    logs[3].answer(request("good").sha256, COMPLETION)
    for number in (0, 1, 2):
        logs[number].intend(request(f"again {number}"), 1)
        logs[number].fail(request(f"again {number}").sha256, "EmptyAnswerError: x")
        assert down(number) == (number == 2)


def test_a_torn_entry_is_told(store: Store) -> None:
    from tracescribe.runs.store.errors import StoreDamagedError

    put_job(store, "j", ["a"])
    log = log_of(store, leased(store, "j"))
    log.intend(request("x"), 1)
    log.answer(request("x").sha256, COMPLETION)
    store.write(lambda connection: connection.execute(sa.update(call_events).values(content='{"event": "answer"}')))
    with pytest.raises(StoreDamagedError, match="store check"):
        case_ledger(store, log.owner.case_id)
    store.write(lambda connection: connection.execute(sa.update(calls).values(completion='{"text": 1}')))
    with pytest.raises(StoreDamagedError, match="store check"):
        log.recorded(request("x").sha256)


@pytest.mark.batch
def test_four_processes_that_ask_the_same_send_it_once(store: Store, tmp_path: Path) -> None:
    put_job(store, "j", list("abcd"))

    def slow(_: Question) -> Reply:
        return Reply(text='{"word": "Texas"}', delay=5.0)

    with serving(slow) as server:
        url = server.url("openai")
        command = [sys.executable, "-m", "tests.runs.executors.asking", str(tmp_path / "store"), "j", url, "Which?"]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(4)]
        words = [process.communicate(timeout=600)[0].strip() for process in processes]
        assert words == ["Texas"] * 4 and server.calls == 1
    ledger = job_ledger(store, "j")
    assert (ledger.sendings, ledger.resent, ledger.paid_twice) == (1, 0, 0)
    assert sorted(paid(store, "j")) == [(0.0, 0, 0)] * 3 + [(BILL, 150, 1)]
