"""A label's predicate against sentences that the labeller never saw: scores, and experiments on label claims.

Scores and claims rest on different parts of the test half; see `unseen`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.claims import LabelClaim, Predicate, claim_sha256
from tracescribe.agents.findings import Controls, DetectionScore, ExperimentPlan, Interval, Measurement
from tracescribe.agents.labelling.predicates import holds_at
from tracescribe.agents.labelling.unseen import Part
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.testing.planning import metric_of
from tracescribe.agents.testing.resampling import auc_interval, f1_interval
from tracescribe.tracer.controls import FEATURES_MATCHED_ON, controls_sha256, matched_features
from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.graph import BoolArray, FeatureRef, FloatArray, IntArray
from tracescribe.tracer.statistics import roc_auc

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.labelling.corpus_facts import CorpusFacts


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


def sample_sentences(
    corpus: CorpusFacts,
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
    positive, negative = corpus.unseen.pools(ref, part, settings.min_positive)
    if len(positive) < settings.min_positive or len(negative) < settings.min_positive:
        raise EvidenceError(
            f"feature {ref} fires in {len(positive)} and is silent in {len(negative)} unseen sentences; a test needs "
            f"{settings.min_positive} of each; scan a larger corpus"
        )
    drawn = np.concatenate(
        [rng.permutation(positive)[: settings.n_positive], rng.permutation(negative)[: settings.n_negative]]
    )
    return _tokens_of(corpus, drawn, predicate)


def _tokens_of(corpus: CorpusFacts, sentences: IntArray, predicate: Predicate) -> UnseenSentences:
    store = corpus.store
    first = store.offsets[sentences] + store.origin.zero_positions
    lengths = np.maximum(store.offsets[sentences + 1] - first, 0)
    group = np.repeat(np.arange(len(sentences)), lengths)
    token = np.repeat(first - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths) + np.arange(int(lengths.sum()))
    return UnseenSentences(tuple(int(s) for s in sentences), token, group, holds_at(corpus, predicate, token))


def score_predicate(
    corpus: CorpusFacts,
    ref: FeatureRef,
    predicate: Predicate,
    part: Part,
    settings: ExperimentSettings,
    rng: np.random.Generator,
) -> DetectionScore:
    """How well a predicate tells where a feature fires, on unseen sentences.

    Raises:
        EvidenceError: the feature fires in too few of them, or the predicate holds nowhere or everywhere.
    """
    sample = sample_sentences(corpus, ref, predicate, part, settings, rng)
    activation = corpus.store.dense(ref)[sample.token]
    fires = activation > 0
    masks = (fires & sample.holds, sample.holds, fires)
    rows = [np.bincount(sample.group[m], minlength=len(sample.sentences)) for m in masks]
    counts = np.stack(rows, axis=1).astype(np.float64)
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
    corpus = tools.corpus
    if corpus is None:
        raise EvidenceError("no corpus evidence to test the label on; build it with: tracescribe evidence build")
    ref = FeatureRef(claim.layer, claim.feature)
    rng = tools.rng("label test", claim.claim_id)
    sample = sample_sentences(corpus, ref, claim.predicate, "claim", settings, rng)
    if sample.holds.all() or not sample.holds.any():
        raise EvidenceError(
            f"the predicate of claim {claim.claim_id} holds nowhere or everywhere in the test sentences"
        )
    density = {ref.layer: corpus.store.densities(ref.layer)}
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
