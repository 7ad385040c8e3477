"""Statistical labels: what a feature reads or says, counted on the labelling half of the corpus. No language model.

Each label comes with a predicate that code can check, so that the label can be scored on sentences never seen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.claims import Predicate
from tracescribe.agents.findings import FeatureLabel
from tracescribe.agents.labelling.predicates import holds_at
from tracescribe.agents.labelling.triggers import (
    Firing,
    Triggers,
    hub_word,
    last_word,
    mass_by_word,
    previous_triggers,
    read_firing,
    word_triggers,
)
from tracescribe.tracer.graph import AttributionGraph, FeatureRef, FloatArray, NodeKind

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.labelling.corpus_facts import CorpusFacts
    from tracescribe.tracer.evidence_store import EvidenceStore


@dataclass(frozen=True)
class LabelSettings:
    """Settings of the statistical labels.

    Attributes:
        strong_share: firings below this share of the largest activation are taken for noise of the transcoder.
        min_firings: strong firings below which a label would rest on accident.
        min_precision: a word can be a trigger only if the feature fires on at least this share of its occurrences;
            low, because a word that is read in one role and said in another counts in both.
        max_words: most words in a predicate; a label that needs more is a list, not a concept.
        list_words: most words in the predicate of a label that came back poor: a list that tells where the feature fires is
            then better than a concept that does not.
        shown_words: most words in a label's text.
        main_word_share: a word with this share of the activation names the feature alone.
        hub_ratio: how far a co-occurring word must stand out to name the feature (see `triggers.hub_word`).
        min_mass: words with a smaller share of the activation cannot name the feature.
        end_share: a word that this share of a feature's sentences end in can name it (see `triggers.last_word`).
        output_margin: how much better, in F1, foretelling the next word must do than reading the present one.
        previous_margin: the same for reading earlier words, the weakest of the three kinds of predicate.
        good_enough: F1 from which earlier words are not looked at.
        window: how far back earlier words are looked for, in tokens.
        min_f1: below it the label says 'mixed'.
    """

    strong_share: float = 0.25
    min_firings: int = 3
    min_precision: float = 0.2
    max_words: int = 12
    list_words: int = 64
    shown_words: int = 3
    main_word_share: float = 0.8
    hub_ratio: float = 1.3
    min_mass: float = 0.02
    end_share: float = 0.9
    output_margin: float = 0.05
    previous_margin: float = 0.1
    good_enough: float = 0.8
    window: int = 8
    min_f1: float = 0.4

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return asdict(self)


MIXED = "mixed: "
"""How the text of a label begins that describes its feature badly."""


def label_feature(tools: CaseTools, ref: FeatureRef, settings: LabelSettings, proposed_by: str) -> FeatureLabel:
    """Label one feature: from the corpus where there is evidence, else from the graph alone.

    Raises:
        UnknownIdError: no such feature.
    """
    corpus = tools.corpus
    if corpus is not None:
        store = corpus.store
        firing = read_firing(store, store.dense(ref), settings.strong_share)
        if int(firing.fires.sum()) >= settings.min_firings:
            return _from_corpus(tools, corpus, ref, firing, settings, proposed_by)
    return label_from_graph(tools.pruned, tools, ref, proposed_by)


def relabel_feature(
    tools: CaseTools, label: FeatureLabel, shown: Sequence[int], settings: LabelSettings, proposed_by: str
) -> FeatureLabel | None:
    """The next-best label of a feature, made with the counter-examples of a poor one; None where there is none.

    Of all predicates that words give, the one with the best F1 among those that tell more of the counter-examples right
    than the poor label's does.

    Args:
        label: the poor one.
        shown: sentences that it was wrong on.
    """
    corpus = tools.corpus
    if corpus is None or label.predicate is None or not shown:
        return None
    ref = FeatureRef(label.layer, label.feature)
    activation = corpus.store.dense(ref)
    firing = read_firing(corpus.store, activation, settings.strong_share, shown)
    known = _told_right(corpus, label.predicate, activation, shown)
    best: Triggers | None = None
    for triggers in _candidates(firing, settings):
        predicate = Predicate(on=triggers.on, words=_words(corpus.store, triggers.words), window=settings.window)
        if predicate == label.predicate or _told_right(corpus, predicate, activation, shown) <= known:
            continue
        if best is None or triggers.kept_f1 > best.kept_f1:
            best = triggers
    return None if best is None else _as_label(tools, corpus, ref, firing, best, settings, proposed_by)


def _candidates(firing: Firing, settings: LabelSettings) -> tuple[Triggers, ...]:
    """The best words of each kind, in short and as a long list."""
    vocabulary = _vocabulary(firing)
    found = [
        word_triggers(firing, on, vocabulary, most, settings.min_precision)
        for most in (settings.max_words, settings.list_words)
        for on in ("token", "next")
    ]
    found.append(previous_triggers(firing, settings.window, settings.max_words))
    return tuple(triggers for triggers in found if triggers.words)


def _told_right(corpus: CorpusFacts, predicate: Predicate, activation: FloatArray, sentences: Sequence[int]) -> int:
    """In how many sentences a predicate holds somewhere if the feature fires there, and nowhere if it does not."""
    store = corpus.store
    token = np.flatnonzero(store.token_counts & np.isin(store.token_sentence, list(sentences)))
    met, fires = holds_at(corpus, predicate, token), activation[token] > 0
    told = np.bincount(store.token_sentence[token[met]], minlength=store.n_sentences) > 0
    true = np.bincount(store.token_sentence[token[fires]], minlength=store.n_sentences) > 0
    return int((told == true)[list(sentences)].sum())


def _from_corpus(
    tools: CaseTools,
    corpus: CorpusFacts,
    ref: FeatureRef,
    firing: Firing,
    settings: LabelSettings,
    proposed_by: str,
) -> FeatureLabel:
    best = best_triggers(firing, settings)
    if not best.words:  # no word tells where it fires: name what comes nearest to it, and say that this is no rule
        nearest = replace(settings, min_precision=0.0, output_margin=0.0, max_words=settings.shown_words)
        best = best_triggers(firing, nearest)
    return _as_label(tools, corpus, ref, firing, best, settings, proposed_by)


def _as_label(
    tools: CaseTools,
    corpus: CorpusFacts,
    ref: FeatureRef,
    firing: Firing,
    best: Triggers,
    settings: LabelSettings,
    proposed_by: str,
) -> FeatureLabel:
    evidence = tools.evidence(ref)
    return FeatureLabel(
        layer=ref.layer,
        feature=ref.feature,
        text=_text(corpus, firing, best, settings),
        reads="output" if best.on == "next" else "input",
        predicate=Predicate(on=best.on, words=_words(corpus.store, best.words), window=settings.window),
        evidence=tuple(c.context_id for c in evidence.contexts) if evidence is not None else (),
        proposed_by=proposed_by,
    )


def best_triggers(firing: Firing, settings: LabelSettings) -> Triggers:
    """What tells best where the feature fires; reading the present word is preferred where it does as well."""
    vocabulary = _vocabulary(firing)
    best = word_triggers(firing, "token", vocabulary, settings.max_words, settings.min_precision)
    said = word_triggers(firing, "next", vocabulary, settings.max_words, settings.min_precision)
    if said.f1 > best.f1 + settings.output_margin:
        best = said
    if best.f1 < settings.good_enough:
        earlier = previous_triggers(firing, settings.window, settings.max_words)
        if earlier.f1 > best.f1 + settings.previous_margin:
            best = earlier
    return best


def _vocabulary(firing: Firing) -> int:
    return int(max(firing.token.max(), firing.following.max())) + 1


def _text(corpus: CorpusFacts, firing: Firing, triggers: Triggers, settings: LabelSettings) -> str:
    prefix = {"token": "", "next": "say ", "previous": "after "}[triggers.on]
    mixed = MIXED if triggers.f1 < settings.min_f1 else ""
    store = corpus.store
    telling = [(w, m) for w, m in zip(triggers.words, triggers.mass, strict=True) if w not in corpus.frame]
    if not telling:
        telling = list(zip(triggers.words, triggers.mass, strict=True))
    total = sum(m for _, m in telling)
    if telling[0][1] >= settings.main_word_share * total:
        return mixed + prefix + store.token_texts[telling[0][0]]
    if triggers.on == "token":
        # a word may name the concept and yet be a poor detector of it (where it is said rather than read)
        candidates = tuple(w for w in mass_by_word(firing, settings.min_mass) if w not in corpus.frame)
        concept = hub_word(corpus, firing, candidates, settings.hub_ratio)
        if concept is None and len(telling) > 1:
            concept = last_word(corpus, firing, settings.end_share)
        if concept is not None:
            return store.token_texts[concept]
    shown = _words(store, tuple(w for w, _ in telling[: settings.shown_words]))
    return mixed + prefix + " / ".join(shown)


def _words(store: EvidenceStore, ids: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(store.token_texts[i] for i in ids)


def label_from_graph(graph: AttributionGraph, tools: CaseTools, ref: FeatureRef, proposed_by: str) -> FeatureLabel:
    """A label from the graph alone: the output token that the feature feeds directly, or the word it stands on.

    It predicts nothing beyond this prompt, so it has no predicate.
    """
    nodes = graph.nodes
    mine = (nodes.kind == NodeKind.FEATURE) & (nodes.layer == ref.layer) & (nodes.feature == ref.feature)
    out = mine[graph.edges.source]
    to_logit = out & (nodes.kind[graph.edges.target] == NodeKind.LOGIT)
    total = float(np.abs(graph.edges.weight[out]).sum())
    effect = np.bincount(graph.edges.target[to_logit], weights=graph.edges.weight[to_logit], minlength=graph.n_nodes)
    best = int(np.argmax(effect))
    says = total > 0 and effect[best] > 0.5 * total
    positions = sorted({int(p) for p in nodes.position[mine]})
    words = list(dict.fromkeys(graph.tokens[p].strip() for p in positions))
    text = f"say {tools.token_of_logit(graph, best)}" if says else f"at {' / '.join(words[:3])}"
    return FeatureLabel(
        layer=ref.layer,
        feature=ref.feature,
        text=text,
        reads="output" if says else "input",
        proposed_by=proposed_by,
    )
