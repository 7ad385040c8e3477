"""From an agent's report to the result of a case: the one place where reports meet gold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.evals.benchmark.results import CaseCost, CaseFailure, CaseResult
from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.prediction import Prediction, prediction_of_report
from tracescribe.evals.scorers.causal import confusion
from tracescribe.evals.scorers.label_similarity import LabelRaters
from tracescribe.evals.scorers.metric import Tally
from tracescribe.evals.scores import METRICS, Scores, score_report
from tracescribe.tracer.errors import ReportError
from tracescribe.tracer.provenance import sha256_json, version

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.evals.benchmark.settings import RunSettings
    from tracescribe.evals.benchmark.suites import ToolboxSpec
    from tracescribe.evals.benchmark.work import Contestant
    from tracescribe.tracer.graph import AttributionGraph

MAX_REPORT_BYTES = 64 << 20
"""A report on the embedded model has less than one megabyte; a larger one than this is a flood."""
_MARK = 32


@dataclass(frozen=True, eq=False)
class CaseKey:
    """One agent on one circuit with one seed, and the hash of everything that decides the result."""

    agent: str
    suite: str
    gold: GoldCircuit
    seed: int
    specification: str

    def result(self, **values: Any) -> CaseResult:
        """A result of this case."""
        return CaseResult(
            agent=self.agent,
            suite=self.suite,
            gold_id=self.gold.gold_id,
            family=self.gold.family,
            tags=self.gold.tags,
            seed=self.seed,
            specification=self.specification,
            **values,
        )


def interpretation_mark(
    contestant: Contestant, gold: GoldCircuit, toolbox: ToolboxSpec | None, settings: RunSettings, seed: int
) -> str:
    """Hash of everything that decides a report."""
    from tracescribe.agents.toolbox import PruningThresholds

    told = {
        "product": version(),
        "agent": contestant.name,
        "settings": dict(contestant.settings),
        "pruning": PruningThresholds().as_json(),
        "budget": settings.budget.model_dump(mode="json"),
        "toolbox": None if toolbox is None else vars(toolbox),
        "prompt": gold.prompt,
        "stamp": gold.stamp.model_dump(mode="json"),
        "graph": None if gold.graph is None else gold.graph.model_dump(mode="json"),
        "seed": seed,
    }
    return sha256_json(told)[:_MARK]


def scoring_mark(gold: GoldCircuit, settings: RunSettings, shufflings: int, judge: str) -> str:
    """Hash of everything that decides the scores of a report; `judge` names who judges labels, empty for nobody."""
    told = {
        "gold": gold.model_dump(mode="json"),
        "metrics": sorted(metric.name for metric in METRICS),
        "interventions": settings.interventions,
        "shufflings": shufflings,
        "judge": judge,
    }
    return sha256_json(told)[:_MARK]


def interpretation_cost(answer: Mapping[str, Any]) -> CaseCost:
    """What an interpretation took, from a worker's answer; what our meter counted is in the report."""
    told = {f"told_{name}": value for name, value in answer.get("told", {}).items()}
    return CaseCost(seconds=answer["seconds"], **told)


def failed_case(key: CaseKey, failure: CaseFailure, cost: CaseCost) -> CaseResult:
    """A case without scores."""
    return key.result(status="failed", failure=failure, cost=cost)


def scored_case(
    key: CaseKey,
    report_file: Path,
    report_name: str,
    graph: AttributionGraph,
    measured: Mapping[str, Any] | None,
    cost: CaseCost,
    shufflings: int,
    raters: LabelRaters,
) -> CaseResult:
    """Score a report.

    Args:
        report_name: the report as the result names it.
        graph: the unpruned graph that the report is about.
        measured: tallies of the scores that run the model, by metric name; None where it was not run.
        shufflings: of gold, for the permutation control; 0 for none.
        raters: who rates names beyond their words.

    Raises:
        ReportError: the report cannot be read or breaks its contract.
        GoldFormatError: it is about something else than the gold.
    """
    report = _read(report_file)
    scores = score_report(report, key.gold, graph, raters)
    prediction = prediction_of_report(report, graph)
    if measured:
        scores = scores.with_values(tallies(measured))
    return key.result(
        status="scored",
        scores=scores,
        control=_control(prediction, key.gold, graph, shufflings),
        verdicts=report.verdict_counts(),
        confusion=confusion(prediction, key.gold) if "causal" in key.gold.can_score else {},
        cost=cost.model_copy(
            update={
                "llm_calls": report.cost.llm_calls,
                "tokens": report.cost.input_tokens + report.cost.output_tokens,
                "usd": report.cost.usd,
            }
        ),
        cut_short=report.cut_short,
        report=report_name,
    )


def _read(path: Path) -> CircuitReport:
    from tracescribe.agents.report import parse_report

    try:
        size = path.stat().st_size
        if size > MAX_REPORT_BYTES:
            raise ReportError(f"{path}: {size} bytes, the limit is {MAX_REPORT_BYTES}")
        return parse_report(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ReportError(f"{path} is not UTF-8 text (byte {error.start})") from error


def tallies(measured: Mapping[str, Any]) -> dict[str, Tally]:
    """Tallies from a worker's answer, `[numerator, denominator]` by metric name."""
    return {name: Tally(float(found[0]), float(found[1])) for name, found in measured.items()}


def _control(prediction: Prediction, gold: GoldCircuit, graph: AttributionGraph, shufflings: int) -> Scores | None:
    if not shufflings:
        return None
    from tracescribe.evals.permutation import permuted_scores

    # the same shufflings for every agent, others for every circuit
    seed = int(sha256_json(gold.gold_id)[:8], 16)
    return permuted_scores(prediction, gold, graph, seed=seed, n=shufflings)
