"""A label's predicate against sentences that the labeller never saw: scores, and experiments on label claims.

Scores and claims rest on different parts of the test half; see `unseen`. Sentences are drawn by whether the feature fires in
them and by whether the predicate holds in them, so that both a word on which it never fires and a firing that the predicate
does not tell are met; each then stands for as many as it was drawn from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.claims import LabelClaim, Predicate, claim_sha256
from tracescribe.agents.findings import Controls, DetectionScore, ExperimentPlan, Interval, Measurement
from tracescribe.agents.labelling.predicates import holds_at
from tracescribe.agents.labelling.two_way import two_way_area, two_way_interval, weighted_auc
from tracescribe.agents.labelling.unseen import Part
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.testing.planning import metric_of
from tracescribe.agents.testing.resampling import f1_interval, stratified_draws
from tracescribe.tracer.controls import FEATURES_MATCHED_ON, controls_sha256, matched_features
from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.graph import BoolArray, FeatureRef, IntArray
from tracescribe.tracer.statistics import Float64Array

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
        stratum: of each sentence: 0 and 1 where the feature fires, 2 and 3 where it is silent; 0 and 2 where the predicate
            holds on some token, `[n_sentences]`.
        sizes: sentences of each stratum in the part that they were drawn from, `[4]`.
        weight: how many unseen sentences each one stands for, `[n_sentences]`.
    """

    sentences: tuple[int, ...]
    token: IntArray
    group: IntArray
    holds: BoolArray
    stratum: IntArray
    sizes: IntArray
    weight: Float64Array

    @property
    def token_weight(self) -> Float64Array:
        """The weight of each token's sentence, `[n]`."""
        return self.weight[self.group]

    @property
    def n_holding(self) -> int:
        """Sentences in which the predicate holds on some token."""
        return int((self.stratum % 2 == 0).sum())

    def resampled(self, rng: np.random.Generator, n_resamples: int) -> Float64Array:
        """How often each sentence counts in each resample, `[n_resamples, n_sentences]`."""
        return stratified_draws(rng, self.stratum, self.sizes, n_resamples)


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
    """Random unseen sentences of four kinds: the feature fires or is silent, the predicate holds on some token or on none.

    Half of those in which it fires are such that the predicate holds in, as far as there are so many, and so are half of
    those in which it is silent. A weight undoes that, and the shares in which sentences are dealt to parts.

    Raises:
        EvidenceError: it fires in too few.
    """
    pools = corpus.unseen.pools(ref, part, settings.min_positive)
    if min(map(len, pools)) < settings.min_positive:
        raise EvidenceError(
            f"feature {ref} fires in {len(pools[0])} and is silent in {len(pools[1])} unseen sentences; a test needs "
            f"{settings.min_positive} of each; scan a larger corpus"
        )
    drawn: list[IntArray] = []
    strata: list[IntArray] = []
    weights: list[Float64Array] = []
    of_kind: list[int] = []
    totals, most = corpus.unseen.n_sentences(ref), (settings.n_positive, settings.n_negative)
    for side, (pool, total, n) in enumerate(zip(pools, totals, most, strict=True)):
        token, group = _tokens_of(corpus, pool)
        met = np.zeros(len(pool), dtype=np.bool_)
        met[group[holds_at(corpus, predicate, token)]] = True
        kinds = (pool[met], pool[~met])
        for kind, (among, count) in enumerate(zip(kinds, _halves(len(kinds[0]), len(kinds[1]), n), strict=True)):
            of_kind.append(len(among))
            drawn.append(rng.permutation(among)[:count])
            strata.append(np.full(count, 2 * side + kind, dtype=np.int64))
            weights.append(np.full(count, len(among) / max(count, 1) * total / len(pool)))
    sentences = np.concatenate(drawn)
    token, group = _tokens_of(corpus, sentences)
    return UnseenSentences(
        sentences=tuple(int(s) for s in sentences),
        token=token,
        group=group,
        holds=holds_at(corpus, predicate, token),
        stratum=np.concatenate(strata),
        sizes=np.array(of_kind, dtype=np.int64),
        weight=np.concatenate(weights),
    )


def _halves(first: int, second: int, n: int) -> tuple[int, int]:
    """How many to take of two kinds, `n` in all where there are so many, and half of each where there are so many."""
    of_second = min(second, max(n // 2, n - first))
    return min(first, n - of_second), of_second


def _tokens_of(corpus: CorpusFacts, sentences: IntArray) -> tuple[IntArray, IntArray]:
    """Tokens of sentences, BOS left out: index in the corpus, and place of the sentence, each `[n]`."""
    store = corpus.store
    first = store.offsets[sentences] + store.origin.zero_positions
    lengths = np.maximum(store.offsets[sentences + 1] - first, 0)
    group = np.repeat(np.arange(len(sentences)), lengths)
    token = np.repeat(first - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths) + np.arange(int(lengths.sum()))
    return token, group


def score_predicate(
    corpus: CorpusFacts,
    ref: FeatureRef,
    predicate: Predicate,
    part: Part,
    settings: ExperimentSettings,
    rng: np.random.Generator,
) -> DetectionScore:
    """How well a predicate tells where a feature fires, on unseen sentences weighted to the corpus.

    Raises:
        EvidenceError: the feature fires in too few of them, or the predicate holds nowhere or everywhere.
    """
    sample = sample_sentences(corpus, ref, predicate, part, settings, rng)
    if sample.holds.all() or not sample.holds.any():
        raise EvidenceError(f"the label of feature {ref} predicts nothing in unseen sentences (nowhere or everywhere)")
    activation = corpus.store.dense(ref)[sample.token]
    fires = activation > 0
    masks = (fires & sample.holds, sample.holds, fires)
    rows = [np.bincount(sample.group[m], minlength=len(sample.sentences)) for m in masks]
    counts = np.stack(rows, axis=1) * sample.weight[:, None]
    hit, told, true = counts.sum(axis=0)
    bounds = f1_interval(counts, sample.resampled(rng, settings.n_bootstrap))
    return DetectionScore(
        auc=weighted_auc(activation, sample.holds, sample.token_weight),
        f1=float(2 * hit / (told + true)),
        precision=float(hit / told) if told else 0.0,
        recall=float(hit / true) if true else 0.0,
        n_positive=int(fires.sum()),
        n_negative=int((~fires).sum()),
        interval=Interval(low=bounds.low, high=bounds.high, method="bootstrap over sentences"),
    )


def design_label_test(tools: CaseTools, claim: LabelClaim, settings: ExperimentSettings) -> LabelTest:
    """Fix the experiment of a label claim: sentences kept for claims, and control features.

    Raises:
        EvidenceError: there is no corpus scan, or the feature fires, or the predicate holds, in too few of its unseen
            sentences.
    """
    corpus = tools.corpus
    if corpus is None:
        raise EvidenceError("no corpus evidence to test the label on; build it with: tracescribe evidence build")
    ref = FeatureRef(claim.layer, claim.feature)
    rng = tools.rng("label test", claim.claim_id)
    sample = sample_sentences(corpus, ref, claim.predicate, "claim", settings, rng)
    if sample.n_holding < settings.min_positive:
        raise EvidenceError(
            f"the predicate of claim {claim.claim_id} holds in {sample.n_holding} of the unseen sentences; a test needs "
            f"{settings.min_positive}"
        )
    if sample.holds.all():
        raise EvidenceError(f"the predicate of claim {claim.claim_id} holds everywhere in the unseen sentences")
    density = {ref.layer: corpus.store.densities(ref.layer)}
    drawn = matched_features(tools.rng("controls", claim.claim_id), [ref], density, settings.n_controls)
    metric, threshold = metric_of(claim)
    plan = ExperimentPlan(
        plan_id=f"p-{claim.claim_id}",
        claim_id=claim.claim_id,
        claim_sha256=claim_sha256(claim),
        metric=metric,
        intervention={
            "sentences": [f"s{s}" for s in sample.sentences],
            "weights": [round(float(w), 6) for w in sample.weight],
        },
        mode="none",
        freeze_attention=False,
        controls=Controls(n=len(drawn), matched_on=FEATURES_MATCHED_ON, seed=tools.seed, sha256=controls_sha256(drawn)),
        threshold=threshold,
        alpha=settings.alpha,
        seed=tools.seed,
    )
    return LabelTest(plan=plan, ref=ref, sample=sample, controls=tuple(one for (one,) in drawn))


def measure_label(tools: CaseTools, test: LabelTest, settings: ExperimentSettings) -> Measurement:
    """The worse of two areas (see `two_way`), of the feature and of every control.

    Raises:
        EvidenceError: the corpus scan is gone.
    """
    store = tools.store
    if store is None:
        raise EvidenceError("no corpus evidence to test the label on")
    sample, weight = test.sample, test.sample.token_weight
    activation = store.dense(test.ref)[sample.token]
    areas = two_way_area(activation, sample.holds, weight)
    rng = tools.rng("interval", test.plan.claim_id)
    drawn = sample.resampled(rng, settings.n_bootstrap)
    bounds = two_way_interval(activation, sample.holds, sample.group, sample.weight, drawn)
    controls = tuple(two_way_area(store.dense(ref)[sample.token], sample.holds, weight).worse for ref in test.controls)
    fires = activation > 0
    hit = float(weight[fires & sample.holds].sum())
    return Measurement(
        plan_id=test.plan.plan_id,
        effect=areas.worse,
        control_effects=controls,
        interval=Interval(low=bounds.low, high=bounds.high, method="bootstrap over sentences"),
        details={
            "tokens": float(len(sample.token)),
            "tokens_where_it_fires": float(fires.sum()),
            "tokens_where_it_holds": float(sample.holds.sum()),
            "firing_where_it_holds": areas.firing_where_it_holds,
            "holding_where_it_fires": areas.holding_where_it_fires,
            "precision": hit / float(weight[sample.holds].sum()),
            "recall": hit / float(weight[fires].sum()),
            "mean_control_effect": float(np.mean(controls)) if controls else None,
        },
    )
