"""The call log in the store: one for all workers of all jobs, so that no answered request is ever paid for again.

    (none) ──intend──> in_flight ──answer──> answered      for good
                        │     ^
                      fail    └──intend: after a failure, or when the sender is gone (then marked as `resent`)
                        v     │
                       failed ┘

A request in flight at a live worker is waited for. Whether its sender is gone is decided by what the store says of the
worker and of the case that it sent for: whoever lost its lease sends nothing more. Every act is one durable transaction,
and an answer's bill is added to its case in the same one, so that limits see it at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tracescribe.agents.calls.call_events import CallAnswer, CallFailure, CallIntent, CallReuse, now_text
from tracescribe.agents.providers import errors as provider_errors
from tracescribe.agents.providers.errors import ProviderAccessError, TransientProviderError
from tracescribe.runs.executors.call_rows import (
    Busy,
    CallRow,
    find_call,
    note_answer,
    note_failure,
    note_reuse,
    take_call,
)
from tracescribe.runs.store.errors import LeaseLostError
from tracescribe.tracer.errors import BudgetExceededError, HaltError
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from tracescribe.agents.providers.completion import Completion, CompletionRequest
    from tracescribe.runs.executors.contract import CaseLease
    from tracescribe.runs.store.database import Store

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two looks at a request that another worker has sent."""


class ProviderFailedError(HaltError):
    """The language model gave no answer after all retries: this case cannot be interpreted now."""


class ProviderRefusedError(HaltError):
    """The language model refuses everything: the key is wrong, the credit is used up, or there is no such model."""


@dataclass(eq=False)
class StoreCallLog:
    """A `CallLog` for one case of a job. Safe to use from several threads.

    Attributes:
        store: where the calls are kept.
        owner: the lease under which is asked.
        still_ours: whether the lease still stands.
        is_dead: whether a worker is; asked again and again while it is waited for.
        reuse: whether answers of other jobs are used; else the job's requests have hashes of their own.
        seconds: that may be waited for others' answers in all, from now on; None for no limit.
    """

    store: Store
    owner: CaseLease
    still_ours: Callable[[], bool] = lambda: True
    is_dead: Callable[[str], bool] = lambda worker_id: False
    reuse: bool = True
    seconds: float | None = None
    _begun: float = field(default_factory=time.monotonic, repr=False)
    _gone: set[str] = field(default_factory=set, repr=False)
    _noted: set[str] = field(default_factory=set, repr=False)

    def recorded(self, request_sha256: str) -> Completion | None:
        """The recorded answer to this request, or None; waits while a live worker has it in flight.

        Raises:
            LeaseLostError: the case belongs to somebody else by now.
            BudgetExceededError: the case's seconds are over.
            StoreError: the store cannot be used.
        """
        key = self.key_of(request_sha256)
        row = self._when_settled(key)
        return self._taken(request_sha256, row) if row is not None and row.status == "answered" else None

    def intend(self, request: CompletionRequest, attempt: int) -> Completion | None:
        """Claim a request before it is sent; an answer that has come meanwhile is returned instead.

        Raises:
            LeaseLostError: the case belongs to somebody else by now; nothing may be sent.
            JobLimitError: the job's money is used up; nothing may be sent.
            BudgetExceededError: the case's seconds are over.
            StoreError: the store cannot be used.
        """
        sha256, endpoint = request.sha256, request.endpoint
        key = self.key_of(sha256)
        event = CallIntent(
            request_sha256=sha256,
            idempotency_key=request.idempotency_key,
            provider=endpoint.provider,
            base_url=endpoint.base_url,
            model=endpoint.model,
            template=request.template,
            template_sha256=request.template_sha256,
            attempt=attempt,
            at=now_text(),
        )
        at = time.time()
        while True:
            if not self.still_ours():
                raise self._lost()
            take = partial(take_call, key=key, owner=self.owner, event=event, gone=frozenset(self._gone), at=at)
            found = self.store.write(take, durable=True)
            if not isinstance(found, Busy):
                return None if found is None else self._taken(sha256, found)
            self._when_settled(key)

    def answer(self, request_sha256: str, completion: Completion, usd: float | None = None) -> None:
        """Record an answer and its bill before it is used.

        Raises:
            StoreError: the store cannot be used.
        """
        key = self.key_of(request_sha256)
        event = CallAnswer(request_sha256=request_sha256, completion=completion, usd=usd, at=now_text())
        at = time.time()
        self.store.write(lambda connection: note_answer(connection, key, self.owner, event, at), durable=True)

    def fail(self, request_sha256: str, error: str) -> None:
        """Record a request that brought no answer.

        Raises:
            ProviderFailedError: the provider failed after all retries; a report without the answer would tell less than
                the case holds.
            ProviderRefusedError: the next request would be refused too.
            StoreError: the store cannot be used.
        """
        key = self.key_of(request_sha256)
        event = CallFailure(request_sha256=request_sha256, error=error, at=now_text())
        at = time.time()
        self.store.write(lambda connection: note_failure(connection, key, self.owner, event, at), durable=True)
        name, _, message = error.partition(": ")
        kind = getattr(provider_errors, name, None)
        if isinstance(kind, type) and issubclass(kind, TransientProviderError):
            raise ProviderFailedError(message)
        if isinstance(kind, type) and issubclass(kind, ProviderAccessError):
            raise ProviderRefusedError(message)

    def key_of(self, request_sha256: str) -> str:
        """Under which hash a request is kept."""
        return request_sha256 if self.reuse else sha256_json([self.owner.job_id, request_sha256])

    # -- inside -------------------------------------------------------------------------------------------------------

    def _when_settled(self, key: str) -> CallRow | None:
        """A request's row once it is not in flight at a live worker."""
        pause = FIRST_PAUSE
        while True:
            row = self.store.read(lambda connection: find_call(connection, key))
            if row is None or row.status != "in_flight" or self._sender_is_gone(row):
                return row
            if not self.still_ours():
                raise self._lost()
            if self.seconds is not None and time.monotonic() - self._begun > self.seconds:
                raise BudgetExceededError(
                    f"budget for seconds is used up: {self.seconds:g} s have passed, and another worker still waits for the "
                    "answer to the same request; raise the seconds limit to go on"
                )
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)

    def _sender_is_gone(self, row: CallRow) -> bool:
        sender = row.worker_id
        if sender is None or sender == self.owner.worker_id or not row.is_leased or sender in self._gone:
            return True
        if not self.is_dead(sender):
            return False
        self._gone.add(sender)
        return True

    def _taken(self, request_sha256: str, row: CallRow) -> Completion:
        """An answer that is used; that it was another case's is noted once."""
        assert row.completion is not None, "an answered request has an answer"
        key = self.key_of(request_sha256)
        if row.case_id != self.owner.case_id and key not in self._noted:
            event = CallReuse(request_sha256=request_sha256, completion=row.completion, at=now_text())
            at = time.time()
            self.store.write(lambda connection: note_reuse(connection, key, self.owner, event, at))
            self._noted.add(key)
        return row.completion

    def _lost(self) -> LeaseLostError:
        return LeaseLostError(
            f"case {self.owner.case_id} does not belong to this worker any more; nothing more is sent"
        )
