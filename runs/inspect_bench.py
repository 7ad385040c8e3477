"""Runs the benchmark for a harness that asks for one case at a time, from several threads.

Workers take seconds to load a model, so that cases are not run one by one: whatever has been asked for meanwhile is run
together.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.tracer.errors import TracescribeError, UnknownIdError, WorkError

if TYPE_CHECKING:
    from tracescribe.evals.benchmark.results import CaseResult
    from tracescribe.evals.benchmark.running import RunSettings
    from tracescribe.evals.benchmark.suites import Suite
    from tracescribe.evals.benchmark.work import Contestant

GATHER_SECONDS = 0.5
"""How long a batch waits for others to ask: a harness begins its samples within milliseconds of each other."""


@dataclass(eq=False, repr=False)
class BatchedBench:
    """One agent on one suite, case by case as they are asked for.

    Attributes:
        suite: with all circuits that may be asked for.
        contestant: the agent.
        settings: one seed.
        folder: where graphs, reports and results go.
    """

    suite: Suite
    contestant: Contestant
    settings: RunSettings
    folder: Path
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _wanted: list[str] = field(default_factory=list)
    _found: dict[str, CaseResult | TracescribeError] = field(default_factory=dict)
    _busy: bool = field(default=False)

    @classmethod
    def prepare(
        cls,
        suite: Suite,
        agent: str,
        seed: int,
        *,
        jobs: int,
        seconds: float | None,
        max_usd: float | None,
        interventions: bool,
        folder: Path | None,
    ) -> BatchedBench:
        """Check everything that can be checked before an agent works.

        Raises:
            InputError: no such agent, or settings that do not belong together.
        """
        from tracescribe.evals.benchmark.running import RunSettings
        from tracescribe.runs.agent_choice import AgentChoice, budget_with
        from tracescribe.runs.bench_agents import contestants

        (contestant,) = contestants((AgentChoice(spec=agent, seed=seed),), max_usd=max_usd)
        budget = budget_with(seconds=seconds, max_usd=max_usd)
        # chance is measured by `bench run`; here it would be thrown away
        settings = RunSettings(seeds=(seed,), budget=budget, jobs=jobs, interventions=interventions, shufflings=0)
        where = folder or Path(tempfile.mkdtemp(prefix="tracescribe-inspect-"))
        return cls(suite, contestant, settings, where.expanduser().absolute())

    def __repr__(self) -> str:
        # harnesses write what they are given into logs: gold must not be in it
        return f"BatchedBench({self.agent!r} on {self.suite.name!r})"

    @property
    def agent(self) -> str:
        """The agent's name."""
        return self.contestant.name

    def result(self, gold_id: str) -> CaseResult:
        """Run a case, or wait until another thread has run it.

        Raises:
            UnknownIdError: the suite has no such circuit.
            TracescribeError: the benchmark itself failed; an agent that fails is a result.
        """
        if gold_id not in {circuit.gold_id for circuit in self.suite.circuits}:
            raise UnknownIdError(f"gold circuit {gold_id!r} is not in suite {self.suite.name!r}")
        with self._lock:
            if gold_id not in self._found and gold_id not in self._wanted:
                self._wanted.append(gold_id)
        while True:
            with self._lock:
                self._lock.wait_for(lambda: gold_id in self._found or not self._busy)
                if gold_id in self._found:
                    break
                self._busy = True
            self._run_batch()
        found = self._found[gold_id]
        if isinstance(found, TracescribeError):
            raise found
        return found

    def _run_batch(self) -> None:
        """Run all cases that are wanted by now; this thread alone does so."""
        threading.Event().wait(GATHER_SECONDS)
        with self._lock:
            batch, self._wanted = self._wanted, []
        found: dict[str, CaseResult | TracescribeError] = {}
        try:
            found |= self._run(frozenset(batch))
        except TracescribeError as error:
            found |= dict.fromkeys(batch, error)
        finally:
            missing = WorkError("the benchmark ended without this case; see its folder")
            with self._lock:
                self._found |= {gold_id: found.get(gold_id, missing) for gold_id in batch}
                self._busy = False
                self._lock.notify_all()

    def _run(self, gold_ids: frozenset[str]) -> dict[str, CaseResult]:
        from tracescribe.evals.benchmark.running import run_bench
        from tracescribe.evals.benchmark.store import BenchStore
        from tracescribe.evals.benchmark.suites import Suite

        if not gold_ids:
            return {}
        parts = [
            replace(part, circuits=tuple(circuit for circuit in part.circuits if circuit.gold_id in gold_ids))
            for part in self.suite.parts
        ]
        suite = Suite(self.suite.name, tuple(part for part in parts if part.circuits))
        done = run_bench((self.contestant,), (suite,), BenchStore(self.folder), self.settings)
        return {result.gold_id: result for result in done.results}


def shown_summary(folder: Path, result: CaseResult) -> str:
    """What an agent says of a case in sentences, or why it failed."""
    from tracescribe.agents.report import parse_report

    if result.failure is not None:
        return f"failed: {result.failure.kind}: {result.failure.message}"
    if result.report is None:
        return ""
    report = parse_report((folder / result.report).read_text(encoding="utf-8"))
    return " ".join(sentence.text for sentence in report.summary)
