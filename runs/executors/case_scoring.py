"""Scores of a case's report. Here reports meet gold, after the agent is done; no agent's code is called any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.evals.gold import GoldCircuit, GoldSet
    from tracescribe.runs.executors.contract import CaseLease
    from tracescribe.runs.jobs.specification import JobSpecification
    from tracescribe.tracer.graph import AttributionGraph

ORACLE = "oracle"


@dataclass(frozen=True)
class CaseScores:
    """Scores of one report.

    Attributes:
        values: by metric name, every metric; None where there was nothing to score.
        more: of the gold circuit: `family` and `tags`, for tables.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


def gold_of(job: JobSpecification) -> GoldSet | None:
    """The gold that a job is scored against; None for none.

    Raises:
        InputError: there is no such gold, or it is malformed.
    """
    source = job.scoring.gold or job.prompts.gold
    if source is None:
        return None
    from tracescribe.runs.gold_files import open_gold

    return open_gold(None if source == ORACLE else Path(source).expanduser())


def score_case(
    lease: CaseLease, report: CircuitReport, graph: AttributionGraph, toolbox: Toolbox, gold: GoldSet | None
) -> CaseScores:
    """Score a report against its gold, and by interventions where the job asks for that.

    Args:
        graph: unpruned, as the agent's toolbox was given it.

    Raises:
        TracescribeError: the report cannot be scored: gold of other weights, numbers that are not finite.
    """
    from tracescribe.evals.scores import score_report

    values: dict[str, float | None] = {}
    more: dict[str, Any] = {}
    if gold is not None and lease.case.gold_id is not None:
        circuit: GoldCircuit = gold.circuit(lease.case.gold_id)
        scores = score_report(report, circuit, graph)
        values |= {name: score.value for name, score in scores.values.items()}
        more = {"family": circuit.family, "tags": list(circuit.tags)}
    if lease.job.scoring.interventions:
        from tracescribe.evals.scorers.by_intervention import score_by_intervention

        found = score_by_intervention(report, toolbox, graph, seed=lease.case.seed)
        values |= {name: tally.value for name, tally in found.items()}
    return CaseScores(values, more)
