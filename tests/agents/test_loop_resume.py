"""The loop goes on after it was stopped anywhere: the same report, the same registry, the same bill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.agent import Findings, Proposal, Revision
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import Claim, NecessityClaim
from tracescribe.agents.durable.errors import RunDamagedError, RunMismatchError
from tracescribe.agents.durable.registry_file import RegistryFile
from tracescribe.agents.durable.run_store import RunStore
from tracescribe.agents.findings import ExperimentPlan, FeatureLabel, Measurement, Supernode
from tracescribe.agents.loop import STEPS, LoopAgent, LoopSettings, graph_drawing
from tracescribe.agents.offline import OfflineProposer, offline_agent
from tracescribe.agents.registration import RegistryLogError
from tracescribe.agents.registry import ClaimRegistry
from tracescribe.agents.registry_log import LogLine
from tracescribe.agents.report import CircuitReport, validate_report
from tracescribe.agents.survey import Survey
from tracescribe.tracer.errors import InterventionError

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.toolbox import Toolbox

TOO_BOLD = 50.0
"""Nats that no ablation costs: a claim of so much comes back refuted."""
CASE = InterpretationCase("dallas", prompt=DALLAS)


class KilledError(BaseException):
    """Stands for a kill: nothing may catch it."""


@dataclass
class Killer:
    """A `Progress` that kills at the n-th beginning of a step."""

    at: int
    steps: list[str] = field(default_factory=list)

    def __call__(self, step: str, status: str, detail: str, seconds: float) -> None:
        if status == "start":
            if len(self.steps) == self.at:
                raise KilledError
            self.steps.append(step)


def timeless(report: CircuitReport) -> str:
    """The report as JSON without its times."""
    plain = report.model_dump(mode="json")
    plain["cost"] |= {"seconds": 0.0, "seconds_by_step": {}}
    return json.dumps(plain)


@dataclass(frozen=True)
class ThinkingProposer(OfflineProposer):
    """The offline proposer with few claims, of which one is too bold; it keeps notes, and revises as often as it may."""

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        tools.memory["turns"] = ["label"]
        return super().label(tools, survey)

    def hypothesise(
        self,
        tools: CaseTools,
        survey: Survey,
        labels: tuple[FeatureLabel, ...],
        supernodes: tuple[Supernode, ...],
    ) -> Proposal[Claim]:
        proposed = super().hypothesise(tools, survey, labels, supernodes).items
        bold = next(claim for claim in proposed if isinstance(claim, NecessityClaim))
        rest = [next(claim for claim in proposed if claim.kind == kind) for kind in ("swap", "label")]
        return Proposal((bold.model_copy(update={"min_effect": TOO_BOLD}), *rest))

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        turns = tools.memory["turns"]
        assert isinstance(turns, list)
        turns.append(f"revise {findings.rounds}, {len(findings.verdicts)} verdicts")
        # every round one new group: the strongest member of each next supernode, claimed necessary
        member = findings.supernodes[findings.rounds % 2].members[0]
        group = Supernode(
            supernode_id=tools.new_supernode_id(), label=str(turns), role="intermediate", members=(member,)
        )
        claim = NecessityClaim(
            claim_id=tools.new_claim_id(),
            statement=f"turn {len(turns)}",
            supernode=group.supernode_id,
            target_token=survey.target_token,
            min_effect=TOO_BOLD + 1.0 + findings.rounds,
        )
        return Revision((group,), (claim,))


AGENT = LoopAgent(ThinkingProposer(), LoopSettings(max_rounds=2))


@pytest.fixture(scope="module")
def undisturbed(embedded_toolbox: Toolbox) -> str:
    return timeless(AGENT.interpret(CASE, embedded_toolbox, Budget()))


def test_a_kept_run_gives_the_report_of_one_in_memory(
    embedded_toolbox: Toolbox, undisturbed: str, tmp_path: Path
) -> None:
    store = RunStore(tmp_path)
    report = AGENT.interpret(CASE, embedded_toolbox, Budget(), store=store)
    validate_report(report)
    assert timeless(report) == undisturbed
    # until the run is told to be finished, the same call gives the same report, and runs no step
    killer = Killer(at=1)
    assert AGENT.interpret(CASE, embedded_toolbox, Budget(), killer, store) == report
    assert killer.steps == ["trace"]
    store.finish()
    with pytest.raises(KilledError):
        AGENT.interpret(CASE, embedded_toolbox, Budget(), Killer(at=2), store)


def test_killed_at_the_beginning_of_every_step(embedded_toolbox: Toolbox, undisturbed: str, tmp_path: Path) -> None:
    """One run, killed as often as it has steps: every process does one of them."""
    store, done = RunStore(tmp_path), list[str]()
    while True:
        killer = Killer(at=2)  # opening the case, and one step
        try:
            report = AGENT.interpret(CASE, embedded_toolbox, Budget(), killer, store)
        except KilledError:
            done += killer.steps[1:]
            continue
        break
    assert timeless(report) == undisturbed
    rounds = ["register", "experiment", "judge", "assess", "revise"]
    assert done == [*STEPS[1:-1], *rounds, *rounds]
    assert set(report.cost.seconds_by_step) == set(STEPS) - {"report"}


def test_killed_after_every_line_of_the_registry(
    embedded_toolbox: Toolbox, undisturbed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was fixed or measured is lost, and nothing is measured twice."""
    write = RegistryFile.append

    def write_and_die(log: RegistryFile, line: LogLine, *, lasting: bool) -> None:
        write(log, line, lasting=lasting)
        raise KilledError

    measured, measure = list[str](), ClaimRegistry.measure

    def note_and_measure(registry: ClaimRegistry, plan: ExperimentPlan, measurement: Measurement) -> None:
        measured.append(plan.claim_id)
        measure(registry, plan, measurement)

    monkeypatch.setattr(RegistryFile, "append", write_and_die)
    monkeypatch.setattr(ClaimRegistry, "measure", note_and_measure)
    store, kills = RunStore(tmp_path), 0
    while True:
        try:
            report = AGENT.interpret(CASE, embedded_toolbox, Budget(), store=store)
        except KilledError:
            kills += 1
            continue
        break
    assert timeless(report) == undisturbed
    assert kills == len(report.registry)
    assert sorted(measured) == sorted(plan.claim_id for plan in report.plans)
    lines = (tmp_path / "registry.jsonl").read_text().splitlines()
    told = [json.loads(line)["entry"] for line in lines]
    assert told == [entry.model_dump(mode="json") for entry in report.registry]
    assert len({(entry["event"], entry["subject"]) for entry in told}) == len(told)


@pytest.fixture
def half_done(embedded_toolbox: Toolbox, tmp_path: Path) -> RunStore:
    """A run that was killed before it was judged."""
    store = RunStore(tmp_path)
    with pytest.raises(KilledError):
        AGENT.interpret(CASE, embedded_toolbox, Budget(), Killer(at=STEPS.index("judge")), store)
    return store


@pytest.mark.parametrize(
    ("agent", "budget"),
    [
        (AGENT, Budget(experiments=3)),
        (LoopAgent(ThinkingProposer(), LoopSettings(max_rounds=2, seed=1)), Budget()),
        (offline_agent(), Budget()),
    ],
)
def test_a_run_of_something_else_is_refused(
    embedded_toolbox: Toolbox, half_done: RunStore, agent: LoopAgent, budget: Budget
) -> None:
    with pytest.raises(RunMismatchError, match="throw it away with --fresh"):
        agent.interpret(CASE, embedded_toolbox, budget, store=half_done)


def test_a_log_that_lost_lines_is_refused(embedded_toolbox: Toolbox, half_done: RunStore) -> None:
    path = half_done.folder / "registry.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(RegistryLogError, match="does not fit the checkpoint: .* start again with --fresh"):
        AGENT.interpret(CASE, embedded_toolbox, Budget(), store=half_done)
    half_done.fresh()
    AGENT.interpret(CASE, embedded_toolbox, Budget(experiments=0), store=half_done)


def test_a_damaged_checkpoint_is_refused(embedded_toolbox: Toolbox, half_done: RunStore) -> None:
    for name in ("checkpoints.sqlite-wal", "checkpoints.sqlite-shm"):
        (half_done.folder / name).unlink(missing_ok=True)
    (half_done.folder / "checkpoints.sqlite").write_bytes(b"\xa5" * 8192)
    with pytest.raises(RunDamagedError, match="cannot be read .* start again with --fresh"):
        AGENT.interpret(CASE, embedded_toolbox, Budget(), store=half_done)


def test_the_limit_on_seconds_counts_earlier_processes(embedded_toolbox: Toolbox, tmp_path: Path) -> None:
    store, budget = RunStore(tmp_path), Budget(seconds=1000.0)
    with pytest.raises(KilledError):
        AGENT.interpret(CASE, embedded_toolbox, budget, Killer(at=STEPS.index("experiment")), store)
    (tmp_path / "clock").write_text(f"{2000.0:<24.6f}")  # it went on for long, and died
    report = AGENT.interpret(CASE, embedded_toolbox, budget, store=store)
    assert report.cost.seconds >= 2000.0
    assert report.stopped is not None and report.stopped.reason == "budget"
    assert report.cut_short is not None and "seconds" in report.cut_short


def test_a_step_that_raises_is_taken_up_again(
    embedded_toolbox: Toolbox, undisturbed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that ends the run leaves it as a kill does."""
    store = RunStore(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr("tracescribe.agents.testing.verdicts.judge", _fail)
        with pytest.raises(InterventionError, match="broken"):
            AGENT.interpret(CASE, embedded_toolbox, Budget(), store=store)
    assert timeless(AGENT.interpret(CASE, embedded_toolbox, Budget(), store=store)) == undisturbed


def _fail(*_: object) -> Iterator[Claim]:
    raise InterventionError("broken")


def test_the_graph_is_drawn_without_a_model() -> None:
    drawing = graph_drawing()
    assert set(drawing.nodes) == {"__start__", "__end__", *STEPS[1:]}
    ways = {(edge.source, edge.destination): edge.conditional for edge in drawing.edges}
    assert ways["revise", "register"] and ways["revise", "report"]
    assert [way for way, conditional in ways.items() if conditional] == [("revise", "register"), ("revise", "report")]
    assert all(ways[here, there] is False for here, there in pairwise(STEPS[1:]) if here != "revise")
    assert all(name in drawing.mermaid for name in STEPS[1:])
    assert drawing.as_json()["nodes"] == drawing.nodes
