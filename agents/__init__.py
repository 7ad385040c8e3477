"""Agents: labels, supernodes, claims, their tests, verdicts by rule, and the report.

Comes in: a prompt or an attribution graph, a toolbox (model, transcoders, evidence), a budget. Goes out: a circuit report
whose every sentence cites claims that were registered before they were tested. May not happen here: no gold and no latent
variable of the embedded model can be seen, no verdict is set but by the rule, nothing acts but through the toolbox.

Public names load on first use, so that importing the room costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracescribe.agents.agent import Findings, InterpretationAgent, Progress, Proposal, Proposer, Revision
    from tracescribe.agents.baselines import BASELINES, baseline_agent
    from tracescribe.agents.budget import Budget, Meter
    from tracescribe.agents.case import InterpretationCase
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.claims import (
        CLAIM_KINDS,
        Claim,
        EdgeClaim,
        FeatureAt,
        LabelClaim,
        NecessityClaim,
        Predicate,
        SteeringClaim,
        SufficiencyClaim,
        SwapClaim,
    )
    from tracescribe.agents.findings import (
        DetectionScore,
        ExperimentPlan,
        FeatureLabel,
        Interval,
        Measurement,
        Supernode,
        SupernodeEdge,
        Verdict,
    )
    from tracescribe.agents.llm.agent import LlmAgentSettings, make_llm_agent
    from tracescribe.agents.loop import LoopAgent
    from tracescribe.agents.loop_settings import LoopSettings
    from tracescribe.agents.offline import OfflineProposer, offline_agent
    from tracescribe.agents.registration import Registration, verify_chain
    from tracescribe.agents.registry import ClaimRegistry
    from tracescribe.agents.rendering import ReportFiles, write_report
    from tracescribe.agents.report import CircuitReport, Sentence, parse_report, validate_report
    from tracescribe.agents.state import LoopState
    from tracescribe.agents.survey import Survey
    from tracescribe.agents.testing.experiment_settings import ExperimentSettings
    from tracescribe.agents.testing.verdicts import judge
    from tracescribe.agents.toolbox import PruningThresholds, Toolbox, load_toolbox

_HOME = {
    "Findings": "agent",
    "InterpretationAgent": "agent",
    "Progress": "agent",
    "Proposal": "agent",
    "Proposer": "agent",
    "Revision": "agent",
    "BASELINES": "baselines",
    "baseline_agent": "baselines",
    "Budget": "budget",
    "Meter": "budget",
    "InterpretationCase": "case",
    "CaseTools": "case_tools",
    "CLAIM_KINDS": "claims",
    "Claim": "claims",
    "EdgeClaim": "claims",
    "FeatureAt": "claims",
    "LabelClaim": "claims",
    "NecessityClaim": "claims",
    "Predicate": "claims",
    "SteeringClaim": "claims",
    "SufficiencyClaim": "claims",
    "SwapClaim": "claims",
    "ExperimentSettings": "testing.experiment_settings",
    "DetectionScore": "findings",
    "ExperimentPlan": "findings",
    "FeatureLabel": "findings",
    "Interval": "findings",
    "Measurement": "findings",
    "Supernode": "findings",
    "SupernodeEdge": "findings",
    "Verdict": "findings",
    "LlmAgentSettings": "llm.agent",
    "make_llm_agent": "llm.agent",
    "LoopAgent": "loop",
    "LoopSettings": "loop_settings",
    "OfflineProposer": "offline",
    "offline_agent": "offline",
    "Registration": "registration",
    "verify_chain": "registration",
    "ClaimRegistry": "registry",
    "ReportFiles": "rendering",
    "write_report": "rendering",
    "CircuitReport": "report",
    "Sentence": "report",
    "parse_report": "report",
    "validate_report": "report",
    "LoopState": "state",
    "Survey": "survey",
    "PruningThresholds": "toolbox",
    "Toolbox": "toolbox",
    "load_toolbox": "toolbox",
    "judge": "testing.verdicts",
}

__all__ = [
    "BASELINES",
    "CLAIM_KINDS",
    "Budget",
    "CaseTools",
    "CircuitReport",
    "Claim",
    "ClaimRegistry",
    "DetectionScore",
    "EdgeClaim",
    "ExperimentPlan",
    "ExperimentSettings",
    "FeatureAt",
    "FeatureLabel",
    "Findings",
    "InterpretationAgent",
    "InterpretationCase",
    "Interval",
    "LabelClaim",
    "LlmAgentSettings",
    "LoopAgent",
    "LoopSettings",
    "LoopState",
    "Measurement",
    "Meter",
    "NecessityClaim",
    "OfflineProposer",
    "Predicate",
    "Progress",
    "Proposal",
    "Proposer",
    "PruningThresholds",
    "Registration",
    "ReportFiles",
    "Revision",
    "Sentence",
    "SteeringClaim",
    "SufficiencyClaim",
    "Supernode",
    "SupernodeEdge",
    "Survey",
    "SwapClaim",
    "Toolbox",
    "Verdict",
    "baseline_agent",
    "judge",
    "load_toolbox",
    "make_llm_agent",
    "offline_agent",
    "parse_report",
    "validate_report",
    "verify_chain",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f"tracescribe.agents.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
