"""All scores of one report against one gold circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from tracescribe.evals.gold import GoldCircuit, check_circuit, check_stamp
from tracescribe.evals.matching import match_supernodes
from tracescribe.evals.prediction import Prediction, prediction_of_report
from tracescribe.evals.scorers import causal, edges, grouping, labels, selection
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally
from tracescribe.tracer.errors import GoldFormatError

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.tracer.graph import AttributionGraph

METRICS: tuple[Metric, ...] = (
    *selection.METRICS,
    *grouping.METRICS,
    *labels.METRICS,
    *causal.METRICS,
    *edges.METRICS,
)
HEADLINES: tuple[Metric, ...] = tuple(metric for metric in METRICS if metric.headline)


class ScoreValue(BaseModel):
    """One score as a fraction; `value` is None where there was nothing to score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    numerator: float
    denominator: float = Field(ge=0)

    @property
    def tally(self) -> Tally:
        """The same as scorers return it."""
        return Tally(self.numerator, self.denominator)

    @classmethod
    def of(cls, tally: Tally) -> ScoreValue:
        """From what a scorer returned."""
        return cls(value=tally.value, numerator=tally.numerator, denominator=tally.denominator)


class Scores(BaseModel):
    """Scores of one report.

    Attributes:
        values: by metric name; every metric is there.
        not_scored: scores that this gold circuit cannot give, by scorer name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_id: Literal["tracescribe-scores/1"] = "tracescribe-scores/1"
    gold_id: str
    family: str
    values: dict[str, ScoreValue]
    not_scored: tuple[str, ...] = ()

    def value(self, metric: str) -> float | None:
        """One score, or None where there was nothing to score."""
        return self.values[metric].value

    def headlines(self) -> dict[str, float | None]:
        """The scores that short tables show."""
        return {metric.name: self.value(metric.name) for metric in HEADLINES}


def score_prediction(prediction: Prediction, gold: GoldCircuit, graph: AttributionGraph) -> Scores:
    """Every score of a prediction; scores that the gold circuit is not good for stay empty.

    Args:
        prediction: of the gold's prompt.
        gold: the known circuit.
        graph: the unpruned graph of the prompt; its feature nodes are what could be selected.
    """
    matching = match_supernodes(prediction, gold)
    found: dict[str, Mapping[str, Tally]] = {}
    if "selection" in gold.can_score:
        found["selection"] = selection.score_selection(prediction, gold, graph)
    if "grouping" in gold.can_score:
        found["grouping"] = grouping.score_grouping(prediction, gold, matching)
    if "labels" in gold.can_score:
        found["labels"] = labels.score_labels(prediction, gold, matching)
    if "causal" in gold.can_score:
        found["causal"] = causal.score_causal(prediction, gold, matching)
    if "edges" in gold.can_score:
        found["edges"] = edges.score_edges(prediction, gold, matching)
    tallies = {name: tally for scorer in found.values() for name, tally in scorer.items()}
    return Scores(
        gold_id=gold.gold_id,
        family=gold.family,
        values={metric.name: ScoreValue.of(tallies.get(metric.name, NOTHING)) for metric in METRICS},
        not_scored=tuple(name for name in ("selection", "grouping", "labels", "causal", "edges") if name not in found),
    )


def score_report(report: CircuitReport, gold: GoldCircuit, graph: AttributionGraph) -> Scores:
    """Score a report against the gold circuit of its prompt.

    Args:
        report: of the gold's prompt, model and transcoder.
        gold: the known circuit.
        graph: the unpruned graph that the report is about.

    Raises:
        GoldFormatError: the report is about another prompt or other weights, or the graph does not have gold's nodes.
    """
    if report.tokens != gold.tokens:
        raise GoldFormatError(
            f"gold circuit {gold.gold_id} is of the prompt {gold.prompt!r}, the report of {report.prompt!r}; "
            "score a report against the gold of its own prompt"
        )
    check_stamp(gold, report.provenance.model_sha256, report.provenance.transcoder_sha256)
    check_circuit(gold, graph)
    return score_prediction(prediction_of_report(report, graph), gold, graph)
