"""What a language model is shown of one feature: plain JSON values, all of them data to be fenced.

Labels are made from the labelling half of the corpus alone; nothing here reads the half that scores them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.labelling.triggers import Firing, read_firing
from tracescribe.agents.llm.case_view import CaseView, EvidenceSettings, Json, short, short_token
from tracescribe.tracer.feature_evidence import Context, FeatureEvidence
from tracescribe.tracer.graph import FeatureNode, FeatureRef

if TYPE_CHECKING:
    from tracescribe.tracer.evidence_store import EvidenceStore

NO_CORPUS = "no corpus at hand"
LEVELS = 10
"""Activations are shown as whole numbers up to this, as in Delphi's prompts (arXiv 2410.13928)."""
MAX_PLACES = 6
"""Positions of one feature that are described one by one; a feature that fires everywhere says the same at each."""
MAX_CONTEXT_CHARS = 600
"""Longest context shown; some hundred words, several times Delphi's windows of 32 tokens."""


def feature_inputs(view: CaseView, nodes: Sequence[FeatureNode]) -> dict[str, Json]:
    """Inputs of the `label_feature` template for one feature.

    Args:
        nodes: the feature's nodes in this prompt, most influential first.
    """
    ref = nodes[0].ref
    evidence, store = view.tools.evidence(ref), view.tools.store
    firing = None if store is None else read_firing(store, store.dense(ref), view.settings.strong_share)
    return {
        "feature": str(ref),
        "triggers": NO_CORPUS if firing is None or store is None else trigger_rows(store, firing, view.settings),
        "next_tokens": NO_CORPUS if firing is None or store is None else next_token_rows(store, firing, view.settings),
        "logit_effects": _logit_effects(evidence, view.settings),
        "contexts": _contexts(evidence, view.settings),
        "silent": NO_CORPUS if firing is None or store is None else _silent(view, store, firing, ref),
        "prompt": view.survey.full.prompt,
        "profile": [profile_row(view, node) for node in nodes[:MAX_PLACES]],
    }


def context_ids(view: CaseView, node: FeatureNode) -> tuple[str, ...]:
    """Ids of the contexts that `feature_inputs` shows."""
    evidence = view.tools.evidence(node.ref)
    return () if evidence is None else tuple(c.context_id for c in evidence.contexts[: view.settings.contexts])


def _contexts(evidence: FeatureEvidence | None, settings: EvidenceSettings) -> Json:
    if evidence is None or not evidence.contexts:
        return NO_CORPUS
    largest = max(evidence.contexts[0].activations) or 1.0
    return [
        {"id": context.context_id, "strength": context.quantile, "text": _marked(context, largest)}
        for context in evidence.contexts[: settings.contexts]
    ]


def _marked(context: Context, largest: float) -> str:
    """One sentence, BOS left out, with the activation after each token on which the feature fires."""
    text = " ".join(
        f"{token}({max(1, round(LEVELS * value / largest))})" if value > 0 else token
        for token, value in zip(context.tokens[1:], context.activations[1:], strict=True)
    )
    return text[:MAX_CONTEXT_CHARS]


def _silent(view: CaseView, store: EvidenceStore, firing: Firing, ref: FeatureRef) -> Json:
    """Sentences of the labelling half in which the feature never fires: half of them hold one of its trigger words.

    A label that fits the firing contexts alone may be far too wide; what tells is where the feature does not fire.

    Source: Delphi's contrastive explainer (arXiv 2410.13928): non-activating beside activating examples.
    """
    active = np.unique(firing.sentence[firing.activation > 0])
    silent = np.setdiff1d(np.unique(firing.sentence), active)
    fires = firing.fires
    mass = np.bincount(firing.token[fires], weights=firing.activation[fires])
    words = np.argsort(-mass, kind="stable")[: view.settings.words]
    near = np.intersect1d(silent, firing.sentence[np.isin(firing.token, words[mass[words] > 0])])
    rng = view.tools.rng("silent contexts", str(ref))
    half = view.settings.silent // 2
    chosen = [int(s) for s in rng.permutation(near)[:half]]
    others = [int(s) for s in rng.permutation(np.setdiff1d(silent, near))]
    chosen += others[: view.settings.silent - len(chosen)]
    texts = [" ".join(store.context(sentence, ref, "silent").tokens[1:])[:MAX_CONTEXT_CHARS] for sentence in chosen]
    return [{"id": f"s{sentence}", "text": text} for sentence, text in zip(chosen, texts, strict=True)]


def trigger_rows(store: EvidenceStore, firing: Firing, settings: EvidenceSettings) -> list[dict[str, Json]]:
    """Words on which the feature fires."""
    fires = firing.fires
    mass = np.bincount(firing.token[fires], weights=firing.activation[fires])
    seen = np.bincount(firing.token, minlength=len(mass))
    hits = np.bincount(firing.token[fires], minlength=len(mass))
    total = float(mass.sum()) or 1.0
    return [
        {
            "token": short_token(store.token_texts[int(word)]),
            "share_of_activation": short(float(mass[word]) / total),
            "fires_on_share_of_occurrences": short(int(hits[word]) / max(1, int(seen[word]))),
        }
        for word in np.argsort(-mass, kind="stable")[: settings.words]
        if mass[word] > settings.min_share * total
    ]


def next_token_rows(store: EvidenceStore, firing: Firing, settings: EvidenceSettings) -> list[dict[str, Json]]:
    """Words that the model would say where the feature fires."""
    said = np.bincount(firing.following[firing.fires])
    n_fires = max(1, int(firing.fires.sum()))
    return [
        {"token": short_token(store.token_texts[int(word)]), "share_of_firings": short(int(said[word]) / n_fires)}
        for word in np.argsort(-said, kind="stable")[: settings.words]
        if said[word] > settings.min_share * n_fires
    ]


def _logit_effects(evidence: FeatureEvidence | None, settings: EvidenceSettings) -> Json:
    if evidence is None:
        return "not known"
    return {
        "raises": [
            {"token": short_token(e.token), "effect": short(e.effect)} for e in evidence.promoted[: settings.words]
        ],
        "lowers": [
            {"token": short_token(e.token), "effect": short(e.effect)} for e in evidence.suppressed[: settings.words]
        ],
    }


def profile_row(view: CaseView, node: FeatureNode) -> dict[str, Json]:
    """What feeds a feature in this prompt, and which outputs it feeds, through the whole graph."""
    row = view.facts.row_of[node]
    fed, feeds = view.facts.profiles.inputs[row], view.facts.profiles.outputs[row]
    return {
        "fires_at": view.token_at(node.position),
        "fed_by": [
            {"token": view.token_at(int(position)), "share": short(fed[position])}
            for position in np.argsort(-np.abs(fed), kind="stable")[: view.settings.words]
            if abs(fed[position]) >= view.settings.min_source_share
        ],
        "feeds": [
            {"output": view.output(int(column)), "effect": short(feeds[column])}
            for column in np.argsort(-np.abs(feeds), kind="stable")[:4]
        ],
    }
