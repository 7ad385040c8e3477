"""The benchmark as tasks of Inspect AI (inspect.aisi.org.uk): `inspect eval tracescribe/oracle -T agent=offline`.

Comes in: Inspect's samples, one for each gold circuit. Goes out: Inspect's scores, which are this product's. Agents run as
they do in `tracescribe bench run`: in worker processes, on the same graphs and budgets, with nothing of the gold. No gold
is written into Inspect's logs either: a sample holds the prompt and the circuit's id, and its target is empty.

Needs the extra `inspect`. The language model that Inspect is told (`--model`) is not asked: an agent brings its own, with
`-T agent=openai:MODEL`.
"""

# pyright: reportMissingImports=false
# inspect-ai is an extra

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from tracescribe.runs.inspect_bench import BatchedBench, shown_summary

if TYPE_CHECKING:
    from tracescribe.evals.benchmark.suites import Suite
    from tracescribe.evals.scorers.metric import Metric as OurMetric

NO_MODEL = "mockllm/model"
"""Inspect wants a model for every task; this one of its own answers without a network, and is never asked."""

_KEY = "tracescribe"
"""Where a sample's state keeps its result."""


@dataclass(frozen=True)
class _Asked:
    """What a task was told; see `oracle`."""

    agent: str
    seed: int
    limit: int | None
    tasks: str | None
    jobs: int
    seconds: float | None
    max_usd: float | None
    interventions: bool
    folder: str | None
    sensitive: bool = True


@task
def oracle(
    agent: str = "offline",
    seed: int = 0,
    limit: int | None = None,
    tasks: str | None = None,
    jobs: int = 1,
    seconds: float | None = None,
    max_usd: float | None = None,
    interventions: bool = False,
    folder: str | None = None,
) -> Task:
    """The embedded model's oracle circuits.

    Args:
        agent: a name or spec, as `tracescribe bench run --agents` takes it.
        seed: of every random draw.
        limit: most circuits of each task family.
        tasks: families with commas between them; all if None.
        jobs: worker processes.
        seconds, max_usd: limits of one case.
        interventions: also give the scores that run the model.
        folder: where reports and results go and are reused from; a temporary one if None.
    """
    return _task("oracle", _Asked(agent, seed, limit, tasks, jobs, seconds, max_usd, interventions, folder))


@task
def compiled(
    agent: str = "offline",
    seed: int = 0,
    limit: int | None = None,
    tasks: str | None = None,
    jobs: int = 1,
    seconds: float | None = None,
    max_usd: float | None = None,
    interventions: bool = False,
    folder: str | None = None,
) -> Task:
    """Small transformers into which an algorithm was written; they are built on first use. Arguments as for `oracle`."""
    return _task("compiled", _Asked(agent, seed, limit, tasks, jobs, seconds, max_usd, interventions, folder))


@task
def gold(
    path: str,
    agent: str = "offline",
    seed: int = 0,
    limit: int | None = None,
    tasks: str | None = None,
    jobs: int = 1,
    seconds: float | None = None,
    max_usd: float | None = None,
    interventions: bool = False,
    folder: str | None = None,
    sensitive: bool = True,
) -> Task:
    """Gold circuits of a file or folder, held-out ones among them. Other arguments as for `oracle`.

    Args:
        path: the file or folder.
        sensitive: False leaves out circuits whose prompts are about doing harm.
    """
    asked = _Asked(agent, seed, limit, tasks, jobs, seconds, max_usd, interventions, folder, sensitive)
    return _task(path, asked)


def _task(name: str, asked: _Asked) -> Task:
    from tracescribe.evals.benchmark.suites import Choice, choose
    from tracescribe.runs.bench_suites import Weights, open_suites

    families = tuple(part.strip() for part in asked.tasks.split(",")) if asked.tasks else ()
    (suite,) = choose(open_suites((name,), Weights()).suites, Choice(families, asked.limit, asked.sensitive))
    bench = BatchedBench.prepare(
        suite,
        asked.agent,
        asked.seed,
        jobs=asked.jobs,
        seconds=asked.seconds,
        max_usd=asked.max_usd,
        interventions=asked.interventions,
        folder=None if asked.folder is None else Path(asked.folder),
    )
    return Task(
        dataset=MemoryDataset(_samples(suite), name=suite.name),
        solver=interpret(bench),
        scorer=against_gold(),
        model=NO_MODEL,
        metadata={"agent": bench.agent, "seed": asked.seed, "suite": suite.name, "folder": str(bench.folder)},
        name=suite.name,
    )


def _samples(suite: Suite) -> list[Sample]:
    """A sample for each circuit, without anything of its gold but the id and what tables break down by."""
    return [
        Sample(
            input=circuit.prompt,
            target="",
            id=circuit.gold_id,
            metadata={"family": circuit.family, "tags": list(circuit.tags)},
        )
        for circuit in suite.circuits
    ]


@solver
def interpret(bench: BatchedBench) -> Solver:
    """Lets the agent interpret the sample's circuit; its summary becomes the sample's output."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        from anyio.to_thread import run_sync

        result = await run_sync(bench.result, str(state.sample_id), abandon_on_cancel=True)
        state.store.set(_KEY, result.model_dump(mode="json"))
        state.output = ModelOutput.from_content(bench.agent, shown_summary(bench.folder, result))
        state.completed = True
        return state

    return solve


@metric
def averages() -> Metric:
    """Averages as this product's leaderboard has them: pooled where counts are pooled, with 95 % intervals over cases."""

    def compute(scores: list[SampleScore]) -> dict[str, str | int | float | bool | None]:
        from tracescribe.evals.scores import Scores
        from tracescribe.evals.statistics.averages import average

        told = [one.score.metadata or {} for one in scores]
        found = [Scores.model_validate(one["scores"]) for one in told if one.get("scores") is not None]
        values: dict[str, str | int | float | bool | None] = {
            "scored": len(found),
            "failed": len(told) - len(found),
        }
        for headline in _shown():
            mean = average(found, headline) if found else None
            if mean is not None:
                values[headline.name] = mean.value
                values[f"{headline.name}.low"] = mean.low
                values[f"{headline.name}.high"] = mean.high
        return values

    return compute


@scorer(metrics=[averages()])
def against_gold() -> Scorer:
    """Every headline score of a case by name; a failed case has none, and says why."""

    async def score(state: TaskState, target: Target) -> Score:
        told = state.store.get(_KEY)
        if not isinstance(told, Mapping):
            return Score(value={"failed": 1}, explanation="the agent did not get to work", metadata={"scores": None})
        scores, failure = told["scores"], told["failure"]
        metadata: dict[str, Any] = {
            "scores": scores,
            "failure": failure,
            "cost": told["cost"],
            "report": told["report"],
        }
        if scores is None:
            why = "it failed" if failure is None else f"{failure['kind']}: {failure['message']}"
            return Score(value={"failed": 1}, explanation=why, metadata=metadata)
        return Score(value={"failed": 0, **_headlines(scores["values"])}, metadata=metadata)

    return score


def _shown() -> tuple[OurMetric, ...]:
    """The scores that short tables show, the overall one first."""
    from tracescribe.evals.scores import HEADLINES, METRICS

    return tuple(dict.fromkeys((*(metric for metric in METRICS if metric.name == "overall"), *HEADLINES)))


def _headlines(values: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Headline scores by name; NaN, which Inspect leaves out, where there was nothing to score."""
    found = {headline.name: values.get(headline.name, {}).get("value") for headline in _shown()}
    return {name: math.nan if value is None else float(value) for name, value in found.items()}
