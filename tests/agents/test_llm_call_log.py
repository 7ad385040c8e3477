"""The call log on disk: what is on record outlives the process, and a torn line costs at most itself."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.agents.fake_server import Question, Reply, good, serving
from tracescribe.agents.budget import Budget, Meter
from tracescribe.agents.calls.call_log import CallIntent, FileCallLog, MemoryCallLog
from tracescribe.agents.calls.ledger import summarize_ledger
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.providers.completion import (
    ChatMessage,
    Completion,
    CompletionRequest,
    Endpoint,
    LanguageModelClient,
    Usage,
)
from tracescribe.agents.providers.settings import ProviderSettings, make_client
from tracescribe.prompts.template import RenderedPrompt
from tracescribe.tracer.errors import InputError, OutputError

ROOT = Path(__file__).parents[2]
COMPLETION = Completion(text='{"word": "Texas"}', finish="stop", usage=Usage(input_tokens=3), model="m")


def _request(text: str) -> CompletionRequest:
    return CompletionRequest(
        endpoint=Endpoint(provider="openai", base_url="http://127.0.0.1:1/v1", model="m"),
        system="s",
        messages=(ChatMessage(role="user", text=text),),
        schema_name="Word",
        answer_schema={"type": "object"},
        max_tokens=10,
        template="sample@1.0.0",
        template_sha256="0" * 64,
    )


def test_answers_outlive_the_process_and_open_requests_are_named(tmp_path: Path) -> None:
    path = tmp_path / "calls" / "log.jsonl"
    log = FileCallLog(path)
    answered, lost = _request("a"), _request("b")
    log.intend(answered, 1)
    log.answer(answered.sha256, COMPLETION)
    log.intend(lost, 1)
    log.close()
    again = FileCallLog(path)
    assert again.recorded(answered.sha256) == COMPLETION and again.recorded(lost.sha256) is None
    assert again.in_flight() == (lost.sha256,)
    again.intend(lost, 1)
    last = again.events[-1]
    assert isinstance(last, CallIntent) and last.resent
    again.close()


def test_a_torn_last_line_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log.jsonl"
    log = FileCallLog(path)
    for text in ("a", "b"):
        log.intend(_request(text), 1)
        log.answer(_request(text).sha256, COMPLETION)
    log.close()
    path.write_bytes(path.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        again = FileCallLog(path)
    assert "line 4 is torn" in caplog.text
    assert again.recorded(_request("a").sha256) == COMPLETION and again.in_flight() == (_request("b").sha256,)
    again.answer(_request("b").sha256, COMPLETION)
    again.close()
    third = FileCallLog(path)
    assert third.recorded(_request("b").sha256) == COMPLETION
    third.close()


def test_a_line_torn_in_the_middle_of_the_file_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    first, second = FileCallLog(path), FileCallLog(path)
    first.intend(_request("a"), 1)
    with path.open("ab") as torn:  # a process that is killed while it writes
        torn.write(b'{"event": "answer", "request_sha256": "0')
    second.answer(_request("a").sha256, COMPLETION, 0.5)
    first.answer(_request("b").sha256, COMPLETION)
    first.close()
    second.close()
    summary = summarize_ledger(path)
    assert (summary.answered, summary.lines_put_aside, summary.usd, summary.unpriced) == (2, 1, 0.5, 1)


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    log = FileCallLog(tmp_path / "log.jsonl")

    def work(number: int) -> None:
        for turn in range(10):
            request = _request(f"{number} {turn}")
            log.intend(request, 1)
            log.answer(request.sha256, COMPLETION)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    events = [json.loads(line)["event"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert events.count("intent") == events.count("answer") == 40


WRITER = """
import sys
from pathlib import Path
from tests.agents.test_llm_call_log import COMPLETION, _request
from tracescribe.agents.calls.call_log import FileCallLog
log = FileCallLog(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for turn in range(150):
    request = _request(f"{sys.argv[2]} {turn} " + "x" * 3000)
    log.intend(request, 1)
    log.answer(request.sha256, COMPLETION.model_copy(update={"text": "y" * 20_000}))
"""


def test_processes_that_write_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("first", "second")
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
    for writer in writers:
        writer.communicate(b"go\n", timeout=300)
    assert [writer.returncode for writer in writers] == [0, 0]
    summary = summarize_ledger(path)
    assert (summary.calls, summary.answered, summary.lines_put_aside, summary.resent) == (300, 300, 0, 0)


def test_what_another_process_has_answered_is_not_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    ours, theirs = FileCallLog(path), FileCallLog(path)
    request = _request("a")
    assert ours.recorded(request.sha256) is None
    theirs.intend(request, 1)
    theirs.answer(request.sha256, COMPLETION)
    assert ours.recorded(request.sha256) == COMPLETION and ours.in_flight() == ()
    ours.close()
    theirs.close()


def test_a_log_in_numbers(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = FileCallLog(path)
    answered, failed, lost = _request("a"), _request("b"), _request("c")
    log.intend(answered, 1)
    log.intend(answered, 2)
    log.answer(
        answered.sha256,
        COMPLETION.model_copy(update={"usage": Usage(input_tokens=30, output_tokens=5), "seconds": 2.0}),
        0.25,
    )
    log.intend(failed, 1)
    log.fail(failed.sha256, "ProviderTimeoutError: no answer")
    log.intend(lost, 1)
    log.close()
    summary = summarize_ledger(path)
    assert (summary.calls, summary.sendings, summary.answered, summary.failed, summary.unfinished) == (3, 4, 1, 1, 1)
    assert (summary.retried, summary.resent, summary.paid_twice) == (1, 0, 0)
    assert (summary.input_tokens, summary.output_tokens, summary.usd, summary.seconds) == (30, 5, 0.25, 2.0)
    assert summary.templates == {"sample@1.0.0": 3} and [row.calls for row in summary.models] == [3]
    again = FileCallLog(path)
    again.intend(lost, 1)
    again.answer(lost.sha256, COMPLETION)
    again.close()
    resumed = summarize_ledger(path)
    assert (resumed.resent, resumed.unfinished, resumed.answered, resumed.unpriced) == (1, 0, 2, 1)
    with pytest.raises(InputError, match="cannot read call log"):
        summarize_ledger(tmp_path / "nowhere.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    assert summarize_ledger(tmp_path / "empty.jsonl").calls == 0


def test_a_log_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = FileCallLog(path)
    log.intend(_request("a"), 1)
    log.answer(_request("a").sha256, COMPLETION, 1.0)
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    del lines[0]["idempotency_key"], lines[1]["usd"], lines[1]["completion"]["usage"]["estimated"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = FileCallLog(path)
    assert again.recorded(_request("a").sha256) == COMPLETION
    again.close()


def test_an_idempotency_key_follows_the_request_alone() -> None:
    keys = {_request(text).idempotency_key for text in ("a", "a", "b")}
    assert len(keys) == 2 and _request("a").idempotency_key == _request("a").idempotency_key
    assert all(key.startswith("tracescribe-") and len(key) <= 64 for key in keys)


def test_two_threads_with_one_question_pay_once() -> None:
    entered = threading.Barrier(2)

    def script(_: Question) -> Reply:
        return Reply(text='{"word": "Texas"}', delay=0.2)

    with serving(script) as server:
        settings = ProviderSettings.of(environment={}, provider="openai", model="m", base_url=server.url("openai"))
        client, meter = make_client(settings, {}), Meter(Budget())
        session = LlmSession(settings, client, MemoryCallLog())
        prompt = RenderedPrompt(
            template="s@1.0.0", template_sha256="0" * 64, output_schema="Word", system="s", user="the same"
        )

        def ask() -> None:
            entered.wait(300)
            assert session.ask(prompt, Word, meter).word == "Texas"

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        client.close()
        assert server.calls == meter.llm_calls == 1


def test_a_resumed_run_costs_what_an_uninterrupted_one_costs(tmp_path: Path) -> None:
    """The first run is set down after two questions, and a third is answered but not in its snapshot."""
    with serving(lambda question: good({"word": question.user[-1]})) as server:
        log, ask, client, meter = metered_on(server.url("openai"), tmp_path / "whole.jsonl")
        for number in range(5):
            ask(number)
        client.close()
        log.close()
        whole = meter.snapshot().model_dump(exclude={"seconds"})
        log, ask, client, meter = metered_on(server.url("openai"), tmp_path / "cut.jsonl")
        for number in range(2):
            ask(number)
        snapshot = meter.snapshot()
        ask(2)
        log.close()
        client.close()
        log, ask, client, meter = metered_on(server.url("openai"), tmp_path / "cut.jsonl")
        meter.restore(snapshot)
        for number in range(5):
            ask(number)
        client.close()
        log.close()
        assert meter.snapshot().model_dump(exclude={"seconds"}) == whole
        assert server.calls == 10


def test_an_unwritable_log_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot open call log"):
        FileCallLog(tmp_path / "file" / "log.jsonl")


CHILD = """
import sys
from pathlib import Path
from tests.agents.test_llm_call_log import session_on
log, ask, client = session_on(sys.argv[1], Path(sys.argv[2]))
for number in range(3):
    ask(number)
"""


class Word(BaseModel):
    """The answer that these tests ask for."""

    word: str


def metered_on(url: str, path: Path) -> tuple[FileCallLog, Callable[[int], str], LanguageModelClient, Meter]:
    """A log on disk, a function that asks the n-th question, the client to close, and what it is charged to."""
    settings = ProviderSettings.of(environment={}, provider="openai", model="m", base_url=url)
    log, meter = FileCallLog(path), Meter(Budget())
    session = LlmSession(settings, make_client(settings, {}), log)

    def ask(number: int) -> str:
        prompt = RenderedPrompt(
            template="s@1.0.0", template_sha256="0" * 64, output_schema="Word", system="s", user=f"question {number}"
        )
        return session.ask(prompt, Word, meter).word

    return log, ask, session.client, meter


def session_on(url: str, path: Path) -> tuple[FileCallLog, Callable[[int], str], LanguageModelClient]:
    """A log on disk, a function that asks the n-th question, and the client to close."""
    log, ask, client, _ = metered_on(url, path)
    return log, ask, client


def test_killed_while_waiting_it_sends_only_what_was_never_answered(tmp_path: Path) -> None:
    """A process is killed with -9 while its second request is in flight; the next one asks for that and the third."""
    waiting, release = threading.Event(), threading.Event()

    def script(question: Question) -> Reply:
        if question.user == "question 1" and not release.is_set():
            waiting.set()
            release.wait(300)
        return good({"word": question.user})

    path = tmp_path / "log.jsonl"
    with serving(script) as server:
        url = server.url("openai")
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, url, str(path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert waiting.wait(300)
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=300)
        release.set()
        log, ask, client = session_on(url, path)
        open_before = log.in_flight()
        assert [ask(number) for number in range(3)] == ["question 0", "question 1", "question 2"]
        client.close()
        log.close()
        asked = [question.user for question in server.questions]
        sent = dict(server.sent)
    assert asked == ["question 0", "question 1", "question 1", "question 2"]
    intents = [event for event in log.events if isinstance(event, CallIntent)]
    assert [event.resent for event in intents] == [False, False, True, False]
    assert open_before == (intents[2].request_sha256,)
    assert intents[1].idempotency_key == intents[2].idempotency_key
    assert sent == {intents[0].idempotency_key: 1, intents[1].idempotency_key: 2, intents[3].idempotency_key: 1}
    summary = summarize_ledger(path)
    assert (summary.answered, summary.resent, summary.unfinished, summary.paid_twice) == (3, 1, 0, 0)
