"""Labels against sentences that the labeller never saw: scores, and experiments on label claims.

The test half of the corpus is cut in two once more, for each feature, by a hash of each sentence: one part gives the
scores that agents may look at, the other is kept for registered claims, so that no claim is tested on what suggested it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tracescribe.agents.claims import LabelClaim, Predicate, claim_sha256
from tracescribe.agents.experiment_settings import ExperimentSettings
from tracescribe.agents.findings import Controls, DetectionScore, ExperimentPlan, Interval, Measurement
from tracescribe.agents.planning import metric_of
from tracescribe.agents.predicates import holds
from tracescribe.agents.resampling import auc_interval, f1_interval
from tracescribe.tracer.controls import FEATURES_MATCHED_ON, controls_sha256, matched_features
from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.graph import BoolArray, FeatureRef, FloatArray, IntArray
from tracescribe.tracer.statistics import roc_auc

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.tracer.evidence_store import EvidenceStore

Part = Literal["score", "claim"]


@dataclass(frozen=True, eq=False)
class UnseenSentences:
    """Sentences that a label is tested on; arrays over their tokens, BOS left out, `[n]`.

    Attributes:
        sentences: their numbers.
        token: index of each token in the corpus.
        group: place of each token's sentence in `sentences`.
        holds: where the predicate holds.
    """

    sentences: tuple[int, ...]
    token: IntArray
    group: IntArray
    holds: BoolArray


@dataclass(frozen=True, eq=False)
class LabelTest:
    """A planned experiment on a label.

    Attributes:
        plan: as registered.
        ref: the feature.
        sample: what it is tested on.
        controls: features of the same layer and a like density.
    """

    plan: ExperimentPlan
    ref: FeatureRef
    sample: UnseenSentences
    controls: tuple[FeatureRef, ...]


def _hash(sentence: str) -> bytes:
    return hashlib.sha256(f"label part\0{sentence}".encode()).digest()


def in_part(sentence: str, part: Part) -> bool:
    """Whether a sentence of the test half in which a feature is silent belongs to this part of it."""
    return (_hash(sentence)[0] % 2 == 0) == (part == "score")


def sample_sentences(
    store: EvidenceStore,
    ref: FeatureRef,
    predicate: Predicate,
    part: Part,
    settings: ExperimentSettings,
    rng: np.random.Generator,
) -> UnseenSentences:
    """Random test sentences in which the feature fires, and as many in which it does not.

    Raises:
        EvidenceError: it fires in too few.
    """
    positive, negative = test_pools(store, ref, part, settings)
    if len(positive) < settings.min_positive or len(negative) < settings.min_positive:
        raise EvidenceError(
            f"feature {ref} fires in {len(positive)} and is silent in {len(negative)} unseen sentences; a test needs "
            f"{settings.min_positive} of each; scan a larger corpus"
        )
    drawn = [positive[i] for i in rng.permutation(len(positive))[: settings.n_positive]]
    drawn += [negative[i] for i in rng.permutation(len(negative))[: settings.n_negative]]
    return _tokens_of(store, drawn, predicate)


def test_pools(
    store: EvidenceStore, ref: FeatureRef, part: Part, settings: ExperimentSettings
) -> tuple[list[int], list[int]]:
    """Sentences of the test half that belong to one part of it: those in which a feature fires, and the others.

    The sentences in which it fires are dealt out in turn, in the order of their hashes, so that both parts have their
    share. A feature too rare for that is not scored at all, and all of them are kept for its claim.
    """
    half = _one_each(store, np.flatnonzero(store.is_test))
    firing = set(_firing_sentences(store, ref).tolist())
    positive = [i for i in half if i in firing]
    negative = [i for i in half if i not in firing and in_part(store.corpus[i], part)]
    if len(positive) < 2 * settings.min_positive:
        return (positive if part == "claim" else []), negative
    return positive[part == "claim" :: 2], negative


def _one_each(store: EvidenceStore, sentences: IntArray) -> list[int]:
    """One number for each distinct sentence, in the order of the sentences' hashes."""
    first: dict[str, int] = {}
    for sentence in sentences:
        first.setdefault(store.corpus[int(sentence)], int(sentence))
    return [first[text] for text in sorted(first, key=lambda text: (_hash(text), text))]


def _firing_sentences(store: EvidenceStore, ref: FeatureRef) -> IntArray:
    return np.unique(store.token_sentence[np.flatnonzero(store.dense(ref) > 0)]).astype(np.int64)


def _tokens_of(store: EvidenceStore, sentences: Sequence[int], predicate: Predicate) -> UnseenSentences:
    skip = store.origin.zero_positions
    token, group, met = [], [], []
    for place, sentence in enumerate(sentences):
        span = np.arange(store.offsets[sentence], store.offsets[sentence + 1])
        following = tuple(store.token_texts[int(i)] for i in store.next_token(sentence))
        truth = holds(predicate, store.sentence_tokens(sentence), following)
        token.append(span[skip:])
        group.append(np.full(len(span) - skip, place))
        met.append(truth[skip:])
    return UnseenSentences(
        tuple(int(s) for s in sentences), np.concatenate(token), np.concatenate(group), np.concatenate(met)
    )


def score_predicate(
    store: EvidenceStore, ref: FeatureRef, predicate: Predicate, settings: ExperimentSettings, rng: np.random.Generator
) -> DetectionScore:
    """How well a predicate tells where a feature fires, on unseen sentences.

    Raises:
        EvidenceError: the feature fires in too few of them, or the predicate holds nowhere or everywhere.
    """
    sample = sample_sentences(store, ref, predicate, "score", settings, rng)
    activation = store.dense(ref)[sample.token]
    fires = activation > 0
    counts = np.zeros((len(sample.sentences), 3))
    for column, mask in enumerate((fires & sample.holds, sample.holds, fires)):
        np.add.at(counts[:, column], sample.group[mask], 1.0)

    hit, told, true = counts.sum(axis=0)
    bounds = f1_interval(counts, rng, settings.n_bootstrap)
    return DetectionScore(
        auc=_auc(activation, sample.holds, ref),
        f1=float(2 * hit / max(told + true, 1)),
        precision=float(hit / told) if told else 0.0,
        recall=float(hit / true) if true else 0.0,
        n_positive=int(true),
        n_negative=int(len(fires) - true),
        interval=Interval(low=bounds.low, high=bounds.high, method="bootstrap over sentences"),
    )


def design_label_test(tools: CaseTools, claim: LabelClaim, settings: ExperimentSettings) -> LabelTest:
    """Fix the experiment of a label claim: sentences kept for claims, and control features.

    Raises:
        EvidenceError: there is no corpus scan, or the feature fires in too few of its unseen sentences.
    """
    store = tools.store
    if store is None:
        raise EvidenceError("no corpus evidence to test the label on; build it with: tracescribe evidence build")
    ref = FeatureRef(claim.layer, claim.feature)
    rng = tools.rng("label test", claim.claim_id)
    sample = sample_sentences(store, ref, claim.predicate, "claim", settings, rng)
    if sample.holds.all() or not sample.holds.any():
        raise EvidenceError(
            f"the predicate of claim {claim.claim_id} holds nowhere or everywhere in the test sentences"
        )
    density = {ref.layer: store.densities(ref.layer)}
    drawn = matched_features(tools.rng("controls", claim.claim_id), [ref], density, settings.n_controls)
    metric, threshold = metric_of(claim)
    plan = ExperimentPlan(
        plan_id=f"p-{claim.claim_id}",
        claim_id=claim.claim_id,
        claim_sha256=claim_sha256(claim),
        metric=metric,
        intervention={"sentences": [f"s{s}" for s in sample.sentences]},
        mode="none",
        freeze_attention=False,
        controls=Controls(n=len(drawn), matched_on=FEATURES_MATCHED_ON, seed=tools.seed, sha256=controls_sha256(drawn)),
        threshold=threshold,
        alpha=settings.alpha,
        seed=tools.seed,
    )
    return LabelTest(plan=plan, ref=ref, sample=sample, controls=tuple(one for (one,) in drawn))


def measure_label(tools: CaseTools, test: LabelTest, settings: ExperimentSettings) -> Measurement:
    """Area under the ROC curve of the activation against the predicate: of the feature and of every control.

    Raises:
        EvidenceError: the corpus scan is gone.
    """
    store = tools.store
    if store is None:
        raise EvidenceError("no corpus evidence to test the label on")
    sample = test.sample
    activation = store.dense(test.ref)[sample.token]
    area = _auc(activation, sample.holds, test.ref)
    rng = tools.rng("interval", test.plan.claim_id)
    bounds = auc_interval(activation, sample.holds, sample.group, rng, settings.n_bootstrap)
    controls = tuple(_auc(store.dense(ref)[sample.token], sample.holds, ref) for ref in test.controls)
    return Measurement(
        plan_id=test.plan.plan_id,
        effect=area,
        control_effects=controls,
        interval=Interval(low=bounds.low, high=bounds.high, method="bootstrap over sentences"),
        details={
            "tokens": float(len(sample.token)),
            "tokens_where_it_fires": float((activation > 0).sum()),
            "mean_control_effect": float(np.mean(controls)) if controls else None,
        },
    )


def _auc(activation: FloatArray, truth: BoolArray, ref: FeatureRef) -> float:
    if truth.all() or not truth.any():
        raise EvidenceError(
            f"the label of feature {ref} predicts nothing in the test sentences (nowhere or everywhere)"
        )
    return roc_auc(activation, truth)
