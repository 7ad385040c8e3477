"""Requests and leases for tests of the call log; run as a program it is a worker that asks one question.

python -m tests.runs.executors.asking STORE JOB SERVER QUESTION
"""

from __future__ import annotations

import sys
from typing import Any

from tests.agents.fake_server import Wire
from tests.agents.provider_rig import PROMPT, Word
from tracescribe.agents.budget import Budget, Meter
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.providers.completion import ChatMessage, Completion, CompletionRequest, Endpoint, Usage
from tracescribe.agents.providers.settings import ProviderSettings, make_client
from tracescribe.runs.executors.case_queue import lease_next
from tracescribe.runs.executors.contract import CaseLease
from tracescribe.runs.executors.leases import still_held
from tracescribe.runs.executors.liveness import WorkerWatch, new_worker_id, register
from tracescribe.runs.executors.store_call_log import StoreCallLog
from tracescribe.runs.store.database import Store, open_store, parse_address

COMPLETION = Completion(
    text='{"word": "Texas"}', finish="stop", usage=Usage(input_tokens=30, output_tokens=7), model="m", seconds=0.5
)


def request(text: str) -> CompletionRequest:
    """A request for one word."""
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


def leased(store: Store, job_id: str, worker_id: str | None = None) -> CaseLease:
    """The next case of a job, for a worker that is this process."""
    name = worker_id or new_worker_id()
    register(store, name, job_id=job_id)
    found = lease_next(store, job_id, name)
    assert isinstance(found, CaseLease)
    return found


def log_of(store: Store, lease: CaseLease, **given: Any) -> StoreCallLog:
    """The call log of a lease, as the case function opens it."""
    watch = WorkerWatch(store)
    return StoreCallLog(store, lease, lambda: still_held(store, lease), is_dead=watch.is_dead, **given)


def ask(log: StoreCallLog, url: str, question: str, wire: Wire = "openai") -> str:
    """Ask a server one question, through a session of its own."""
    settings = ProviderSettings.of(
        environment={}, provider=wire, model="fake-1", base_url=url, price_input=1000.0, price_output=1000.0
    )
    client = make_client(settings, {"TRACESCRIBE_LLM_API_KEY": "k"})
    try:
        session = LlmSession(settings, client, log, sleep=lambda _: None)
        return session.ask(PROMPT.model_copy(update={"user": question}), Word, Meter(Budget())).word
    finally:
        client.close()


def main() -> None:
    """Be a worker."""
    address, job_id, url, question = sys.argv[1:]
    store = open_store(parse_address(address))
    print(ask(log_of(store, leased(store, job_id)), url, question), flush=True)
    store.close()


if __name__ == "__main__":
    main()
