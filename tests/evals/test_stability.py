"""Stability: what counts as the same claim, what as a flip, and how stable the offline agent is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tracescribe.agents.agent import InterpretationAgent, Progress, no_progress
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.durable.run_store import RunStore
from tracescribe.agents.findings import Outcome
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.agents.offline import offline_agent
from tracescribe.agents.report import CircuitReport
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.toolbox import Toolbox, load_toolbox
from tracescribe.evals.benchmark.results import CaseCost, CaseFailure, CaseResult
from tracescribe.evals.scorers.cost import score_cost
from tracescribe.evals.stability import (
    AIM_FLIPS,
    AIM_JACCARD,
    compare_reports,
    content_of,
    measure_stability,
    subject_of,
)
from tracescribe.evals.stability_scores import METRICS, score_passes, stability_of
from tracescribe.tracer.errors import OutputError, SettingError

PROMPTS = ("the capital of the state containing Dallas is", "the sport of Zinedine Zidane is")


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    return load_toolbox()


def quick(seed: int) -> LoopSettings:
    return LoopSettings(seed=seed, experiments=ExperimentSettings(n_controls=99))


@dataclass(frozen=True)
class Kept:
    """The offline agent, which interprets the same prompt with the same seed once."""

    seed: int
    reports: dict[tuple[str | None, int], CircuitReport]
    name: str = "offline"

    def interpret(
        self,
        case: InterpretationCase,
        toolbox: Toolbox,
        budget: Budget,
        progress: Progress = no_progress,
        store: RunStore | None = None,
    ) -> CircuitReport:
        key = (case.prompt, self.seed)
        if key not in self.reports:
            self.reports[key] = offline_agent(quick(self.seed)).interpret(case, toolbox, budget)
        return self.reports[key]


@pytest.fixture(scope="module")
def reports() -> dict[tuple[str | None, int], CircuitReport]:
    return {}


@pytest.fixture(scope="module")
def report(toolbox: Toolbox, reports: dict[tuple[str | None, int], CircuitReport]) -> CircuitReport:
    return Kept(0, reports).interpret(InterpretationCase("x", prompt=PROMPTS[0]), toolbox, Budget())


def with_outcome(report: CircuitReport, place: int, outcome: Outcome) -> CircuitReport:
    verdicts = list(report.verdicts)
    verdicts[place] = verdicts[place].model_copy(update={"outcome": outcome})
    return report.model_copy(update={"verdicts": tuple(verdicts)})


def test_a_report_is_as_stable_as_can_be_beside_itself(report: CircuitReport) -> None:
    found = compare_reports([report, report, report])
    assert found.jaccard == 1.0
    assert found.n_common == len(report.claims) > 5
    assert not found.flips and not found.partial and not found.subject_flips and not found.n_partial_subjects


def test_one_other_verdict_is_one_flip(report: CircuitReport) -> None:
    place = next(i for i, claim in enumerate(report.claims) if claim.kind == "necessity")
    other = with_outcome(report, place, "refuted")
    found = compare_reports([report, other, report])
    assert len(found.flips) == len(found.subject_flips) == 1
    assert found.flips[0].outcomes == (report.verdicts[place].outcome, "refuted", report.verdicts[place].outcome)


def test_a_claim_that_one_pass_lacks_is_told_apart(report: CircuitReport) -> None:
    fewer = report.model_copy(update={"claims": report.claims[:-1]})
    found = compare_reports([report, fewer])
    assert found.n_common == len(report.claims) - 1
    assert found.partial == (content_of(report.claims[-1], report.supernodes),)


def test_a_feature_less_lowers_the_jaccard(report: CircuitReport) -> None:
    first, *others = report.supernodes
    members = {m.node_id for s in report.supernodes if not s.rejected for m in s.members}
    fewer = report.model_copy(update={"supernodes": tuple(others), "claims": (), "verdicts": ()})
    left = {m.node_id for s in others if not s.rejected for m in s.members}
    assert compare_reports([report, fewer]).jaccard == pytest.approx(len(left) / len(members))
    assert first.members


def test_ids_and_names_of_supernodes_do_not_matter(report: CircuitReport) -> None:
    claim = next(claim for claim in report.claims if claim.kind == "necessity")
    renamed = claim.model_copy(update={"supernode": "s99", "claim_id": "c99", "statement": "other words"})
    supernodes = tuple(
        s.model_copy(update={"supernode_id": "s99", "label": "?"}) if s.supernode_id == claim.supernode else s
        for s in report.supernodes
    )
    assert content_of(claim, report.supernodes) == content_of(renamed, supernodes)


def test_another_donor_is_another_claim_on_the_same_subject(report: CircuitReport) -> None:
    claim = next(claim for claim in report.claims if claim.kind == "swap")
    other = claim.model_copy(update={"donor_prompt": "another prompt"})
    assert content_of(claim, report.supernodes) != content_of(other, report.supernodes)
    assert subject_of(claim, report.supernodes) == subject_of(other, report.supernodes)


def test_one_seed_says_nothing_of_stability(toolbox: Toolbox) -> None:
    with pytest.raises(SettingError, match="at least two different seeds"):
        measure_stability({}, PROMPTS, (1, 1), toolbox)


def test_the_offline_agent_is_stable(toolbox: Toolbox, reports: dict[tuple[str | None, int], CircuitReport]) -> None:
    def offline(prompt: str, seed: int) -> InterpretationAgent:
        return Kept(seed, reports)

    found = measure_stability({"offline": offline}, PROMPTS, (0, 1), toolbox)
    (agent,) = found.agents
    assert agent.jaccard >= AIM_JACCARD
    assert agent.flips.count <= AIM_FLIPS * agent.flips.n
    assert agent.subject_flips.n >= 15
    assert agent.subject_flips.count <= AIM_FLIPS * agent.subject_flips.n
    assert found.to_json()["agents"][0]["jaccard"] == agent.jaccard


# -- as scores ---------------------------------------------------------------------------------------------------------


def stored(folder: Path, report: CircuitReport | None, seed: int, **more: object) -> CaseResult:
    """A result as the benchmark keeps it, its report in the folder."""
    name = None if report is None else f"pass-{seed}.json"
    if report is not None and name is not None:
        (folder / name).write_text(report.model_dump_json(), encoding="utf-8")
    fields: dict[str, object] = {
        "agent": "offline",
        "suite": "oracle",
        "gold_id": "states-01",
        "family": "states",
        "seed": seed,
        "specification": "x",
        "status": "failed" if report is None else "scored",
        "failure": CaseFailure(kind="crash", message="gone") if report is None else None,
        "cost": CaseCost(seconds=1.0),
        "report": name,
    }
    return CaseResult.model_validate(fields | more)


def test_scores_of_passes_are_counted_by_hand(report: CircuitReport) -> None:
    place = next(i for i, claim in enumerate(report.claims) if claim.kind == "necessity")
    other = with_outcome(report, place, "refuted")
    scores = score_passes([report, other, report], n_lost=1)
    assert set(scores) == {metric.name for metric in METRICS}
    assert scores["stability.jaccard"][:2] == (3.0, 3)
    assert scores["stability.flips"][:2] == (1, len(report.claims))
    assert scores["stability.partial"][:2] == (0, len(report.claims))
    assert scores["stability.lost"][:2] == (1, 4)


def test_one_pass_says_nothing_of_stability_and_is_no_score_of_1(report: CircuitReport) -> None:
    scores = score_passes([report], n_lost=4)
    assert scores["stability.jaccard"].value is None and scores["stability.flips"].value is None
    assert scores["stability.lost"].value == 0.8


def test_stability_comes_from_what_the_benchmark_has_stored(report: CircuitReport, tmp_path: Path) -> None:
    results = [stored(tmp_path, report, seed) for seed in (0, 1)] + [stored(tmp_path, None, 2)]
    once = stored(tmp_path, report, 7, gold_id="states-02")
    found = stability_of([*results, once], tmp_path)
    (scores,) = found["offline"]
    assert scores.gold_id == "states-01" and scores.value("stability.jaccard") == 1.0
    assert scores.value("stability.lost") == pytest.approx(1 / 3)
    assert stability_of([once], tmp_path) == {}


def test_a_report_outside_the_folder_is_not_read(report: CircuitReport, tmp_path: Path) -> None:
    inside = tmp_path / "bench"
    inside.mkdir()
    kept = [stored(tmp_path, report, seed) for seed in (0, 1)]
    results = [one.model_copy(update={"report": f"../{one.report}"}) for one in kept]
    with pytest.raises(OutputError, match="outside the benchmark's folder"):
        stability_of(results, inside)


def test_money_that_nobody_knows_is_not_nothing() -> None:
    assert score_cost(CaseCost(seconds=2.0, llm_calls=3, tokens=40))["cost.usd"].value is None
    told = score_cost(CaseCost(seconds=2.0, llm_calls=3, tokens=40, usd=0.0))
    assert {name: tally.value for name, tally in told.items()} == {
        "cost.seconds": 2.0,
        "cost.llm_calls": 3,
        "cost.tokens": 40,
        "cost.usd": 0.0,
    }
