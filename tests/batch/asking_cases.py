"""Cases without a model: each asks a language model a few questions, and makes a file of the answers.

Everything around them is the real thing: the loop of workers, leases, the store's call log, artefacts, HTTP. They start
in a fraction of a second, so that kills of whole jobs are shown in the default suite too.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from tracescribe.agents.providers.completion import ChatMessage, Completion, CompletionRequest, Endpoint, Usage
from tracescribe.runs.executors.contract import CaseLease, CaseOutcome
from tracescribe.runs.executors.liveness import WorkerWatch
from tracescribe.runs.executors.store_call_log import StoreCallLog
from tracescribe.runs.jobs.records import CaseFigures
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import Store

QUESTIONS = 3


@dataclass(frozen=True)
class AskingCases:
    """The case function.

    Attributes:
        url: of a server that speaks Chat Completions.
    """

    url: str

    def __call__(self, lease: CaseLease, store: Store, still_ours: Callable[[], bool]) -> CaseOutcome:
        """Ask about the prompt, and about one that many cases have in common; keep the answers."""
        log = StoreCallLog(store, lease, still_ours, WorkerWatch(store).is_dead)
        texts = [f"{lease.case.prompt} {number}" for number in range(QUESTIONS)] + ["what everybody asks"]
        answers = [self._ask(log, text) for text in texts]
        content = json.dumps(answers).encode()
        files = (Artefact("report.json", "report", content), Artefact("same.md", "markdown", b"the same for all"))
        return CaseOutcome(files, CaseFigures(answer=answers[0], llm_calls=len(answers)), seconds=0.0)

    def _ask(self, log: StoreCallLog, text: str) -> str:
        request = CompletionRequest(
            endpoint=Endpoint(provider="openai", base_url=self.url, model="fake-1"),
            system="answer",
            messages=(ChatMessage(role="user", text=text),),
            schema_name="Answer",
            answer_schema={},
            max_tokens=10,
            template="test",
            template_sha256="0" * 64,
        )
        found = log.recorded(request.sha256) or log.intend(request, 1)
        if found is None:
            found = Completion(text=self._send(request), finish="stop", usage=Usage(), model="fake-1")
            log.answer(request.sha256, found, 0.001)
        return found.text

    def _send(self, request: CompletionRequest) -> str:
        turns = [{"role": "system", "content": request.system}]
        turns += [{"role": turn.role, "content": turn.text} for turn in request.messages]
        sent = urllib.request.Request(
            f"{self.url}/chat/completions",
            json.dumps({"model": "fake-1", "messages": turns}).encode(),
            {"content-type": "application/json", "idempotency-key": request.idempotency_key},
        )
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"])


def main() -> int:
    """`store job url`: work on a job with two processes until it is done."""
    from tracescribe.runs.executors.local_run import run_locally
    from tracescribe.runs.store.database import parse_address

    store, job_id, url = sys.argv[1:]
    end = run_locally(parse_address(store), job_id, AskingCases(url), workers=2)
    return 0 if end.status == "done" else 1


if __name__ == "__main__":
    sys.exit(main())
