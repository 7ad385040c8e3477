"""Linear probes: which words of the corpus can be read off the residual stream here, and which features write them.

A word is a concept. Its probe is a logistic regression that tells tokens on the way to that word (in sentences that go on to
say it) from tokens of other sentences. In the prompt it says at which layer and position the concept stands; the features
there whose decoders add to the probe's direction are the concept's supernode. It is the pragmatic complement of a circuit:
no graph is needed to know that a concept is there, and nothing is said of how it came there.

Concepts are words of the prompt, the model's answer, and words that share sentences with words of the prompt; the test half
of the corpus is never read.

Source: Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes", arXiv 1610.01644.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.baselines import BaselineName
from tracescribe.agents.baselines.common import BaselineProposer, Groups
from tracescribe.agents.baselines.probe_data import Streams, prompt_streams, training_data
from tracescribe.agents.claims import Frozen
from tracescribe.agents.findings import Supernode
from tracescribe.agents.labelling.corpus_facts import CorpusFacts
from tracescribe.agents.llm.memory import keep, recall
from tracescribe.agents.survey import Survey
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are made and read.

    Attributes:
        max_own: words of the prompt that are probed for, rarest first.
        max_near: words that share sentences with them, by how much of their sentences they share.
        sentences: of each concept, and as many times four without it.
        min_auc: on sentences kept aside, from which a probe is believed.
        min_probability: from which a concept stands at a position.
        min_share: of all that features add to a probe's direction at its place, from which a feature writes the concept.
        strength: of the regression's penalty, scikit-learn's C.
        max_layers: probed, evenly spaced.
    """

    max_own: int = 5
    max_near: int = 6
    sentences: int = 40
    min_auc: float = 0.8
    min_probability: float = 0.5
    min_share: float = 0.1
    strength: float = 0.05
    max_layers: int = 6


class Reading(Frozen):
    """Where a concept stands in the prompt, and what writes it there.

    Attributes:
        word: the concept.
        layer, position: where its probe is surest.
        probability: that it gives there.
        auc: of the probe on sentences kept aside.
        writers: features with their share of what all features add to its direction.
    """

    word: str
    layer: int
    position: int
    probability: float
    auc: float
    writers: tuple[tuple[FeatureNode, float], ...]


class Readings(Frozen):
    """Every concept that stands in the prompt, surest first."""

    found: tuple[Reading, ...]


@dataclass(frozen=True)
class ProbeBaseline(BaselineProposer):
    """Probes.

    Attributes:
        given: how they are made and read.
    """

    NAME: ClassVar[BaselineName] = "probe"
    given: ProbeSettings = field(default_factory=ProbeSettings)

    def own_settings(self) -> Mapping[str, object]:
        """Of the probes."""
        return asdict(self.given)

    def groups(self, tools: CaseTools, survey: Survey) -> Groups:
        """One group a concept; a feature that writes several belongs to the one that it writes the largest share of."""
        best: dict[FeatureNode, tuple[float, int]] = {}
        readings = self._readings(tools, survey)
        for number, reading in enumerate(readings):
            for node, share in reading.writers:
                best[node] = max(best.get(node, (0.0, 0)), (share, -number))
        groups: list[list[FeatureNode]] = [[] for _ in readings]
        for node in sorted(best, key=lambda n: (-best[n][0], n)):
            groups[-best[node][1]].append(node)
        return [group for group in groups if group]

    def word(self, tools: CaseTools, survey: Survey, node: FeatureNode) -> str:
        """The concept that a feature writes the most of."""
        shares = {
            reading.word: share
            for reading in reversed(self._readings(tools, survey))
            for writer, share in reading.writers
            if writer == node
        }
        return max(reversed(shares), key=lambda word: shares[word])

    def rank(self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...]) -> Mapping[FeatureNode, float]:
        """The largest share of a concept that a feature writes; those that write none by influence, behind."""
        scores = {node: value - 1.0 for node, value in survey.influence.items()}
        for reading in self._readings(tools, survey):
            for node, share in reading.writers:
                if node in scores:
                    scores[node] = max(scores[node], share)
        return scores

    def _readings(self, tools: CaseTools, survey: Survey) -> tuple[Reading, ...]:
        """Made once for each case, then remembered.

        Raises:
            InputError: no weights, or no corpus scan.
            BudgetExceededError: the forward passes are used up.
        """
        key = f"baseline {self.name}"
        found = recall(tools, key, Readings)
        if found is None:
            found = Readings(found=self._read(tools, survey))
            keep(tools, key, found)
        return found.found

    def _read(self, tools: CaseTools, survey: Survey) -> tuple[Reading, ...]:
        why = tools.why_untestable() or ("there is no corpus scan" if tools.corpus is None else None)
        if why is not None or tools.corpus is None:
            raise InputError(
                f"agent probe runs the model, and cannot ({why}); give it weights and evidence, or choose another baseline"
            )
        words = concepts(tools.corpus, survey, self.given)
        layers = probed_layers(tools.model.n_layers, self.given.max_layers)
        rng = tools.rng("baseline probe")
        data = training_data(tools, tools.corpus, words, self.given.sentences, layers, rng)
        here = prompt_streams(tools, layers)
        found = [
            reading
            for word, streams in data.items()
            if (reading := self._reading(tools, survey, word, streams, here)) is not None
        ]
        return tuple(sorted(found, key=lambda reading: (-reading.probability, reading.word)))

    def _reading(
        self, tools: CaseTools, survey: Survey, word: str, data: Streams, here: Mapping[int, Array]
    ) -> Reading | None:
        """Where the concept stands most surely and features write it; None where it stands nowhere."""
        surest: Reading | None = None
        for layer, values in data.values.items():
            probe = fitted(values, data.positive, data.aside, self.given.strength)
            if probe is None or probe.auc < self.given.min_auc:
                continue
            chances = probe.probabilities(here[layer])
            chances[0] = 0.0  # nothing is read at the first token, where no feature counts
            for position in np.argsort(-chances, kind="stable"):
                if chances[position] < self.given.min_probability or (
                    surest is not None and chances[position] <= surest.probability
                ):
                    break
                writers = self._writers(tools, survey, layer, int(position), probe.direction)
                if writers:
                    chance = float(chances[position])
                    surest = Reading(
                        word=word,
                        layer=layer,
                        position=int(position),
                        probability=chance,
                        auc=probe.auc,
                        writers=writers,
                    )
                    break
        return surest

    def _writers(
        self, tools: CaseTools, survey: Survey, layer: int, position: int, direction: Array
    ) -> tuple[tuple[FeatureNode, float], ...]:
        """Features at a position that add to a direction of the stream behind a layer, largest share first."""
        import torch

        added: dict[FeatureNode, float] = {}
        clean = tools.clean()
        for node in survey.full.node_of_feature:
            if node.position == position and node.layer <= layer:
                rows = tools.transcoders.decoder_rows(node.layer, torch.tensor([node.feature]))[0]
                written = rows[: layer - node.layer + 1].double().sum(dim=0).cpu().numpy()
                added[node] = float(clean.activation(node)) * float(written @ direction)
        total = sum(value for value in added.values() if value > 0)
        if total <= 0:
            return ()
        shares = {node: value / total for node, value in added.items() if value >= self.given.min_share * total}
        return tuple((node, shares[node]) for node in sorted(shares, key=lambda n: (-shares[n], n)))


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear probe of the residual stream.

    Attributes:
        direction: in units of the stream, `[d_model]`.
        constant: added to `stream @ direction`.
        auc: on examples kept aside.
    """

    direction: Array
    constant: float
    auc: float

    def probabilities(self, streams: Array) -> Array:
        """Of the concept at each row, `[n]`."""
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(streams @ self.direction + self.constant, -50, 50))))


def fitted(values: Array, positive: NDArray[np.bool_], aside: NDArray[np.bool_], strength: float) -> Probe | None:
    """A probe, classes weighted alike; None where one part lacks a class.

    Args:
        values: `[n, d_model]`.
        positive: which rows are on the way to the concept, `[n]`.
        aside: which rows the AUC is measured on and the probe is not made from, `[n]`.
        strength: scikit-learn's C.
    """
    if any(len(np.unique(positive[part])) < 2 for part in (aside, ~aside)):
        return None
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    mean, scale = values[~aside].mean(axis=0), values[~aside].std(axis=0) + 1e-6
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=300)
    with warnings.catch_warnings():
        # a probe that is nearly there is as good: what it is worth is measured
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((values[~aside] - mean) / scale, positive[~aside])
    direction = np.asarray(model.coef_, dtype=np.float64)[0] / scale
    constant = float(np.asarray(model.intercept_)[0] - mean @ direction)
    auc = float(roc_auc_score(positive[aside], values[aside] @ direction))
    return Probe(direction, constant, auc)


def concepts(corpus: CorpusFacts, survey: Survey, given: ProbeSettings) -> tuple[str, ...]:
    """Words to probe for: those of the prompt that name something, the answer, and words that go with them."""
    texts = corpus.store.token_texts
    framing = {texts[i] for i in corpus.frame}
    spoken = dict.fromkeys(token for token in survey.full.tokens[1:] if token not in framing)
    own = [word for word in spoken if corpus.ids_of(word)]
    own.sort(key=lambda word: len(corpus.sentences_with(word)))
    own = own[: given.max_own]
    answer = [survey.target_token] if corpus.ids_of(survey.target_token) else []
    return tuple(dict.fromkeys([*own, *answer, *_near(corpus, own, framing, given.max_near)]))


def _near(corpus: CorpusFacts, own: Sequence[str], framing: set[str], most: int) -> list[str]:
    """Words that share sentences with words of the prompt: with each in turn, the rarest first, the most closely tied one.

    How closely: `n_together^2 / (n_own n_other)`, counted in sentences.
    """
    store, width = corpus.store, int(corpus.store.token_ids.max()) + 1
    mine = corpus.labelling
    pairs = np.unique(store.token_sentence[mine].astype(np.int64) * width + store.token_ids[mine])
    n_all = np.asarray(np.bincount(pairs % width, minlength=width))
    tied: list[list[str]] = []
    for word in own:
        sentences = corpus.sentences_with(word)
        together = np.asarray(np.bincount(pairs[np.isin(pairs // width, sentences)] % width, minlength=width))
        closeness = together.astype(np.float64) ** 2 / np.maximum(n_all * len(sentences), 1)
        order: list[int] = np.argsort(-closeness, kind="stable")[: most + len(framing) + len(own)].tolist()
        texts = [store.token_texts[i] for i in order if together[i] > 0]
        tied.append([text for text in texts if text not in framing and text not in own][:most])
    in_turn = [words[place] for place in range(most) for words in tied if place < len(words)]
    return list(dict.fromkeys(in_turn))[:most]


def probed_layers(n_layers: int, most: int) -> tuple[int, ...]:
    """Layers behind which the stream is read, evenly spaced, the last among them."""
    return tuple(sorted({round(i) for i in np.linspace(n_layers - 1, 0, min(most, n_layers))}))
