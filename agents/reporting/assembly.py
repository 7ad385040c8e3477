"""Assemble the report from what the loop found, and check it against its contract before it leaves."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import CircuitEffect, Supernode, Verdict
from tracescribe.agents.ranking import ranked_features, told_edges
from tracescribe.agents.report import CircuitReport, Cost, Provenance, StepFailure, Unexplained, validate_report
from tracescribe.agents.reporting.report_seal import sealed
from tracescribe.agents.reporting.report_story_checks import story_faults
from tracescribe.agents.reporting.report_whole_checks import rejected_ids, standing_features
from tracescribe.agents.reporting.story import tell_story
from tracescribe.agents.state import LoopState
from tracescribe.agents.stopping import UNTESTED_NOTE
from tracescribe.agents.survey import Survey
from tracescribe.agents.testing.swap_summary import swap_summaries
from tracescribe.tracer.errors import ReportError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.provenance import sha256_json, version

if TYPE_CHECKING:
    from tracescribe.agents.agent import Proposer
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.loop_settings import LoopSettings

ATTENTION_NOTE = (
    "attention patterns are held fixed in the graph: why the model attends where it does, and edges that work through "
    "that choice, cannot be seen here (interventions do recompute attention)"
)
"""What no attribution graph of this kind shows, said in every report."""


def assemble_report(
    tools: CaseTools,
    proposer: Proposer,
    settings: LoopSettings,
    survey: Survey,
    state: LoopState,
    seconds: Mapping[str, float],
) -> CircuitReport:
    """The report of one run of the loop.

    Raises:
        ReportError: the parts do not fit together; a fault of the proposer or of the loop, never of the case.
    """
    supernodes = mark_rejected(state["supernodes"], state["claims"], state["verdicts"])
    provenance = provenance_of(tools, proposer, settings)
    circuit, measured_before = current_circuit(state), state["circuit"]
    untold = CircuitReport(
        report_id=sha256_json(provenance.model_dump(mode="json") | {"case": tools.case.case_id})[:16],
        prompt=survey.full.prompt,
        tokens=survey.full.tokens,
        targets=survey.targets,
        tested=bool(state["measurements"]),
        cut_short=state["cut_short"],
        summary=(),
        labels=state["labels"],
        supernodes=supernodes,
        edges=told_edges(tools, proposer, survey, supernodes),
        importance=ranked_features(tools, proposer, survey, supernodes),
        claims=state["claims"],
        plans=state["plans"],
        measurements=state["measurements"],
        verdicts=state["verdicts"],
        registry=tools.registry.entries,
        circuit=circuit,
        swaps=swap_summaries(state["claims"], state["verdicts"]),
        stopped=state["stopped"],
        unexplained=_unexplained(tools, survey, supernodes, circuit_is_old=circuit is not measured_before),
        failures=state["failures"],
        cost=_cost(tools, seconds),
        provenance=provenance,
    )
    report = sealed(with_story(untold), tools.registry)
    validate_report(report)
    return report


def with_story(untold: CircuitReport) -> CircuitReport:
    """The report with its story.

    A story that cannot be checked is left out and recorded as a failure. Texts of a graph file could bring that about: a
    token that holds quotation marks may make a quotation end where another begins.
    """
    report = untold.model_copy(update={"summary": tell_story(untold)})
    faults = story_faults(report)
    if not faults:
        return report
    failure = StepFailure(
        step="report", error=f"the story was left out, since its numbers cannot be checked: {faults[0]}"
    )
    return untold.model_copy(update={"failures": (*untold.failures, failure)})


def mark_rejected(
    supernodes: Sequence[Supernode], claims: Sequence[Claim], verdicts: Sequence[Verdict]
) -> tuple[Supernode, ...]:
    """The supernodes, those marked that were tested by interventions of their own and failed every one of them."""
    rejected = rejected_ids(claims, verdicts)
    return tuple(s.model_copy(update={"rejected": s.supernode_id in rejected}) for s in supernodes)


def provenance_of(tools: CaseTools, proposer: Proposer, settings: LoopSettings) -> Provenance:
    """What a report of this case, by this proposer with these settings, rests on."""
    model, transcoders, store = tools.toolbox.model, tools.toolbox.transcoders, tools.store
    own = tools.can_test
    told = tools.full.provenance
    return Provenance(
        product_version=version(),
        agent=proposer.name,
        agent_settings={**proposer.settings(), "loop": settings.as_json(), "pruning": tools.toolbox.pruning.as_json()},
        seed=settings.seed,
        model=model.model_id if own and model is not None else _text(told.get("model")),
        model_sha256=model.weights_sha256 if own and model is not None else _text(told.get("model_sha256")),
        transcoder=transcoders.transcoder_id if own and transcoders is not None else _text(told.get("transcoders")),
        transcoder_sha256=(
            transcoders.sha256 if own and transcoders is not None else _text(told.get("transcoders_sha256"))
        ),
        evidence_sha256=sha256_json(asdict(store.origin)) if store is not None else None,
        graph_sha256=graph_sha256(tools.full),
        prompt_versions=dict(proposer.prompt_versions()),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def graph_sha256(graph: AttributionGraph) -> str:
    """Content hash of a graph: prompt, nodes and edges, not its provenance or labels."""
    digest = hashlib.sha256()
    digest.update("\0".join([graph.prompt, *graph.tokens, "", *graph.node_ids]).encode())
    for column in (graph.nodes.activation, graph.edges.target, graph.edges.source, graph.edges.weight):
        digest.update(column.tobytes())
    return digest.hexdigest()


def current_circuit(state: LoopState) -> CircuitEffect | None:
    """The measured circuit, if it is the one that stands now: a budget may run out before it is measured anew."""
    circuit = state["circuit"]
    supernodes = mark_rejected(state["supernodes"], state["claims"], state["verdicts"])
    return circuit if circuit is not None and circuit.n_features == len(standing_features(supernodes)) else None


def _unexplained(
    tools: CaseTools, survey: Survey, supernodes: Sequence[Supernode], *, circuit_is_old: bool
) -> Unexplained:
    grouped = standing_features(supernodes)
    left_out = [node for node in survey.kept if node not in grouped]
    total = sum(survey.influence.get(node, 0.0) for node in survey.kept)
    notes = [ATTENTION_NOTE]
    if circuit_is_old:
        notes.append("the circuit as a whole was not measured again after its last change, so its effects are left out")
    why = tools.why_untestable()
    if why is not None:
        notes.append(f"{UNTESTED_NOTE}{why}")
    if survey.screened:
        notes.append(
            f"{len(survey.screened)} features have little or no influence in the graph and entered because the answer needs "
            "them, found by switching every left-out feature off; no necessity is claimed of what entered so"
        )
    if tools.store is None:
        notes.append("no corpus evidence: labels rest on the graph alone")
    scores = survey.full.scores
    return Unexplained(
        error_influence=_share(survey.error_influence),
        replacement_score=_share(scores.replacement) if scores is not None else None,
        completeness_score=_share(scores.completeness) if scores is not None else None,
        features_left_out=len(left_out),
        influence_left_out=(
            min(1.0, sum(survey.influence.get(node, 0.0) for node in left_out) / total) if total > 0.0 else None
        ),
        notes=tuple(notes),
    )


def _share(value: float) -> float:
    """A share as a graph has it: rounding may leave 0 to 1, and a graph from outside may say anything.

    Raises:
        ReportError: it is not a number.
    """
    if math.isnan(value):
        raise ReportError("a share of the graph's influence is not a number; trace the prompt again")
    return min(1.0, max(0.0, value))


def _cost(tools: CaseTools, seconds: Mapping[str, float]) -> Cost:
    meter = tools.meter
    return Cost(
        seconds=meter.seconds,
        seconds_by_step=dict(seconds),
        experiments=meter.experiments,
        forward_passes=meter.forward_passes,
        llm_calls=meter.llm_calls,
        input_tokens=meter.input_tokens,
        output_tokens=meter.output_tokens,
        usd=meter.usd,
    )
