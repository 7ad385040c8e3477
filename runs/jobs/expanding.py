"""From a job's file to its cases: redacted, numbered, and with the graphs that they interpret."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs import terminal
from tracescribe.runs.jobs.checking import check_job, money_notes
from tracescribe.runs.jobs.faults import Place, SpecificationError
from tracescribe.runs.jobs.known_words import unknown_words_note
from tracescribe.runs.jobs.locating import located
from tracescribe.runs.jobs.prompt_sources import MAX_FAULTS, SourcedCase, Sources, read_sources
from tracescribe.runs.jobs.specification import CaseSpecification, JobSpecification
from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from tracescribe.evals.gold import GoldSet
    from tracescribe.runs.agent_choice import PreparedAgent
    from tracescribe.runs.jobs.reading import JobFile
    from tracescribe.tracer.redaction import Redactor

MAX_TITLE = 120
"""Characters of a case's title."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"

KeepGraph = Callable[[str, Path, bytes], str]
"""Takes a case's id, the graph's file and its redacted bytes; gives their SHA-256."""
Progress = Callable[[int, int], None]


@dataclass(eq=False)
class PlannedJob:
    """A job that may be submitted: everything about it has been checked.

    Attributes:
        specification: redacted, paths absolute.
        agent: planned.
        sources: redacted prompts, and graph files.
        redactor: that its privacy asks for.
        gold: to score against; None for none.
        notes: what people should know before they submit.
    """

    specification: JobSpecification
    agent: PreparedAgent
    sources: list[SourcedCase]
    redactor: Redactor
    gold: GoldSet | None
    notes: list[str] = field(default_factory=list)

    @property
    def n_cases(self) -> int:
        """Every source once with each seed."""
        return len(self.sources) * len(self.specification.seeds)


def plan_job(
    job: JobFile, *, skip_bad: bool = False, deep: bool = True, progress: Progress | None = None
) -> PlannedJob:
    """Check a job and read what it interprets.

    Args:
        skip_bad: leave out what cannot be used of a source, and tell so, where that is not everything.
        deep: also read every graph.
        progress: told how many graphs have been read.

    Raises:
        SpecificationError: all faults at once.
    """
    from tracescribe.tracer.redaction import redactor_of

    agent = check_job(job)
    found = read_sources(job)
    if deep:
        _read_graphs(job, found, progress)
    notes = list(found.notes)
    if found.faults and not (skip_bad and found.cases):
        raise SpecificationError(found.faults)
    notes += [f"left out: {fault}" for fault in found.faults]
    privacy = job.specification.privacy
    redactor = redactor_of(privacy.patterns, privacy.more)
    cut: Counter[str] = Counter()
    places: dict[str, str] = {}
    sources = [_redacted(case, redactor, cut, places) for case in found.cases]
    for kind, count in sorted(cut.items()):
        notes.append(f"{count} {'prompt holds' if count == 1 else 'prompts hold'} what looks like {kind}: redacted")
    notes += _repeated(sources)
    notes += money_notes(job.specification, agent)
    gold = _gold(job, sources, notes)
    specification = _redacted_specification(located(job.specification, job.folder), redactor)
    unread = unknown_words_note(specification.weights.model, sources)
    notes += [] if unread is None else [unread]
    return PlannedJob(specification, agent, sources, redactor, gold, notes)


def new_job_id() -> str:
    """A new id: eight letters and digits, so that it is a file name and is typed with ease."""
    return "".join(secrets.choice(_LETTERS) for _ in range(8))


def cases_of(plan: PlannedJob, job_id: str, keep_graph: KeepGraph | None = None) -> Iterator[CaseSpecification]:
    """The cases of a job, one after the other.

    Args:
        keep_graph: stores a graph; None where the job has none.

    Raises:
        GraphFormatError: a graph file that has changed since it was checked.
    """
    position = 0
    for source in plan.sources:
        content = None if source.graph is None else graph_bytes(source.graph, plan.redactor)
        for seed in plan.specification.seeds:
            case_id = f"{job_id}.{position}"
            sha256 = None
            if content is not None:
                assert keep_graph is not None and source.graph is not None, "graphs are kept where there are any"
                sha256 = keep_graph(case_id, source.graph, content)
            key: dict[str, object] = {"seed": seed}
            key |= {"prompt": source.prompt} if sha256 is None else {"graph": sha256}
            yield CaseSpecification(
                case_id=case_id,
                case_key=sha256_json(key),
                title=_title(source),
                seed=seed,
                prompt=source.prompt,
                graph_sha256=sha256,
                source=source.source,
                gold_id=_gold_id(plan.gold, source),
                more={} if source.name is None else {"id": source.name},
            )
            position += 1


def graph_bytes(path: Path, redactor: Redactor) -> bytes:
    """A graph file as it is stored: read with all checks, redacted, in the JSON form.

    Raises:
        GraphFormatError: it is malformed.
    """
    from tracescribe.tracer.graph_files import read_graph_file
    from tracescribe.tracer.graph_json import dump, to_json
    from tracescribe.tracer.graph_redaction import redacted_graph

    return dump(to_json(redacted_graph(read_graph_file(path), redactor)), path)


def _read_graphs(job: JobFile, found: Sources, progress: Progress | None) -> None:
    """Read every graph once, so that one that cannot be used is told before anything is stored."""
    from tracescribe.tracer.graph_files import read_graph_file

    graphs = [case for case in found.cases if case.graph is not None]
    bad: set[int] = set()
    for number, case in enumerate(graphs, start=1):
        assert case.graph is not None, "chosen by it"
        try:
            read_graph_file(case.graph)
        except GraphFormatError as error:
            bad.add(id(case))
            found.fault(Place("prompts.graphs") if case.gold_id is None else case.place, "", str(error))
            if len(bad) >= MAX_FAULTS:
                found.fault(case.place, "", f"more than {MAX_FAULTS} graphs cannot be used; the rest was not read")
                break
        if progress is not None:
            progress(number, len(graphs))
    found.cases = [case for case in found.cases if id(case) not in bad]


def _redacted(case: SourcedCase, redactor: Redactor, cut: Counter[str], places: dict[str, str]) -> SourcedCase:
    """A source redacted; `places` holds names of files that were redacted before, without the number of the line."""
    prompt = None if case.prompt is None else redactor.text(case.prompt)
    name = None if case.name is None else redactor.text(case.name)
    if (prompt, name) != (case.prompt, case.name):
        cut.update(redactor.found(f"{case.prompt or ''}\n{case.name or ''}").keys())
    place = case.source.rstrip("0123456789")
    if place not in places:
        places[place] = redactor.text(place)
    source = places[place] + case.source[len(place) :]
    return SourcedCase(source, case.place, prompt, case.graph, name, case.gold_id)


def _redacted_specification(specification: JobSpecification, redactor: Redactor) -> JobSpecification:
    """What people write into a specification, redacted; names of files and agents stay what they are."""
    prompts, agent = specification.prompts, specification.agent
    inline = None if prompts.inline is None else tuple(map(redactor.text, prompts.inline))
    paraphrases = tuple(map(redactor.text, agent.paraphrases))
    return specification.model_copy(
        update={
            "name": terminal.one_line(redactor.text(specification.name))[:200] or "job",
            "prompts": prompts.model_copy(update={"inline": inline}),
            "agent": agent.model_copy(update={"paraphrases": paraphrases}),
        }
    )


def _repeated(sources: list[SourcedCase]) -> list[str]:
    counts = Counter(case.prompt for case in sources if case.prompt is not None)
    more = sum(count - 1 for count in counts.values())
    if not more:
        return []
    first = next(prompt for prompt, count in counts.items() if count > 1)
    told = "1 prompt repeats another" if more == 1 else f"{more} prompts repeat others"
    return [f"{told}, such as {first[:60]!r}: each is interpreted as often as it is given"]


def _gold(job: JobFile, sources: list[SourcedCase], notes: list[str]) -> GoldSet | None:
    from tracescribe.runs.jobs.gold_sources import open_gold_source

    name = job.specification.scoring.gold
    if name is None or job.specification.prompts.gold is not None:
        return None
    gold = open_gold_source(job.folder, name)[1]
    prompts = [case.prompt for case in sources if case.prompt is not None]
    known = {circuit.prompt for circuit in gold.circuits}
    without = sum(prompt not in known for prompt in prompts)
    if prompts and without == len(prompts):
        told = f"none of the {len(prompts)} prompts has gold there"
        hint = "'tracescribe gold list' shows what there is"
        raise SpecificationError([job.fault("scoring.gold", told, hint)])
    if without:
        notes.append(f"{without} of {len(prompts)} prompts have no gold: they are interpreted, and not scored")
    return gold


def _gold_id(gold: GoldSet | None, source: SourcedCase) -> str | None:
    if source.gold_id is not None or gold is None or source.prompt is None:
        return source.gold_id
    circuit = gold.of_prompt(source.prompt)
    return None if circuit is None else circuit.gold_id


def _title(source: SourcedCase) -> str:
    text = source.prompt if source.prompt is not None else source.name or source.source
    line = terminal.one_line(text)
    return line if len(line) <= MAX_TITLE else f"{line[: MAX_TITLE - 1]}…"
