"""All scores of one report against one gold circuit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from tracescribe.evals.gold import GoldCircuit, check_circuit, check_stamp
from tracescribe.evals.gold.schema import ScoreKind
from tracescribe.evals.matching import match_supernodes
from tracescribe.evals.prediction import Prediction, prediction_of_report
from tracescribe.evals.scorers import calibration, causal, edges, grouping, labels, node_labels, selection
from tracescribe.evals.scorers.label_judge import JudgeAgreement
from tracescribe.evals.scorers.label_similarity import NO_RATERS, LabelRaters
from tracescribe.evals.scorers.metric import NOTHING, Bins, Metric, Tally
from tracescribe.tracer.errors import GoldFormatError

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.tracer.graph import AttributionGraph

OVERALL = Metric("overall", "overall", "every main score of the scorers that gold can give is 1")
METRICS: tuple[Metric, ...] = (
    OVERALL,
    *selection.METRICS,
    *grouping.METRICS,
    *labels.METRICS,
    *node_labels.METRICS,
    *causal.METRICS,
    *calibration.METRICS,
    *edges.METRICS,
)
HEADLINES: tuple[Metric, ...] = tuple(metric for metric in METRICS if metric.headline)


class ScoreValue(BaseModel):
    """One score as a fraction; `value` is None where there was nothing to score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    numerator: float
    denominator: float = Field(ge=0)
    bins: Bins = ()

    @property
    def tally(self) -> Tally:
        """The same as scorers return it."""
        return Tally(self.numerator, self.denominator, self.bins)

    @classmethod
    def of(cls, tally: Tally) -> ScoreValue:
        """From what a scorer returned."""
        return cls(value=tally.value, numerator=tally.numerator, denominator=tally.denominator, bins=tally.bins)


class Scores(BaseModel):
    """Scores of one report.

    Attributes:
        values: by metric name; every metric of `METRICS` is there, and those that were added (see `with_values`).
        not_scored: scores that this gold circuit cannot give, by scorer name.
        overall_parts: names of the scores that `overall` is the mean of.
        label_judge: how far the judge of labels agrees with people; None where no judge was asked.
        chance: of scores against shuffled gold, what is expected of them, by metric name (see `evals.permutation`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_id: Literal["tracescribe-scores/2"] = "tracescribe-scores/2"
    gold_id: str
    family: str
    values: dict[str, ScoreValue]
    not_scored: tuple[str, ...] = ()
    overall_parts: tuple[str, ...] = ()
    label_judge: JudgeAgreement | None = None
    chance: dict[str, ScoreValue] = Field(default_factory=dict)

    def value(self, metric: str) -> float | None:
        """One score, or None where there was nothing to score."""
        return self.values[metric].value

    def headlines(self) -> dict[str, float | None]:
        """The scores that short tables show."""
        return {metric.name: self.value(metric.name) for metric in HEADLINES}

    def with_values(self, tallies: Mapping[str, Tally]) -> Scores:
        """The same scores and others beside them, by metric name; of a name that is there already the new one stands."""
        return self.model_copy(update={"values": self.values | {n: ScoreValue.of(t) for n, t in tallies.items()}})


def main_scores(gold: GoldCircuit) -> tuple[str, ...]:
    """The one main score of each scorer that a gold circuit is good for; `overall` is their mean.

    Where gold comes from a model, leaving a node out is a miss; people leave nodes out themselves.
    """
    grouped = "grouping.placed_b3_f1" if gold.source.kind in ("oracle", "compiled") else "grouping.b3_f1"
    main = {
        "selection": "selection.auc",
        "grouping": grouped,
        "labels": "labels.exact",
        "edges": "edges.f1",
        "causal": "causal.f1",
    }
    return tuple(name for scorer, name in main.items() if scorer in gold.can_score)


def score_prediction(
    prediction: Prediction, gold: GoldCircuit, graph: AttributionGraph, raters: LabelRaters = NO_RATERS
) -> Scores:
    """Every score of a prediction; scores that the gold circuit is not good for stay empty.

    Args:
        prediction: of the gold's prompt.
        gold: the known circuit.
        graph: the unpruned graph of the prompt; its feature nodes are what could be selected.
        raters: who rates names beyond their words.
    """
    matching = match_supernodes(prediction, gold)
    scorers: dict[ScoreKind, Callable[[], Mapping[str, Tally]]] = {
        "selection": lambda: selection.score_selection(prediction, gold, graph),
        "grouping": lambda: grouping.score_grouping(prediction, gold, matching),
        "labels": lambda: labels.score_labels(prediction, gold, matching, raters),
        "node_labels": lambda: node_labels.score_node_labels(prediction, gold),
        "causal": lambda: {
            **causal.score_causal(prediction, gold, matching),
            **calibration.score_calibration(prediction, gold, matching),
        },
        "edges": lambda: edges.score_edges(prediction, gold, matching),
    }
    found = {name: score() for name, score in scorers.items() if name in gold.can_score}
    tallies = {name: tally for tallies in found.values() for name, tally in tallies.items()}
    parts = tuple(name for name in main_scores(gold) if tallies.get(name, NOTHING).denominator)
    values = [tallies[name].value or 0.0 for name in parts]
    tallies[OVERALL.name] = Tally(sum(values), len(values))
    return Scores(
        gold_id=gold.gold_id,
        family=gold.family,
        values={metric.name: ScoreValue.of(tallies.get(metric.name, NOTHING)) for metric in METRICS},
        not_scored=tuple(name for name in scorers if name not in found),
        overall_parts=parts,
        label_judge=raters.judge.agreement if raters.judge is not None and "labels" in found else None,
    )


def score_report(
    report: CircuitReport, gold: GoldCircuit, graph: AttributionGraph, raters: LabelRaters = NO_RATERS
) -> Scores:
    """Score a report against the gold circuit of its prompt.

    Args:
        report: of the gold's prompt, model and transcoder.
        gold: the known circuit.
        graph: the unpruned graph that the report is about.
        raters: who rates names beyond their words.

    Raises:
        GoldFormatError: the report is about another prompt or other weights, or the graph does not have gold's nodes.
    """
    if gold.tokens and report.tokens != gold.tokens:
        raise GoldFormatError(
            f"gold circuit {gold.gold_id} is of the prompt {gold.prompt!r}, the report of {report.prompt!r}; "
            "score a report against the gold of its own prompt"
        )
    check_stamp(gold, report.provenance.model_sha256, report.provenance.transcoder_sha256)
    check_circuit(gold, graph, stale=True)
    return score_prediction(prediction_of_report(report, graph), gold, graph, raters)
