"""The prompt in other words: where the same edit is measured once more, so that a claim is not one wording's accident.

Wordings are found without knowing what the model is about: openings of corpus sentences that hold the words which feed
the supernode, and after which the model gives the same answer. A supernode's members are found again by feature, at the
position where they fire. Wordings inform; the verdict rests on the prompt itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.claims import Claim, NecessityClaim, SteeringClaim, SufficiencyClaim, supernodes_of
from tracescribe.agents.findings import Interval, ParaphraseEffect
from tracescribe.agents.grouping.graph_facts import graph_facts
from tracescribe.agents.testing.donors import DonorSettings, readable, source_positions
from tracescribe.agents.testing.effects import effects_of
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.testing.resampling import mean_interval
from tracescribe.tracer.edits import Row, ablation, scaling
from tracescribe.tracer.errors import InputError, WorkError
from tracescribe.tracer.graph import FeatureNode, IntArray

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.tracer.clean_run import CleanRun
    from tracescribe.tracer.evidence_store import EvidenceStore

MIN_MEMBERS_FOUND = 0.5
"""Share of a supernode's members that must fire in another wording; with fewer it is not the same supernode."""
MIN_FOR_INTERVAL = 3
"""Fewest wordings on which an interval is given: resampling two values says nothing of their spread."""


@dataclass(frozen=True, eq=False)
class Wording:
    """One wording, and what is done there.

    Attributes:
        prompt: the wording.
        rows: the claim's edit on the features found again, and the reference run where the metric needs one; empty where
            the edit does not apply.
        why: why it does not; empty where it does.
    """

    prompt: str
    rows: tuple[Row, ...] = ()
    why: str = ""


def design_wordings(
    tools: CaseTools, claim: Claim, members: Sequence[FeatureNode], settings: ExperimentSettings
) -> tuple[Wording, ...]:
    """Wordings for a claim on necessity, sufficiency or steering, with the edits that will be made in each.

    Only clean runs are made here. Wordings that a person or model gave are all told, also those that cannot be used;
    found ones only where they can be.

    Raises:
        BudgetExceededError: the forward passes are used up.
    """
    if not isinstance(claim, NecessityClaim | SufficiencyClaim | SteeringClaim) or not settings.n_paraphrases:
        return ()
    if settings.paraphrases:
        given = [prompt for prompt in dict.fromkeys(settings.paraphrases) if prompt != tools.full.prompt]
        return tuple(_wording(tools, claim, members, prompt) for prompt in given[: settings.n_paraphrases])
    found = find_wordings(tools, claim.claim_id, members, settings.n_paraphrases)
    return tuple(wording for prompt in found if not (wording := _wording(tools, claim, members, prompt)).why)


def find_wordings(tools: CaseTools, key: str, members: Sequence[FeatureNode], most: int) -> tuple[str, ...]:
    """Openings of corpus sentences that say the same in other words: those least like the prompt first, none without a corpus.

    Args:
        key: what the draws among equals are for.
        members: features whose source words every wording must hold.
        most: wordings wanted.
    """
    store = tools.store
    clean = tools.clean()
    if store is None:
        return ()
    prompt = np.asarray(clean.tokens.tolist(), dtype=np.int64)
    needed = np.unique(prompt[list(_source_words(tools, members))])
    openings = _openings(store, int(clean.logits[-1].argmax()), needed)
    openings = [ids for ids in openings if not _holds(ids, prompt) and len(ids) <= tools.model.max_positions]
    rng = tools.rng("paraphrases", key)
    shuffled = [openings[int(i)] for i in rng.permutation(len(openings))]
    shuffled.sort(key=lambda ids: _likeness(ids, prompt, needed))
    texts = (readable(tools, ids) for ids in shuffled)
    return tuple(text for text, _ in zip((text for text in texts if text is not None), range(most), strict=False))


def measure_wordings(
    tools: CaseTools, claim: Claim, wordings: Sequence[Wording], settings: ExperimentSettings
) -> tuple[tuple[ParaphraseEffect, ...], Interval | None]:
    """The claim's effect in every wording, and an interval of its mean from three wordings on.

    A wording in which the measurement fails, be it for want of budget, is told with the reason.
    """
    effects = tuple(_measured(tools, claim, wording) for wording in wordings)
    found = np.array([effect.effect for effect in effects if effect.effect is not None], dtype=np.float64)
    if len(found) < MIN_FOR_INTERVAL:
        return effects, None
    bounds = mean_interval(found, tools.rng("paraphrase interval", claim.claim_id), settings.n_bootstrap)
    return effects, Interval(low=bounds.low, high=bounds.high, method="mean over wordings, bootstrap over wordings")


def _measured(tools: CaseTools, claim: Claim, wording: Wording) -> ParaphraseEffect:
    if not wording.rows:
        return ParaphraseEffect(prompt=wording.prompt, effect=None, why=wording.why)
    try:
        effects, _ = effects_of(tools, claim, tools.intervene(wording.rows, prompt=wording.prompt))
    except WorkError as error:  # a budget among them: what informs must not cost the measurement that decides
        return ParaphraseEffect(prompt=wording.prompt, effect=None, why=str(error))
    if not np.isfinite(effects[0]):
        return ParaphraseEffect(prompt=wording.prompt, effect=None, why="the effect is not finite")
    return ParaphraseEffect(prompt=wording.prompt, effect=float(effects[0]))


def _wording(tools: CaseTools, claim: Claim, members: Sequence[FeatureNode], prompt: str) -> Wording:
    """What the claim's edit is in another wording, or why it is none."""
    try:
        there = tools.clean(prompt)
    except InputError as error:
        return Wording(prompt, why=str(error))
    here = tools.clean()
    answer, other = int(here.logits[-1].argmax()), int(there.logits[-1].argmax())
    if answer != other:
        told = f"the model answers {tools.model.token_text(other)!r} there, not {tools.model.token_text(answer)!r}"
        return Wording(prompt, why=told)
    firing = [node for node in dict.fromkeys(members) if here.activation(node) != 0.0]
    found = [place for node in firing if (place := counterpart_of(here, there, node)) is not None]
    if not found or len(found) < MIN_MEMBERS_FOUND * len(firing):
        return Wording(prompt, why=f"only {len(found)} of {len(firing)} features fire there")
    rows = _rows(claim, tuple(dict.fromkeys(found)), there)
    return Wording(prompt, rows) if rows else Wording(prompt, why="nothing is left to edit there")


def _rows(claim: Claim, found: tuple[FeatureNode, ...], there: CleanRun) -> tuple[Row, ...]:
    match claim:
        case NecessityClaim():
            return (ablation(found),)
        case SteeringClaim():
            return (scaling(found, claim.multiplier, there),)
        case SufficiencyClaim():
            active = _active(there)
            removed = ablation(node for node in active if node not in set(found))
            return (removed, ablation(active)) if removed else ()
        case _:
            return ()


def counterpart_of(here: CleanRun, there: CleanRun, node: FeatureNode) -> FeatureNode | None:
    """Where a feature fires in another prompt: on the same word if it does so, else as far from the end; None if nowhere."""
    activations = there.activations(node.layer)[:, node.feature]
    positions = [int(p) for p in activations.nonzero()[:, 0]]
    if not positions:
        return None
    word, behind = int(here.tokens[node.position]), here.n_pos - node.position
    best = min(positions, key=lambda p: (int(there.tokens[p]) != word, abs(there.n_pos - p - behind), p))
    return FeatureNode(node.layer, best, node.feature)


def members_of(claim: Claim, members: Mapping[str, tuple[FeatureNode, ...]]) -> tuple[FeatureNode, ...]:
    """All members of the supernodes that a claim names."""
    return tuple(dict.fromkeys(node for supernode in supernodes_of(claim) for node in members[supernode]))


def _active(clean: CleanRun) -> list[FeatureNode]:
    return [
        FeatureNode(layer, int(position), int(feature))
        for layer in range(clean.transcoders.n_layers)
        for position, feature in clean.activations(layer).nonzero()
    ]


def _source_words(tools: CaseTools, members: Sequence[FeatureNode]) -> tuple[int, ...]:
    """Positions of the prompt whose words feed the members; the members' own where the graph does not have them."""
    facts = graph_facts(tools.full)
    known = [node for node in members if node in facts.row_of]
    if known:
        return source_positions(facts, known, DonorSettings().source_share)
    return tuple(sorted({node.position for node in members}))


def _openings(store: EvidenceStore, answer: int, needed: Iterable[int]) -> list[IntArray]:
    """Distinct openings of corpus sentences that hold every needed word and go on with the answer, as the model does.

    An opening that holds the answer already would give it away.
    """
    goes_on = np.zeros(store.n_tokens, dtype=np.bool_)
    goes_on[:-1] = (store.token_ids[1:] == answer) & (store.token_position[1:] > 0)
    found: dict[tuple[int, ...], None] = {}
    for end in np.flatnonzero(goes_on & (store.next_token_ids == answer)):
        start = int(store.offsets[store.token_sentence[end]])
        ids = store.token_ids[start : int(end) + 1]
        if np.isin(list(needed), ids).all() and not (ids == answer).any():
            found[tuple(int(i) for i in ids)] = None
    return [np.array(ids, dtype=np.int64) for ids in sorted(found)]


def _holds(ids: IntArray, prompt: IntArray) -> bool:
    """Whether an opening is the prompt, or ends in it: nothing is worded otherwise then. BOS stands before both."""
    body = prompt[1:] if len(prompt) > 1 else prompt
    return len(ids) >= len(body) and bool((ids[len(ids) - len(body) :] == body).all())


def _likeness(ids: IntArray, prompt: IntArray, needed: IntArray) -> float:
    """Share of words that two wordings have in common, beyond those that they must."""
    ours, theirs = set(prompt.tolist()) - set(needed.tolist()), set(ids.tolist()) - set(needed.tolist())
    return len(ours & theirs) / max(len(ours | theirs), 1)
