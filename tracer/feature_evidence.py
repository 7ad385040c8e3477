"""What is known of one feature outside any prompt: contexts it fires in, how often, and which tokens it promotes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tracescribe.tracer.graph import FeatureRef, FloatArray, IntArray

N_TOP_CONTEXTS = 12
"""Strongest contexts shown: what most explainers are given."""
N_QUANTILES = 4
"""Bands below the top: labels drawn from the strongest contexts alone overstate how specific a feature is."""
N_CONTEXTS_PER_QUANTILE = 4
"""Contexts of each band."""


class TokenEffect(NamedTuple):
    """A token and the feature's direct effect on its logit, per unit of activation, relative to the mean token."""

    token_id: int
    token: str
    effect: float


class TopEffects(NamedTuple):
    """Strongest direct logit effects of every feature of a layer, arrays `[n_features, k]`, strongest first."""

    promoted: IntArray
    promoted_effect: FloatArray
    suppressed: IntArray
    suppressed_effect: FloatArray


@dataclass(frozen=True)
class Context:
    """A sentence of the corpus, seen through one feature. All tuples have one entry per token, BOS included.

    Attributes:
        context_id: `s` and the sentence's number in the corpus.
        tokens: the sentence's tokens.
        activations: of the feature.
        next_tokens: the model's most probable next token at each position.
        quantile: `top`, a band such as `q50-75` of the feature's contexts by strength, or `test`.
    """

    context_id: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    next_tokens: tuple[str, ...]
    quantile: str

    @property
    def peak(self) -> int:
        """Position of the largest activation."""
        return max(range(len(self.activations)), key=self.activations.__getitem__)

    @property
    def is_active(self) -> bool:
        """Whether the feature fires anywhere in it."""
        return any(value > 0 for value in self.activations)


@dataclass(frozen=True)
class FeatureEvidence:
    """What a corpus scan found about one feature.

    Attributes:
        layer, feature: which.
        density: share of the corpus's tokens on which it fires, BOS left out.
        n_active: number of those tokens.
        max_activation: largest activation in the corpus; 0 for a dead feature.
        contexts: quantile-sampled from the labelling half, strongest first; empty for a feature that is dead there.
        promoted: tokens whose logits it raises most, directly; strongest first.
        suppressed: tokens whose logits it lowers most, directly; strongest first.
    """

    layer: int
    feature: int
    density: float
    n_active: int
    max_activation: float
    contexts: tuple[Context, ...]
    promoted: tuple[TokenEffect, ...]
    suppressed: tuple[TokenEffect, ...]

    @property
    def ref(self) -> FeatureRef:
        """The feature's layer and index."""
        return FeatureRef(self.layer, self.feature)


def band_names() -> tuple[str, ...]:
    """`top`, then the bands below it from the strongest to the weakest."""
    highs = [100 * (N_QUANTILES - band) // N_QUANTILES for band in range(N_QUANTILES)]
    return ("top", *(f"q{high - 100 // N_QUANTILES}-{high}" for high in highs))


BANDS = band_names()


def quantile_ranks(n: int) -> list[tuple[int, int]]:
    """Which of `n` contexts to show: the strongest, then evenly spaced ones from each lower band.

    Returns:
        (rank, place in `BANDS`) pairs; rank 0 is the strongest. Each rank once, ascending.
    """
    chosen = [(rank, 0) for rank in range(min(n, N_TOP_CONTEXTS))]
    rest = np.arange(N_TOP_CONTEXTS, max(n, N_TOP_CONTEXTS))
    for band, part in enumerate(np.array_split(rest, N_QUANTILES), 1):
        wanted = min(N_CONTEXTS_PER_QUANTILE, len(part))
        picks = np.linspace(0, max(0, len(part) - 1), wanted).round().astype(np.int64)
        chosen.extend((int(part[pick]), band) for pick in picks)
    return chosen


def sample_by_quantile(sentences: IntArray, strengths: FloatArray) -> list[tuple[int, str]]:
    """Choose the contexts to show, by `quantile_ranks`. Nothing is random.

    Args:
        sentences: `[n]` candidates.
        strengths: `[n]` largest activation in each.

    Returns:
        (sentence, quantile name) pairs, strongest first, each sentence once.
    """
    order = np.lexsort((sentences, -strengths))
    return [(int(sentences[order[rank]]), BANDS[band]) for rank, band in quantile_ranks(len(order))]
