"""The work of a batch job: one case from its prompt or graph to a report, in a worker that keeps its weights loaded.

    graph -> agent (its run kept in scratch, its claims witnessed, its calls in the store) -> scores -> artefacts, figures

A case that was cut off goes on: from its scratch folder on the same machine, and from recorded answers anywhere. What
ends a run early without being the case's own fault (a lost lease, an absent store, a provider that is down) is a
`HaltError`: it leaves the scratch as it was after the last step, so that nothing of the trouble enters a report.
"""

from __future__ import annotations

import gc
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tracescribe.agents.durable.errors import RunDamagedError, RunLockedError, RunMismatchError, RunUnwritableError
from tracescribe.agents.external.errors import ExternalAgentError
from tracescribe.agents.providers.errors import ProviderSetupError
from tracescribe.agents.registration import RegistryLogError, RegistryUnheardError
from tracescribe.runs.executors.call_ledger import case_ledger, provider_is_down
from tracescribe.runs.executors.call_rows import JobLimitError
from tracescribe.runs.executors.case_graph import case_graph
from tracescribe.runs.executors.case_modules import modules_of_cases
from tracescribe.runs.executors.case_results import case_artefacts, case_figures, case_listing
from tracescribe.runs.executors.case_scoring import CaseScores, gold_of, score_case
from tracescribe.runs.executors.case_weights import LoadedWeights, WrongWeightsError, check_weights, load_weights
from tracescribe.runs.executors.contract import CaseFailed, CaseOutcome
from tracescribe.runs.executors.liveness import WorkerWatch
from tracescribe.runs.executors.scratch import case_scratch, remove_scratch
from tracescribe.runs.executors.store_call_log import ProviderFailedError, ProviderRefusedError, StoreCallLog
from tracescribe.runs.jobs.agent_options import budget_of, choice_of
from tracescribe.runs.store.errors import StoreError, StoreFullError, StoreReadOnlyError
from tracescribe.tracer.errors import (
    BudgetExceededError,
    HaltError,
    InputError,
    OutputError,
    ProviderError,
    TracescribeError,
)
from tracescribe.tracer.graph_redaction import redacted_graph
from tracescribe.tracer.redaction import Redactor, redacting, redactor_of

if TYPE_CHECKING:
    from pathlib import Path

    from tracescribe.agents.budget import Budget
    from tracescribe.agents.report import CircuitReport
    from tracescribe.evals.gold import GoldSet
    from tracescribe.runs.agent_choice import PreparedAgent
    from tracescribe.runs.executors.contract import CaseLease
    from tracescribe.runs.jobs.records import FailureKind
    from tracescribe.runs.jobs.specification import JobSpecification
    from tracescribe.runs.store.database import Store
    from tracescribe.tracer.graph import AttributionGraph

logger = logging.getLogger(__name__)

FAILED_IN_A_ROW = 3
"""Cases of a job that the provider fails one after another, with no answer between them, before the job is stopped."""
CASE = "case"
"""Every case's name to its agent, as `tracescribe interpret` has it: a name would tell, and reports would differ by it."""


@dataclass(eq=False)
class InterpretCases:
    """A `CaseFunction`. Picklable; what it has loaded stays behind.

    Attributes:
        agent: the job's, so that the template of workers loads what it needs; empty for what every agent needs.
    """

    agent: str = ""
    _prepared: _Prepared | None = field(default=None, repr=False)

    @property
    def preload(self) -> tuple[str, ...]:
        """Modules that the template imports before workers are forked from it."""
        return modules_of_cases(self.agent)

    def __getstate__(self) -> dict[str, Any]:
        return {"agent": self.agent, "_prepared": None}

    def prepare(self, job: JobSpecification, store: Store) -> None:
        """Load what all cases of a job need.

        Raises:
            InputError: the weights or the gold cannot be used.
            WorkError: the evidence is of other weights.
        """
        before = self._prepared
        if before is not None and before.job == job and before.store is store:
            return
        loaded = None if before is None or before.loaded.weights != job.weights else before.unredacted
        before = self._prepared = None  # so that never two models are in memory
        redactor = redactor_of(job.privacy.patterns, job.privacy.more)
        unredacted = loaded or load_weights(job.weights)
        shown = replace(unredacted, toolbox=unredacted.toolbox.redacted(redactor))
        self._prepared = _Prepared(job, store, shown, unredacted, gold_of(job), redactor, WorkerWatch(store))

    def __call__(self, lease: CaseLease, store: Store, still_ours: Callable[[], bool]) -> CaseOutcome:
        """Carry out one case.

        Raises:
            LeaseLostError: the lease does not stand any more.
            StoreError: the store, or the disk of the scratch folder, cannot be used.
        """
        self.prepare(lease.job, store)
        assert self._prepared is not None
        start = time.monotonic()
        with redacting(self._prepared.redactor):
            outcome = _Case(self._prepared, lease, store, still_ours).outcome()
        gc.collect()  # graphs hold cycles; weights are out of its sight
        return replace(outcome, seconds=round(time.monotonic() - start, 3))


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What all cases of a job share in one worker.

    Attributes:
        loaded: weights, and evidence that shows nothing which must not be written.
        unredacted: the same for a job that redacts other things.
    """

    job: JobSpecification
    store: Store
    loaded: LoadedWeights
    unredacted: LoadedWeights
    gold: GoldSet | None
    redactor: Redactor
    watch: WorkerWatch


@dataclass(eq=False)
class _Case:
    """One case on its way."""

    shared: _Prepared
    lease: CaseLease
    store: Store
    still_ours: Callable[[], bool]

    def outcome(self) -> CaseOutcome:
        """What comes of it; its kinds of trouble sorted."""
        try:
            check_weights(self.store, self.lease, self.shared.loaded)
            return self._interpreted()
        except (WrongWeightsError, ProviderRefusedError, ProviderSetupError, JobLimitError) as error:
            return CaseOutcome(stop=self._said(error))
        except ProviderFailedError as error:
            return self._provider_failed(error)
        except ProviderError as error:  # raised outside the loop: the server does not even say which models it has
            return self._provider_failed(error)
        except RegistryUnheardError as error:
            raise _store_trouble(error) from error
        except sqlite3.Error as error:
            raise _disk_trouble(error) from error
        except RunDamagedError as error:  # a new one, in an empty folder
            raise _disk_trouble(error) from error
        except (RunUnwritableError, OutputError) as error:
            raise _unwritable(error) from error
        except BudgetExceededError as error:
            return self._failed("budget", error)
        except InputError as error:
            return self._failed("input", error)
        except ExternalAgentError as error:
            return self._failed("timeout" if error.failure_kind == "timeout" else "error", error)
        except (HaltError, OSError):
            raise
        except Exception as error:  # a case that fails is a result, told in words that may be written
            logger.info("case %s failed", self.lease.case_id, exc_info=True)
            return self._failed("error", error)

    def _interpreted(self) -> CaseOutcome:
        from tracescribe.runs.agent_choice import prepare_agent

        job = self.lease.job
        budget = budget_of(job.budget.case)
        chosen = prepare_agent(choice_of(job.agent, self.lease.case.seed), max_usd=budget.usd)
        graph = redacted_graph(case_graph(self.store, self.lease, self.shared.loaded), self.shared.redactor)
        calls = StoreCallLog(
            self.store,
            self.lease,
            self.still_ours,
            is_dead=self.shared.watch.is_dead,
            reuse=job.reuse_answers,
            seconds=budget.seconds,
        )
        report = self._report(chosen, graph, calls, budget)
        if chosen.llm is not None and self._nothing_was_answered():
            # not kept in scratch: whoever goes on would take it for the case's report
            remove_scratch(self.store, self.lease.case_id)
            return self._provider_failed(ProviderFailedError(_first_failure(report)))
        try:
            scores = score_case(self.lease, report, graph, self.shared.loaded.toolbox, self.shared.gold)
            failure = None
        except StoreError:
            raise
        except TracescribeError as error:
            scores, failure = CaseScores(), CaseFailed("scoring", self._said(error))
        artefacts = case_artefacts(self.store, self.lease, report, graph, self.shared.loaded.toolbox.look_up)
        listing = case_listing(report, artefacts, scores)
        return CaseOutcome(artefacts=artefacts, figures=case_figures(report, scores), failure=failure, listing=listing)

    def _report(
        self, chosen: PreparedAgent, graph: AttributionGraph, calls: StoreCallLog, budget: Budget
    ) -> CircuitReport:
        """Let the agent interpret, going on with what an earlier attempt left; a run that cannot be gone on with is begun
        anew, and one that a process which will not die still holds is left to it."""
        from tracescribe.agents.case import InterpretationCase
        from tracescribe.agents.durable.run_store import RunStore
        from tracescribe.runs.audit import ClaimWitness

        lease = self.lease
        witness = ClaimWitness(self.store, lease.job_id, lease.case_id, lease.worker_id)
        folder = case_scratch(self.store, lease.case_id) / "run"
        case = InterpretationCase(case_id=CASE, graph=graph)

        def interpret(where: Path) -> CircuitReport:
            with chosen.enter(calls) as agent:
                kept = RunStore(where, listener=witness, flush=False)  # paid answers are flushed, in the store
                return agent.interpret(case, self.shared.loaded.toolbox, budget, store=kept)

        try:
            report = interpret(folder)
        except RegistryUnheardError:
            raise
        except (RunMismatchError, RunDamagedError, RegistryLogError):
            RunStore(folder).fresh()
            report = interpret(folder)
        except RunLockedError:
            report = interpret(folder.with_name(f"run-{lease.attempt}"))
        witness.verdicts(report)
        return report

    def _nothing_was_answered(self) -> bool:
        """Whether the server refused all that was asked for this case, in this process or before it."""
        ledger = case_ledger(self.store, self.lease.case_id)
        return ledger.failed > 0 and not ledger.answered and not ledger.reused

    def _provider_failed(self, error: TracescribeError) -> CaseOutcome:
        job_id, case_id = self.lease.job_id, self.lease.case_id
        down = self.store.read(lambda connection: provider_is_down(connection, job_id, case_id, cases=FAILED_IN_A_ROW))
        if not down:
            return self._failed("provider", error)
        told = f"the language model failed {FAILED_IN_A_ROW} cases in a row: {self._said(error)}"
        return CaseOutcome(
            stop=f"{told}; once it answers: tracescribe jobs resume {job_id}, and jobs retry {job_id} for what failed"
        )

    def _failed(self, kind: FailureKind, error: Exception) -> CaseOutcome:
        return CaseOutcome(failure=CaseFailed(kind, self._said(error)))

    def _said(self, error: Exception) -> str:
        """An error's words as they may be written."""
        words = " ".join(str(error).split())
        told = words if isinstance(error, TracescribeError) else f"{type(error).__name__}: {words}"
        return self.shared.redactor.text(told)


def _first_failure(report: CircuitReport) -> str:
    return report.failures[0].error if report.failures else "the server refused every request"


def _store_trouble(error: RegistryUnheardError) -> BaseException:
    """Why the audit log could not hear of a claim."""
    return error.__cause__ if isinstance(error.__cause__, StoreError) else StoreError(str(error))


def _unwritable(error: TracescribeError) -> Exception:
    """Why a file of the run could not be written: the worker knows disks that are full or read-only."""
    return error.__cause__ if isinstance(error.__cause__, OSError) else StoreFullError(str(error))


def _disk_trouble(error: sqlite3.Error | RunDamagedError) -> StoreError:
    """What a fault of the run's own database says of the disk under the scratch folder."""
    words = str(error)
    if "full" in words:
        return StoreFullError(
            f"no space is left for the scratch folder ({words}); free some, then: tracescribe jobs resume"
        )
    if "readonly" in words or "read-only" in words:
        return StoreReadOnlyError(f"the scratch folder cannot be written to ({words}); see to its disk")
    return StoreError(f"the scratch folder cannot be used ({words}); see to its disk, then: tracescribe jobs resume")
