"""Names of supernodes: what their members are about at this place of this prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.findings import FeatureLabel, Role
from tracescribe.agents.grouping.graph_facts import GraphFacts, Labels
from tracescribe.agents.labelling.labels import MIXED, LabelSettings
from tracescribe.agents.labelling.predicates import holds
from tracescribe.agents.labelling.triggers import read_firing
from tracescribe.agents.survey import Survey
from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.labelling.corpus_facts import CorpusFacts

UNSCORED = 0.5
"""Weight of a label without a detection score when members vote on a name: between a bad and a good one."""
SAME_THING = 4
"""Most words that a feature may be about to say and still be taken to say one thing (12, twelve); more are a class."""
FULL_SHARE = 0.75
"""Share of its largest activation in the corpus from which a feature fires fully; what it fires on by the way is weaker."""
SHARED_NEIGHBOURS = 0.5
"""Share of a word's neighbours that must be neighbours of a concept's triggers for the word to belong to it."""


def name_of(
    tools: CaseTools,
    facts: GraphFacts,
    cluster: Sequence[FeatureNode],
    role: Role,
    survey: Survey,
    labels: Labels,
) -> str:
    """Name of a supernode.

    Outputs and suppressors are named after the token they act on. The others take the label that carries most influence
    among the members, of those labels that hold at this place of this prompt: a feature may fire here for a reason that
    its label does not tell. Where none holds, the name says which answer the supernode leads to.
    """
    rows = [facts.row_of[node] for node in cluster]
    if role in ("output", "suppressor"):
        token = _strongest(tools, facts, facts.to_logits[rows].sum(axis=0))[0]
        return f"say {token}" if role == "output" else f"not {token}"
    votes: dict[str, float] = {}
    for node in cluster:
        text = _text_here(tools, facts, node, labels.get(node.ref))
        if text is not None:
            label = labels[node.ref]
            score = label.score.f1 if label.score is not None else UNSCORED
            votes[text] = votes.get(text, 0.0) + survey.influence[node] * (0.1 + score)
    if votes:
        return max(votes, key=lambda text: (votes[text], text))
    if cluster[0].position != facts.final_position and all(_from_graph_alone(labels.get(n.ref)) for n in cluster):
        return f"{facts.graph.tokens[cluster[0].position].strip()} {_layers(cluster)}"
    token, effect = _strongest(tools, facts, facts.profiles.outputs[rows].sum(axis=0))
    towards = f"leads to {token}" if effect > 0 else f"leads away from {token}"
    return towards if tools.store is not None else f"{towards} {_layers(cluster)}"


def _from_graph_alone(label: FeatureLabel | None) -> bool:
    return label is None or label.predicate is None


def _layers(cluster: Sequence[FeatureNode]) -> str:
    """Layers of the members: what tells groups apart where nothing is known of their features."""
    low, high = min(node.layer for node in cluster), max(node.layer for node in cluster)
    return f"(layer {low})" if low == high else f"(layers {low} to {high})"


def _strongest(tools: CaseTools, facts: GraphFacts, effects: NDArray[np.floating[Any]]) -> tuple[str, float]:
    """The output token that is moved most, and by how much."""
    best = int(np.argmax(np.abs(effects)))
    return tools.token_of_logit(facts.graph, int(facts.profiles.logits[best])).strip(), float(effects[best])


def _text_here(tools: CaseTools, facts: GraphFacts, node: FeatureNode, label: FeatureLabel | None) -> str | None:
    """A label's text if it holds at this node; in a list of words the one that is met here comes first."""
    if label is None:
        return None
    if label.text.startswith(MIXED):
        return _mixed_here(tools, facts, node, label)
    if label.predicate is None:
        return label.text if tools.store is not None else None
    tokens = [token.strip() for token in facts.graph.tokens]
    following = tools.next_tokens()
    if label.predicate.on == "next" and not following:
        return label.text
    here = tokens[node.position] if label.predicate.on == "token" else following[node.position]
    met = bool(holds(label.predicate, tokens, following or tokens)[node.position])
    concept = " / " not in label.text
    if label.predicate.on == "token" and concept:
        if label.text == here or belongs(tools, label.text, label.predicate.words, here):
            return label.text
        if fires_fully(tools, facts, node):
            return label.text
    elif met and label.predicate.on == "previous":
        return label.text
    if not met:
        corpus, on = tools.corpus, label.predicate.on
        if on == "next" and len(label.predicate.words) <= SAME_THING and speaks_against(facts, node):
            return " / ".join(label.predicate.words[:3])  # a rival: it says another word than the one that is to come
        seen = seen_with(corpus, node, on, here) if corpus is not None and on != "previous" else ()
        return None if not seen else here if on == "next" else " / ".join(seen[:3])
    if label.predicate.on == "next":
        others = [word for word in label.predicate.words if word != here]
        # without 'say', which is the name of what acts on the answer itself
        return here if len(label.predicate.words) <= SAME_THING else " / ".join([here, *others[:2]])
    others = [word for word in label.predicate.words if word != here and stand_alike(tools, word, here)]
    return " / ".join([here, *others[:2]])


def speaks_against(facts: GraphFacts, node: FeatureNode) -> bool:
    """Whether a feature holds down the output that it moves most."""
    effect = facts.profiles.outputs[facts.row_of[node]]
    return bool(effect[int(np.argmax(np.abs(effect)))] < 0)


def _mixed_here(tools: CaseTools, facts: GraphFacts, node: FeatureNode, label: FeatureLabel) -> str | None:
    """What a bad detector is about here: the one word it was ever seen on, met again, or one of the few that follow it.

    A feature that fires nowhere but where the model is about to say five is about five, though the model is about to say
    five after many other words as well, mostly without being sure.
    """
    word = label.text.removeprefix(MIXED)
    if word == facts.graph.tokens[node.position].strip():
        return word
    corpus, following = tools.corpus, tools.next_tokens()
    if corpus is None or label.predicate is None or label.predicate.on != "next" or not following:
        return None
    here = following[node.position]
    return here if seen_with(corpus, node, "next", here) else None


def seen_with(corpus: CorpusFacts, node: FeatureNode, on: Literal["token", "next"], word: str) -> tuple[str, ...]:
    """The few words that a feature was seen to fire on (or before), the given one first; empty if it is not among them.

    A predicate keeps the words that tell best where the feature fires, and may leave out one that it fires on as well: a
    rare spelling, the other way to write a number.
    """
    store = corpus.store
    firing = read_firing(store, store.dense(node.ref), LabelSettings().strong_share)
    ids = (firing.token if on == "token" else firing.following)[firing.fires]
    seen = {store.token_texts[int(i)] for i in np.unique(ids)}
    return (word, *sorted(seen - {word})) if word in seen and len(seen) <= SAME_THING else ()


def fires_fully(tools: CaseTools, facts: GraphFacts, node: FeatureNode) -> bool:
    """Whether a feature fires here as strongly as where it is known to fire: then for the same reason, whatever the word."""
    corpus = tools.corpus
    if corpus is None:
        return False
    most = float(corpus.store.dense(node.ref)[corpus.labelling].max(initial=0.0))
    here = float(facts.graph.nodes.activation[facts.graph.node_of_feature[node]])
    return most > 0 and here >= FULL_SHARE * most


def belongs(tools: CaseTools, concept: str, triggers: Sequence[str], word: str) -> bool:
    """Whether a word on which a feature fires belongs to the concept that names the feature.

    A feature may be about Japan and also fire on an unrelated word; and it may fire on a city of Japan that the corpus has
    hardly seen, so that no sentence says where it lies. The word belongs if it is mentioned together with the concept more
    often than by chance, or if it stands where the concept's own triggers stand: most of its neighbours, left and right,
    are neighbours of a trigger that is mentioned together with the concept.
    """
    corpus = tools.corpus
    if corpus is None:
        return True
    of_concept = corpus.sentences_with(concept)
    of_word = corpus.sentences_with(word)
    if len(np.intersect1d(of_word, of_concept)) * corpus.n_sentences > len(of_word) * len(of_concept):
        return True
    fellows = tuple(t for t in triggers if t != word and len(np.intersect1d(corpus.sentences_with(t), of_concept)))
    around = corpus.neighbours((word,))
    if not len(around):
        return True  # the corpus knows nothing of the word: nothing speaks against the concept
    return float(np.isin(around, corpus.neighbours(fellows)).mean()) >= SHARED_NEIGHBOURS


def stand_alike(tools: CaseTools, word: str, other: str) -> bool:
    """Whether two words stand between the same neighbours at least at times, on the labelling half."""
    corpus = tools.corpus
    if corpus is None:
        return True
    return bool(len(np.intersect1d(corpus.neighbours((word,)), corpus.neighbours((other,)))))
