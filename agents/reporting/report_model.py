"""What a circuit report holds, as data: the models behind `report.json`. The rules that bind them are in `report_checks`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tracescribe.agents.claims import Claim, Frozen
from tracescribe.agents.findings import (
    CircuitEffect,
    ExperimentPlan,
    FeatureImportance,
    FeatureLabel,
    Measurement,
    Supernode,
    SupernodeEdge,
    SwapSummary,
    Verdict,
)
from tracescribe.agents.registration import Registration
from tracescribe.agents.reporting.report_numbers import SourcedNumber

REPORT_SCHEMA = "tracescribe-report/2"


class Sentence(Frozen):
    """One sentence of the story, with the claims it rests on.

    Attributes:
        claims: ids of the claims.
        numbers: every number in the text, in order, with the value it tells; see `report_numbers`.
        aside: whether it only adds to the sentence before, so that a page may fold it; never where a claim failed.
    """

    text: str = Field(min_length=1)
    claims: tuple[str, ...] = Field(min_length=1)
    numbers: tuple[SourcedNumber, ...] = ()
    aside: bool = False


class Unexplained(Frozen):
    """What the report does not explain.

    Attributes:
        error_influence: share of the influence on the logits that enters through error nodes, 0 to 1.
        replacement_score, completeness_score: of the unpruned graph; None for an imported graph without them.
        features_left_out: feature nodes of the pruned graph that are in no supernode, or in rejected ones alone.
        influence_left_out: their share of the summed influence of the pruned graph's feature nodes, 0 to 1; None where
            no influence is known.
        notes: in words.
    """

    error_influence: float = Field(ge=0, le=1)
    replacement_score: float | None = Field(ge=0, le=1)
    completeness_score: float | None = Field(ge=0, le=1)
    features_left_out: int = Field(ge=0)
    influence_left_out: float | None = Field(default=None, ge=0, le=1)
    notes: tuple[str, ...] = ()


class Cost(Frozen):
    """What the report cost. Seconds are the only fields of a report that differ between two runs with one seed."""

    seconds: float = Field(ge=0)
    seconds_by_step: dict[str, float] = Field(default_factory=dict)
    experiments: int = Field(default=0, ge=0)
    forward_passes: int = Field(default=0, ge=0)
    llm_calls: int = Field(default=0, ge=0)
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    usd: float | None = Field(default=None, ge=0)


class TargetLogit(Frozen):
    """An output token of the graph."""

    node_id: str
    token: str
    probability: float = Field(ge=0, le=1)


class Provenance(Frozen):
    """Where every number comes from."""

    product_version: str
    agent: str
    agent_settings: dict[str, object] = Field(default_factory=dict)
    seed: int
    model: str | None
    model_sha256: str | None
    transcoder: str | None
    transcoder_sha256: str | None
    evidence_sha256: str | None
    graph_sha256: str
    prompt_versions: dict[str, str] = Field(default_factory=dict)


class StepFailure(Frozen):
    """A step that failed without failing the run: recorded, never scored as a zero in silence."""

    step: str
    error: str


StopReason = Literal["budget", "complete", "nothing new", "round limit", "untestable"]
"""Why revision ended: the budget is gone; the circuit carries the answer and nothing is undecided; the agent proposed
nothing new; the limit on rounds; nothing can be tested here."""


class Stopped(Frozen):
    """Why an agent stopped, and after how many rounds of revision.

    Attributes:
        detail: in words, with the figure that decided it.
    """

    reason: StopReason
    detail: str
    rounds: int = Field(ge=0)


class CircuitReport(Frozen):
    """A structured circuit report. `report.validate_report` holds the rules that types cannot express."""

    schema_id: Literal["tracescribe-report/2"] = "tracescribe-report/2"
    report_id: str
    prompt: str
    tokens: tuple[str, ...]
    targets: tuple[TargetLogit, ...]
    tested: bool
    """False for an imported graph without weights: every claim is then untested."""
    cut_short: str | None = None
    """Why the agent stopped early (a budget), or None."""
    summary: tuple[Sentence, ...]
    labels: tuple[FeatureLabel, ...]
    supernodes: tuple[Supernode, ...]
    edges: tuple[SupernodeEdge, ...]
    importance: tuple[FeatureImportance, ...] = ()
    """The agent's ranking of the graph's feature nodes, grouped or not, most important first."""
    claims: tuple[Claim, ...]
    plans: tuple[ExperimentPlan, ...]
    measurements: tuple[Measurement, ...]
    verdicts: tuple[Verdict, ...]
    registry: tuple[Registration, ...]
    circuit: CircuitEffect | None = None
    """Of the circuit as a whole; None where nothing could be run, or no circuit was found."""
    swaps: tuple[SwapSummary, ...] = ()
    stopped: Stopped | None = None
    unexplained: Unexplained
    failures: tuple[StepFailure, ...] = ()
    cost: Cost
    provenance: Provenance

    def verdict_counts(self) -> dict[str, int]:
        """Number of claims by outcome, every outcome named."""
        counts = {"supported": 0, "refuted": 0, "inconclusive": 0, "untested": 0}
        for verdict in self.verdicts:
            counts[verdict.outcome] += 1
        return counts
