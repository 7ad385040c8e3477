"""Labels: does the name of a supernode say what it carries?

Each gold supernode is compared with the predicted one that matches it; a gold supernode that no predicted one overlaps
is not named, and counts as such. Names are normalised: case, accents, punctuation and the words of `FILLER` fall away. A
name may list alternatives ("big / grand / grande").

* exact: every alternative is an accepted label;
* any: at least one accepted label occurs in the name, as whole words;
* char similarity: cosine of the character n-grams of the name and the accepted label that is nearest: it knows spelling,
  not meaning;
* embedding: cosine of their sentence embeddings, by a model that somebody chose; without one there is no such score;
* judged: share that a language model takes for right, by a judge whose agreement with people was measured; without one
  there is no such score, and a pair that it gave no usable answer on is left out.

Source: normalised exact match as in Rajpurkar et al. 2016 (SQuAD), with the filler words of circuit labels.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Protocol

from tracescribe.evals.gold import GoldCircuit, GoldSupernode
from tracescribe.evals.matching import Matching
from tracescribe.evals.prediction import PredictedSupernode, Prediction
from tracescribe.evals.scorers.label_similarity import NO_RATERS, LabelRaters, NamedPair, char_similarities
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally

METRICS = (
    Metric("labels.exact", "label exact", "every concept of gold is named with an accepted name, alone", headline=True),
    Metric("labels.any", "label any-word", "every concept's name contains an accepted name", headline=True),
    Metric("labels.matched", "labelled", "every concept of gold has a predicted supernode to name it"),
    Metric("labels.role", "role", "the matched supernodes have gold's roles"),
    Metric("labels.char_similarity", "label spelling", "every concept is named in the letters of an accepted name"),
    Metric("labels.embedding", "label embedding", "every concept's name means what an accepted name means"),
    Metric("labels.judged", "label judged", "every concept's name is right in the judge's eyes"),
)


class Accepts(Protocol):
    """Something with names that count as right: a gold supernode."""

    @property
    def accepted_labels(self) -> tuple[str, ...]:
        """Every name that counts as right."""
        ...


FILLER = frozenset(
    {
        *("a", "an", "the", "of"),
        *("say", "says", "saying", "output", "outputs"),
        *("token", "word", "words", "feature", "features", "concept"),
    }
)
"""Words that carry nothing in a circuit label: articles, and the ways to write 'promotes this output'."""
_ALTERNATIVES = re.compile(r"\s*(?:/|,|;|\||\bor\b)\s*")


def score_labels(
    prediction: Prediction, gold: GoldCircuit, matching: Matching, raters: LabelRaters = NO_RATERS
) -> Mapping[str, Tally]:
    """Score the names and roles of supernodes against the gold supernodes that they match.

    Args:
        raters: who rates names beyond their words; scores of raters that are absent stay empty.
    """
    wanted = {s.supernode_id: s for s in gold.scorable_supernodes}
    if not wanted:
        return {metric.name: NOTHING for metric in METRICS}
    predicted = {s.supernode_id: s for s in prediction.supernodes}
    pairs = [(wanted[m.gold_id], predicted[m.predicted_id]) for m in matching.matches]
    named = [NamedPair(p.label, g.accepted_labels, gold.prompt) for g, p in pairs]
    return {
        "labels.exact": Tally(sum(names_exactly(p.label, g) for g, p in pairs), len(wanted)),
        "labels.any": Tally(sum(names_somehow(p.label, g) for g, p in pairs), len(wanted)),
        "labels.matched": Tally(len(pairs), len(wanted)),
        "labels.role": Tally(sum(_same_role(g, p) for g, p in pairs), len(pairs)),
        "labels.char_similarity": Tally(sum(char_similarities(named)), len(wanted)),
        "labels.embedding": _embedded(named, len(wanted), raters),
        "labels.judged": _judged(named, len(wanted), raters),
    }


def _embedded(named: Sequence[NamedPair], n_wanted: int, raters: LabelRaters) -> Tally:
    if raters.embedding is None:
        return NOTHING
    return Tally(sum(raters.embedding.similarities(named)), n_wanted)


def _judged(named: Sequence[NamedPair], n_wanted: int, raters: LabelRaters) -> Tally:
    """Concepts that nothing names are wrong names; pairs without a usable answer are neither."""
    if raters.judge is None:
        return NOTHING
    answers = raters.judge.judge(named)
    return Tally(sum(answer is True for answer in answers), n_wanted - sum(answer is None for answer in answers))


def normalise(text: str) -> tuple[str, ...]:
    """Words of a name: lower case, without accents, punctuation and filler.

    A name that is nothing but filler keeps its words, so that the concept "word" can be named.
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    words = re.findall(r"[\w+-]+", plain)
    kept = tuple(word for word in words if word not in FILLER)
    return kept or tuple(words)


def names_exactly(label: str, supernode: Accepts) -> bool:
    """Whether every alternative of a label is an accepted label."""
    accepted = {normalise(text) for text in supernode.accepted_labels}
    alternatives = [normalise(part) for part in _ALTERNATIVES.split(label)]
    alternatives = [words for words in alternatives if words]
    return bool(alternatives) and all(words in accepted for words in alternatives)


def names_somehow(label: str, supernode: Accepts) -> bool:
    """Whether some accepted label occurs in a label, its words side by side."""
    words = normalise(label)
    for text in supernode.accepted_labels:
        accepted = normalise(text)
        if accepted and any(
            words[start : start + len(accepted)] == accepted for start in range(len(words) - len(accepted) + 1)
        ):
            return True
    return False


def _same_role(gold: GoldSupernode, predicted: PredictedSupernode) -> bool:
    return gold.role == predicted.role
