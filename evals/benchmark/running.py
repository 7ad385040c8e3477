"""The benchmark: agents times gold circuits, in worker processes, each result written down and never computed twice.

Every case ends in one file, written atomically once it is scored, so that a run that is killed at any moment loses the
cases of that moment at most; run again with the same folder, it goes on where it stopped. A case that fails is recorded
as failed: it enters no average, every table tells how many there were, and the next run tries it again.

Agents work in worker processes and meet graphs and weights alone. Gold stays in this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracescribe.evals.benchmark.results import CaseResult
from tracescribe.evals.benchmark.settings import BenchProgress, Note, RunSettings
from tracescribe.evals.benchmark.store import BenchStore, Manifest, folder_name, manifest_of
from tracescribe.evals.benchmark.suites import Suite
from tracescribe.evals.benchmark.work import Contestant
from tracescribe.evals.scorers.label_similarity import NO_RATERS, LabelRaters
from tracescribe.evals.scores import Scores
from tracescribe.tracer.errors import SettingError

__all__ = ["BenchProgress", "BenchResult", "Note", "RunSettings", "read_bench", "run_bench"]


def _silent(done: int, total: int, result: CaseResult, reused: bool) -> None:
    """A `BenchProgress` that tells nobody."""


def _unnoted(text: str) -> None:
    """A `Note` that nobody reads."""


@dataclass(frozen=True)
class BenchResult:
    """Results of a benchmark.

    Attributes:
        folder: where they lie.
        manifest: what was asked for.
        results: by circuit, then by seed, then by agent, in the manifest's order; cases that were not run are missing.
        damaged: files in the folder that could not be used, in words.
    """

    folder: Path
    manifest: Manifest
    results: tuple[CaseResult, ...]
    damaged: tuple[str, ...] = ()

    def of(self, agent: str) -> tuple[CaseResult, ...]:
        """Results of one agent."""
        return tuple(result for result in self.results if result.agent == agent)

    def failures(self, agent: str | None = None) -> tuple[CaseResult, ...]:
        """Cases that an agent, or any agent, failed."""
        return tuple(r for r in self.results if r.status == "failed" and agent in (None, r.agent))

    def stability(self, suite: str) -> Mapping[str, Sequence[Scores]]:
        """What repeated seeds agree on, by agent and circuit; empty with one seed.

        Raises:
            OutputError: a report is missing.
            ReportError: a report is damaged.
        """
        from tracescribe.evals.stability_scores import stability_of

        if len(self.manifest.seeds) < 2:
            return {}
        return stability_of([result for result in self.results if result.suite == suite], self.folder)

    @property
    def missing(self) -> int:
        """Cases that were asked for and have no result."""
        return self.manifest.total - len(self.results)


def run_bench(
    contestants: Sequence[Contestant],
    suites: Sequence[Suite],
    store: BenchStore,
    settings: RunSettings | None = None,
    progress: BenchProgress = _silent,
    note: Note = _unnoted,
    raters: LabelRaters = NO_RATERS,
) -> BenchResult:
    """Run agents on gold circuits and score their reports.

    Args:
        contestants: with different names; every one gets the same graphs, weights and budget, and nothing of the gold.
        suites: with different names.
        store: where results go, and where those of an earlier run are looked for.
        raters: who rates names beyond their words.

    Raises:
        SettingError: no agents or suites, or two of one name.
        GoldFormatError: gold of other weights, or one that its graph contradicts.
        InputError: a prompt, weights or a graph that cannot be read.
        OutputError: the folder cannot be written to, or another process works in it.
        WorkError: worker processes cannot be started.
    """
    settings = settings or RunSettings()
    _check_names("agents", [contestant.name for contestant in contestants])
    _check_names("suites", [suite.name for suite in suites])
    manifest = manifest_of(tuple(suites), tuple(contestant.name for contestant in contestants), settings.seeds)
    told = {
        "budget": settings.budget.model_dump(mode="json"),
        "case_seconds": settings.limit,
        "interventions": settings.interventions,
        "shufflings": settings.shufflings,
    }
    from tracescribe.evals.benchmark.scheduling import Schedule

    with store.lock():
        if not settings.reuse:
            store.clear()
        store.write_manifest(manifest.model_copy(update={"settings": told}))
        Schedule(contestants, suites, store, settings, progress, note, raters).run()
        return read_bench(store)


def read_bench(store: BenchStore) -> BenchResult:
    """What a folder holds of the run that it was last asked for, finished or not.

    Raises:
        InputError: the folder holds no benchmark.
    """
    manifest = store.read_manifest()
    results: list[CaseResult] = []
    damaged: list[str] = []
    for suite in manifest.suites:
        for circuit in suite.circuits:
            for seed in manifest.seeds:
                for agent in manifest.agents:
                    found = store.read_result(suite.name, agent, seed, circuit.gold_id)
                    if isinstance(found, CaseResult):
                        results.append(found)
                    elif found is not None:
                        damaged.append(found)
    return BenchResult(store.folder, manifest, tuple(results), tuple(damaged))


def _check_names(what: str, names: Sequence[str]) -> None:
    if not names:
        raise SettingError(f"a benchmark needs {what}; found none")
    folders = [folder_name(name) for name in names]
    twice = [name for name, folder in zip(names, folders, strict=True) if folders.count(folder) > 1]
    if twice:
        raise SettingError(f"{what} need different names, found {twice[0]!r} more than once; leave one out")
