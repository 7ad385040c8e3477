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
from tracescribe.agents.call_log import CallIntent, FileCallLog
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
from tracescribe.tracer.errors import OutputError

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


def session_on(url: str, path: Path) -> tuple[FileCallLog, Callable[[int], str], LanguageModelClient]:
    """A log on disk, a function that asks a session on it the n-th question, and the client to close."""
    settings = ProviderSettings.of(environment={}, provider="openai", model="m", base_url=url)
    log = FileCallLog(path)
    session = LlmSession(settings, make_client(settings, {}), log)

    def ask(number: int) -> str:
        prompt = RenderedPrompt(
            template="s@1.0.0", template_sha256="0" * 64, output_schema="Word", system="s", user=f"question {number}"
        )
        return session.ask(prompt, Word, Meter(Budget())).word

    return log, ask, session.client


def test_killed_while_waiting_it_sends_only_what_was_never_answered(tmp_path: Path) -> None:
    """A process is killed with -9 while its second request is in flight; the next one asks for that and the third."""
    waiting, release = threading.Event(), threading.Event()

    def script(question: Question) -> Reply:
        if question.user == "question 1" and not release.is_set():
            waiting.set()
            release.wait(30)
        return good({"word": question.user})

    path = tmp_path / "log.jsonl"
    with serving(script) as server:
        url = server.url("openai")
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, url, str(path)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert waiting.wait(60)
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=10)
        release.set()
        log, ask, client = session_on(url, path)
        open_before = log.in_flight()
        assert [ask(number) for number in range(3)] == ["question 0", "question 1", "question 2"]
        client.close()
        log.close()
        asked = [question.user for question in server.questions]
    assert asked == ["question 0", "question 1", "question 1", "question 2"]
    intents = [event for event in log.events if isinstance(event, CallIntent)]
    assert [event.resent for event in intents] == [False, False, True, False]
    assert open_before == (intents[2].request_sha256,)
