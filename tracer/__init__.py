"""Tracer: prompts become attribution graphs, features become evidence, interventions test what graphs claim.

Comes in: a model, its transcoders, a prompt or a graph file. Goes out: attribution graphs, evidence about features, and
what the model did when its features were changed. May not happen here: no agent, no gold, no job, no printing; nothing
is unpickled, and every random draw comes from a generator that the caller gives.

Public names load on first use, so that importing the room costs nothing. Functions that share a module's name are
imported from that module: `tracescribe.tracer.prune.prune`, `.profiles.profiles`, `.clean_run.clean_run`. The embedded
model's files are found by `tracescribe.tracer.embedded`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracescribe.tracer.activation_check import check_activations
    from tracescribe.tracer.attribution import attribute
    from tracescribe.tracer.attribution_settings import AttributionSettings
    from tracescribe.tracer.blinding import blind
    from tracescribe.tracer.clean_run import CleanRun
    from tracescribe.tracer.controls import matched_features, matched_shifts, matched_subsets
    from tracescribe.tracer.edge_explanation import EdgeExplanation, ExplanationSettings, explain_edge
    from tracescribe.tracer.edges import EdgeBlock, EdgeTable
    from tracescribe.tracer.edits import (
        DirectionEdit,
        ErrorEdit,
        FeatureEdit,
        FeatureShift,
        InterventionSettings,
        ablation,
        addition,
        clamping,
        scaling,
        supernode_to,
        swap,
    )
    from tracescribe.tracer.errors import (
        AttributionError,
        BudgetExceededError,
        EvidenceError,
        GoldFormatError,
        GraphFormatError,
        HaltError,
        InputError,
        InterventionError,
        OutputError,
        PromptError,
        ProviderError,
        RegistrationError,
        ReportError,
        SettingError,
        TracescribeError,
        TranscoderFormatError,
        TranscoderMismatchError,
        UnknownIdError,
        UnknownModelError,
        WorkError,
    )
    from tracescribe.tracer.evidence import ScanSettings, load_embedded_evidence, read_corpus, scan
    from tracescribe.tracer.evidence_store import EvidenceStore
    from tracescribe.tracer.feature_evidence import Context, FeatureEvidence, TokenEffect
    from tracescribe.tracer.generation import Continuation, GenerationResult, GenerationSettings, generate
    from tracescribe.tracer.graph import AttributionGraph, FeatureNode, FeatureRef, GraphScores, NodeKind, NodeTable
    from tracescribe.tracer.graph_checks import graph_faults
    from tracescribe.tracer.graph_files import read_graph_file, write_graph_file
    from tracescribe.tracer.graph_json import check_belongs, parse_graph, read_graph, to_json, write_graph
    from tracescribe.tracer.interventions import InterventionResult, intervene
    from tracescribe.tracer.logit_targets import LogitTarget
    from tracescribe.tracer.memory import parse_size
    from tracescribe.tracer.models import LanguageModel, load_model
    from tracescribe.tracer.profiles import Profiles, destination_profile, in_profile, out_profile, similarity
    from tracescribe.tracer.prune import (
        PruneSettings,
        cumulative_influence,
        error_influence_share,
        graph_scores,
        node_influence,
    )
    from tracescribe.tracer.statistics import (
        benjamini_hochberg,
        bootstrap_interval,
        paired_bootstrap,
        rank_p_value,
        roc_auc,
        wilson_interval,
    )
    from tracescribe.tracer.transcoder_fit import check_fit
    from tracescribe.tracer.transcoders import TranscoderSet, load_transcoders

_HOME = {
    "check_activations": "activation_check",
    "AttributionSettings": "attribution_settings",
    "attribute": "attribution",
    "blind": "blinding",
    "CleanRun": "clean_run",
    "matched_features": "controls",
    "matched_shifts": "controls",
    "matched_subsets": "controls",
    "EdgeExplanation": "edge_explanation",
    "ExplanationSettings": "edge_explanation",
    "explain_edge": "edge_explanation",
    "EdgeBlock": "edges",
    "EdgeTable": "edges",
    "DirectionEdit": "edits",
    "ErrorEdit": "edits",
    "FeatureEdit": "edits",
    "FeatureShift": "edits",
    "InterventionSettings": "edits",
    "ablation": "edits",
    "addition": "edits",
    "clamping": "edits",
    "scaling": "edits",
    "supernode_to": "edits",
    "swap": "edits",
    "AttributionError": "errors",
    "BudgetExceededError": "errors",
    "EvidenceError": "errors",
    "GoldFormatError": "errors",
    "GraphFormatError": "errors",
    "HaltError": "errors",
    "InputError": "errors",
    "InterventionError": "errors",
    "OutputError": "errors",
    "PromptError": "errors",
    "ProviderError": "errors",
    "RegistrationError": "errors",
    "ReportError": "errors",
    "SettingError": "errors",
    "TracescribeError": "errors",
    "TranscoderFormatError": "errors",
    "TranscoderMismatchError": "errors",
    "UnknownIdError": "errors",
    "UnknownModelError": "errors",
    "WorkError": "errors",
    "ScanSettings": "evidence",
    "load_embedded_evidence": "evidence",
    "read_corpus": "evidence",
    "scan": "evidence",
    "EvidenceStore": "evidence_store",
    "Context": "feature_evidence",
    "FeatureEvidence": "feature_evidence",
    "TokenEffect": "feature_evidence",
    "Continuation": "generation",
    "GenerationResult": "generation",
    "GenerationSettings": "generation",
    "generate": "generation",
    "AttributionGraph": "graph",
    "FeatureNode": "graph",
    "FeatureRef": "graph",
    "GraphScores": "graph",
    "NodeKind": "graph",
    "NodeTable": "graph",
    "graph_faults": "graph_checks",
    "read_graph_file": "graph_files",
    "write_graph_file": "graph_files",
    "check_belongs": "graph_json",
    "parse_graph": "graph_json",
    "read_graph": "graph_json",
    "to_json": "graph_json",
    "write_graph": "graph_json",
    "InterventionResult": "interventions",
    "intervene": "interventions",
    "LogitTarget": "logit_targets",
    "parse_size": "memory",
    "LanguageModel": "models",
    "load_model": "models",
    "Profiles": "profiles",
    "destination_profile": "profiles",
    "in_profile": "profiles",
    "out_profile": "profiles",
    "similarity": "profiles",
    "PruneSettings": "prune",
    "cumulative_influence": "prune",
    "error_influence_share": "prune",
    "graph_scores": "prune",
    "node_influence": "prune",
    "benjamini_hochberg": "statistics",
    "bootstrap_interval": "statistics",
    "paired_bootstrap": "statistics",
    "rank_p_value": "statistics",
    "roc_auc": "statistics",
    "wilson_interval": "statistics",
    "check_fit": "transcoder_fit",
    "TranscoderSet": "transcoders",
    "load_transcoders": "transcoders",
}

__all__ = [
    "AttributionError",
    "AttributionGraph",
    "AttributionSettings",
    "BudgetExceededError",
    "CleanRun",
    "Context",
    "Continuation",
    "DirectionEdit",
    "EdgeBlock",
    "EdgeExplanation",
    "EdgeTable",
    "ErrorEdit",
    "EvidenceError",
    "EvidenceStore",
    "ExplanationSettings",
    "FeatureEdit",
    "FeatureEvidence",
    "FeatureNode",
    "FeatureRef",
    "FeatureShift",
    "GenerationResult",
    "GenerationSettings",
    "GoldFormatError",
    "GraphFormatError",
    "GraphScores",
    "HaltError",
    "InputError",
    "InterventionError",
    "InterventionResult",
    "InterventionSettings",
    "LanguageModel",
    "LogitTarget",
    "NodeKind",
    "NodeTable",
    "OutputError",
    "Profiles",
    "PromptError",
    "ProviderError",
    "PruneSettings",
    "RegistrationError",
    "ReportError",
    "ScanSettings",
    "SettingError",
    "TokenEffect",
    "TracescribeError",
    "TranscoderFormatError",
    "TranscoderMismatchError",
    "TranscoderSet",
    "UnknownIdError",
    "UnknownModelError",
    "WorkError",
    "ablation",
    "addition",
    "attribute",
    "benjamini_hochberg",
    "blind",
    "bootstrap_interval",
    "check_activations",
    "check_belongs",
    "check_fit",
    "clamping",
    "cumulative_influence",
    "destination_profile",
    "error_influence_share",
    "explain_edge",
    "generate",
    "graph_faults",
    "graph_scores",
    "in_profile",
    "intervene",
    "load_embedded_evidence",
    "load_model",
    "load_transcoders",
    "matched_features",
    "matched_shifts",
    "matched_subsets",
    "node_influence",
    "out_profile",
    "paired_bootstrap",
    "parse_graph",
    "parse_size",
    "rank_p_value",
    "read_corpus",
    "read_graph",
    "read_graph_file",
    "roc_auc",
    "scaling",
    "scan",
    "similarity",
    "supernode_to",
    "swap",
    "to_json",
    "wilson_interval",
    "write_graph",
    "write_graph_file",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f"tracescribe.tracer.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
