"""What a job's file must be beyond its schema, found out before anything is stored or paid for."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.jobs.faults import Fault, SpecificationError, shown
from tracescribe.runs.jobs.locating import EMBEDDED, beside, is_path, located
from tracescribe.runs.jobs.reading import in_order
from tracescribe.tracer.errors import OutputError, TracescribeError

if TYPE_CHECKING:
    from tracescribe.runs.agent_choice import PreparedAgent
    from tracescribe.runs.jobs.reading import JobFile
    from tracescribe.runs.jobs.specification import JobSpecification


def check_job(job: JobFile) -> PreparedAgent:
    """Check everything about a job but its prompts and graphs.

    Returns:
        The agent, planned.

    Raises:
        SpecificationError: all faults at once, in the order of the file.
    """
    faults: list[Fault] = []
    agent = _check_agent(job, faults)
    for check in _CHECKS:
        faults += check(job)
    if agent is not None:
        faults += _money(job, agent)
    if faults or agent is None:
        raise SpecificationError(in_order(faults))
    return agent


def _check_agent(job: JobFile, faults: list[Fault]) -> PreparedAgent | None:
    from tracescribe.agents.providers.spec import parse_agent_spec
    from tracescribe.runs.jobs.agent_options import LLM_FIELDS, planned_agent

    specification = located(job.specification, job.folder)
    agent = specification.agent
    if not job.specification.seeds:
        return None  # told by `_seeds`
    try:
        spec = parse_agent_spec(agent.spec)
    except TracescribeError as error:
        faults.append(job.fault("agent.spec", str(error)))
        return None
    before = len(faults)
    if spec.kind != "llm":
        for name in LLM_FIELDS:
            if getattr(agent, name) is not None:
                told = f"agent {spec.kind} asks no language model; leave it out, or choose another agent"
                faults.append(job.fault(f"agent.{name}", told))
    elif agent.agent_env:
        faults.append(job.fault("agent.agent_env", "names variables for exec: and python: agents alone; leave it out"))
    if spec.style is not None and agent.style is not None:
        told = f"the spec names the style {spec.style} already; leave one of them out"
        faults.append(job.fault("agent.style", told))
    for number, paraphrase in enumerate(agent.paraphrases):
        if not paraphrase.strip():
            faults.append(job.fault(f"agent.paraphrases.{number}", "found no word; expected the prompt in other words"))
    if len(faults) > before:
        return None
    try:
        return planned_agent(specification)
    except TracescribeError as error:
        faults.append(job.fault("agent.spec", str(error)))
        return None


def _money(job: JobFile, agent: PreparedAgent) -> Iterator[Fault]:
    from tracescribe.runs.jobs.agent_options import may_cost

    case, whole = job.specification.budget.case.usd, job.specification.budget.job.usd
    if not may_cost(agent):
        return
    if whole is not None and case is None:
        told = "a job's limit is kept by what each case may cost, and that has no limit"
        yield job.fault("budget.job.usd", told, "give budget.case.usd too")
    elif whole is not None and case is not None and case > whole:
        told = f"one case may cost {case:g} USD, the whole job {whole:g}: no case would ever begin"
        yield job.fault("budget.case.usd", told, "lower it, or raise budget.job.usd")


def money_notes(job: JobSpecification, agent: PreparedAgent) -> Iterator[str]:
    """What people should know about a limit in USD below what a request may cost, which is then never sent."""
    from tracescribe.runs.agent_choice import price_for

    limit = job.budget.case.usd
    price = None if agent.llm is None or limit is None else price_for(agent.llm.provider)
    if agent.llm is None or limit is None or price is None:
        return
    from tracescribe.agents.llm.estimates import one_request

    least, most = one_request(agent.llm, price)
    if limit < least:
        yield (
            f"budget.case.usd is {limit:g}, and one request may cost {least:.2g} to {most:.2g} USD: "
            "the language model will never be asked, and cases end without it; raise the limit"
        )
    elif limit < most:
        yield (
            f"budget.case.usd is {limit:g}, and one request may cost up to about {most:.2g} USD: "
            "larger requests than the limit has room for are not sent; raise it for whole reports"
        )


def _seeds(job: JobFile) -> Iterator[Fault]:
    seeds = job.specification.seeds
    if not seeds:
        yield job.fault("seeds", "found an empty list; expected at least one seed")
    for seed, count in Counter(seeds).items():
        if count > 1:
            yield job.fault("seeds", f"found {seed} {count} times; expected every seed once")


def _weights(job: JobFile) -> Iterator[Fault]:
    weights = job.specification.weights
    if not weights.load:
        if job.specification.prompts.graphs is None and job.specification.prompts.gold is None:
            told = "prompts cannot be traced without weights"
            yield job.fault("weights.load", told, "leave it out, or give prompts.graphs")
        return
    for name in ("model", "transcoders", "evidence"):
        value = getattr(weights, name)
        if value is None or value == EMBEDDED or (name != "evidence" and not is_path(value)):
            continue  # not given, ours, or the id of a model
        if not os.path.isdir(beside(job.folder, value)):
            yield job.fault(f"weights.{name}", f"no folder {beside(job.folder, value)}", "check the path")
    if weights.model != EMBEDDED and "transcoders" not in weights.model_fields_set:
        told = f"model {shown(weights.model).removeprefix('text ')} needs transcoders of its own, found none"
        yield job.fault("weights.model", told, "give weights.transcoders")


def _scoring(job: JobFile) -> Iterator[Fault]:
    from tracescribe.runs.jobs.gold_sources import open_gold_source
    from tracescribe.tracer.errors import GoldFormatError

    scoring, has_gold = job.specification.scoring, job.specification.prompts.gold is not None
    if scoring.gold is not None:
        if has_gold and scoring.gold != job.specification.prompts.gold:
            yield job.fault("scoring.gold", "prompts.gold is scored against that gold; leave one of them out")
        try:
            open_gold_source(job.folder, scoring.gold)
        except GoldFormatError as error:
            yield job.fault("scoring.gold", str(error))
    elif not has_gold and (scoring.metrics or scoring.interventions):
        field = "metrics" if scoring.metrics else "interventions"
        yield job.fault(f"scoring.{field}", "there is no gold to score against", "give scoring.gold")
    if scoring.interventions and not job.specification.weights.load:
        yield job.fault("scoring.interventions", "weights.load is false: there is no model to run")
    known = metric_names() if scoring.metrics else ()
    for number, name in enumerate(scoring.metrics):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
            yield job.fault(f"scoring.metrics.{number}", f"no score {shown(name).removeprefix('text ')}", hint)


def metric_names() -> tuple[str, ...]:
    """Scores that a job's summaries can show."""
    from tracescribe.evals.scorers import by_intervention
    from tracescribe.evals.scores import METRICS

    return tuple(dict.fromkeys(metric.name for metric in (*METRICS, *by_intervention.METRICS)))


def _privacy(job: JobFile) -> Iterator[Fault]:
    from tracescribe.tracer.pattern_rules import own_pattern
    from tracescribe.tracer.personal_patterns import PERSONAL

    privacy = job.specification.privacy
    for number, name in enumerate(privacy.patterns):
        if name not in PERSONAL:
            near = difflib.get_close_matches(name, PERSONAL, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(PERSONAL)}"
            yield job.fault(f"privacy.patterns.{number}", f"no pattern {shown(name).removeprefix('text ')}", hint)
    for name, expression in privacy.more.items():
        try:
            own_pattern(name, expression)
        except TracescribeError as error:
            yield job.fault(f"privacy.more.{name}", str(error))


def _executor(job: JobFile) -> Iterator[Fault]:
    if job.specification.executor.kind == "ray" and find_spec("ray") is None:
        told = "Ray is not installed"
        yield job.fault("executor.kind", told, "install it with: pip install 'tracescribe[ray]', or choose local")


def _output(job: JobFile) -> Iterator[Fault]:
    from tracescribe.runs.workspace import prepare_folder

    output = job.specification.output
    if output.folder is None:
        if output.export:
            yield job.fault("output.export", "there is no folder to export to", "give output.folder")
        return
    folder: Path = beside(job.folder, output.folder)
    try:
        prepare_folder(folder)
    except OutputError as error:
        yield job.fault("output.folder", str(error))


_CHECKS: tuple[Callable[[JobFile], Iterator[Fault]], ...] = (
    _seeds,
    _weights,
    _scoring,
    _privacy,
    _executor,
    _output,
)
