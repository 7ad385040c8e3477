"""Candidate claims about a known prompt: right ones by the causal model, and wrong ones of many sorts.

A candidate is only a guess at what is true or false. What is planted is decided by measurement (`truth`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tracescribe.agents.claims import Claim, FeatureAt, Predicate
from tracescribe.evals.judging.concepts import ConceptWords
from tracescribe.evals.judging.known_prompts import KnownDonor, KnownPrompt, KnownVariable
from tracescribe.evals.judging.sheet import Sheet, make_claim
from tracescribe.tracer.embedded.training.causal_model import ANSWER
from tracescribe.tracer.graph import FeatureNode

DONORS_EACH = 3
"""Donors of one variable for right swaps."""
PUSHES = (-8.0, -3.0, 3.0, 8.0)
"""Multipliers for features that carry nothing; the larger ones push the model hard, wherever they push it."""


class Candidate(NamedTuple):
    """A claim, and how it was made."""

    claim: Claim
    sort: str


@dataclass(frozen=True, eq=False)
class CandidateMaker:
    """Makes candidates about one prompt; supernodes go to the sheet.

    Attributes:
        known: the prompt.
        sheet: where supernodes get their ids.
        words: labels by concept.
        live: by layer, features that fire anywhere.
        rng: which of many candidates are made.
    """

    known: KnownPrompt
    sheet: Sheet
    words: ConceptWords
    live: Sequence[Sequence[int]]
    rng: random.Random

    # -- right ones ---------------------------------------------------------------------------------------------------

    def right(self) -> Iterator[Candidate]:
        """What the causal model says of this prompt."""
        carried = self._carried()
        for variable in carried:
            yield Candidate(self._necessity(variable.members, variable.concept), "a variable's features")
        for variable in carried:
            for donor in self._donors(variable)[:DONORS_EACH]:
                yield Candidate(self._swap(variable, donor, donor.answer), "another value of a variable")
        for variable in carried:
            for multiplier in (0.0, -1.0):
                yield Candidate(
                    self._steering(variable.members, variable.concept, multiplier, self.known.answer, "down"),
                    "a variable taken away or reversed",
                )
        for edge in self.known.gold.edges:
            source, destination = self.known.variable_of(edge.source), self.known.variable_of(edge.destination)
            if source is not None and destination is not None and source.members and destination.members:
                claim = self._edge(source.members, destination.members, edge.sign)
                yield Candidate(claim, "an edge of the causal model")
        for variable in carried:
            for predicate in self.words.predicates(variable.site.variable, variable.site.value):
                for node in variable.members:
                    yield Candidate(self._label(node, predicate), "the words of its value")
        yield Candidate(self._sufficiency([v.members for v in carried]), "all variables together")

    # -- wrong ones ---------------------------------------------------------------------------------------------------

    def wrong(self) -> Iterator[Candidate]:
        """What is not so, or hardly so, in this prompt; every kind, the sorts mixed."""
        yield from self._wrong_necessity()
        yield from self._wrong_sufficiency()
        yield from self._wrong_steering()
        yield from self._wrong_swaps()
        yield from self._wrong_edges()
        yield from self._wrong_labels()

    def _wrong_necessity(self) -> Iterator[Candidate]:
        for variable in self._carried():
            yield Candidate(self._necessity(variable.members, variable.concept), "a variable that is not needed")
            for token in self._other_answers(2):
                claim = self._necessity(variable.members, variable.concept, token)
                yield Candidate(claim, "right features, another answer")
        for nodes in self._idle_sets():
            yield Candidate(self._necessity(nodes, "idle"), "active features that carry nothing")

    def _wrong_sufficiency(self) -> Iterator[Candidate]:
        carried = self._carried()
        for left_out in carried:
            kept = [v.members for v in carried if v is not left_out]
            yield Candidate(self._sufficiency(kept), "a circuit that lacks one variable")
            yield Candidate(self._sufficiency([left_out.members]), "one variable alone")
        for nodes in self._idle_sets():
            yield Candidate(self._sufficiency([nodes]), "active features that carry nothing")

    def _wrong_steering(self) -> Iterator[Candidate]:
        for variable in self._carried():
            for multiplier in (0.0, -1.0):
                claim = self._steering(variable.members, variable.concept, multiplier, self.known.answer, "up")
                yield Candidate(claim, "the wrong direction")
            claim = self._steering(variable.members, variable.concept, 2.0, self.known.answer, "down")
            yield Candidate(claim, "the wrong direction")
            for token in self._other_answers(1):
                claim = self._steering(variable.members, variable.concept, 1.5, token, "up")
                yield Candidate(claim, "right features, another answer")
        for nodes in self._idle_sets():
            for multiplier in PUSHES:
                claim = self._steering(nodes, "idle", multiplier, self.known.answer, "down")
                yield Candidate(claim, "features that the answer does not read")

    def _wrong_swaps(self) -> Iterator[Candidate]:
        for variable in self._carried():
            donors = self._donors(variable)
            for donor, other in zip(donors, donors[1:] + donors[:1], strict=True):
                if other.answer not in (donor.answer, self.known.answer):
                    yield Candidate(self._swap(variable, donor, other.answer), "right features, another donor's answer")
            for other_variable in self._carried():
                if other_variable is variable:
                    continue
                for donor in self._donors(variable)[:1]:
                    claim = self._swap_at(other_variable.members, other_variable.concept, donor)
                    if claim is not None:
                        yield Candidate(claim, "another role, the donor's features")
            for donor in donors[:2]:
                yield from self._bystanders(donor)

    def _bystanders(self, donor: KnownDonor) -> Iterator[Candidate]:
        """Features that do nothing here, replaced by those which say the donor's answer there."""
        last = self.known.sample.answer - 1
        for said in donor.at_last:
            beside = [n for n in self.known.idle if (n.layer, n.position) == (said.layer, last)]
            silent = [f for f in self.live[said.layer] if FeatureNode(said.layer, last, f) not in self.known.active]
            nodes = beside or [FeatureNode(said.layer, last, self.rng.choice(silent))]
            claim = make_claim(
                "swap",
                supernode=self.sheet.supernode("bystander", nodes),
                donor_prompt=donor.prompt,
                donor_features=(FeatureAt.of(said),),
                expected_token=donor.answer,
            )
            yield Candidate(claim, "a bystander beside the true carrier")

    def _wrong_edges(self) -> Iterator[Candidate]:
        carried = self._carried()
        true = {(edge.source, edge.destination) for edge in self.known.gold.edges}
        for source in carried:
            for destination in carried:
                if source is destination:
                    continue
                if (source.gold_id, destination.gold_id) in true:
                    yield Candidate(self._edge(source.members, destination.members, -1), "a true edge, the wrong sign")
                else:
                    for sign in (1, -1):
                        claim = self._edge(source.members, destination.members, sign)
                        yield Candidate(claim, "active features that do not feed each other")
        for nodes in self._idle_sets()[:2]:
            for variable in carried:
                yield Candidate(self._edge(nodes, variable.members, 1), "active features that do not feed each other")
                yield Candidate(self._edge(variable.members, nodes, 1), "active features that do not feed each other")

    def _wrong_labels(self) -> Iterator[Candidate]:
        for variable in self._carried():
            name, value = variable.site.variable, variable.site.value
            others = self.words.neighbours(name, value)
            for other in self.rng.sample(others, min(3, len(others))):
                for predicate in self.words.predicates(name, other)[:1]:
                    yield Candidate(self._label(variable.members[0], predicate), "the label of a neighbour")
            place = self.known.sample.roles[variable.site.role]
            for beside in (place - 1, place - 2):
                if beside > 0:
                    predicate = Predicate(on="token", words=(self.known.sample.words[beside],))
                    yield Candidate(self._label(variable.members[0], predicate), "the word beside")
            for right in self.words.predicates(name, value):
                mistaken = Predicate(on="next" if right.on == "token" else "token", words=right.words)
                yield Candidate(self._label(variable.members[0], mistaken), "read and said mixed up")
                yield from self._nearly_right_labels(variable, right)

    def _nearly_right_labels(self, variable: KnownVariable, right: Predicate) -> Iterator[Candidate]:
        """Right words with wrong ones beside them, and right words of which most are missing."""
        name, value = variable.site.variable, variable.site.value
        others = sorted(
            {
                word
                for other in self.words.neighbours(name, value)
                for predicate in self.words.predicates(name, other)
                if predicate.on == right.on
                for word in predicate.words
            }
            - set(right.words)
        )
        for n_true, n_wrong in ((1, 3), (1, 11), (len(right.words), 2 * len(right.words))):
            padding = self.rng.sample(others, min(n_wrong, len(others)))
            if padding:
                padded = Predicate(on=right.on, words=(*right.words[:n_true], *padding))
                yield Candidate(self._label(variable.members[0], padded), "its words, and words that are not its own")
        here = self.known.sample.words[self.known.sample.roles[variable.site.role]]
        copied = here if right.on == "token" else self.known.answer
        yield Candidate(
            self._label(variable.members[0], Predicate(on=right.on, words=(copied,))), "the one word of this prompt"
        )
        few = max(1, len(right.words) // 4)
        narrow = Predicate(on=right.on, words=tuple(self.rng.sample(right.words, few)))
        yield Candidate(self._label(variable.members[0], narrow), "a few of its words")

    # -- parts --------------------------------------------------------------------------------------------------------

    def _carried(self) -> list[KnownVariable]:
        return [variable for variable in self.known.variables if variable.members]

    def _donors(self, variable: KnownVariable) -> list[KnownDonor]:
        """Donors with features at the variable's places; those of the answer are everybody's."""
        if variable.site.variable != ANSWER or variable.donors:
            return [donor for donor in variable.donors if donor.at(variable.members, self.known.sample.answer)]
        found: dict[str, KnownDonor] = {}
        for other in self.known.variables:
            for donor in other.donors:
                found.setdefault(donor.answer, donor)
        return [donor for donor in found.values() if donor.at(variable.members, self.known.sample.answer)]

    def _other_answers(self, n: int) -> list[str]:
        answers = sorted({d.answer for v in self.known.variables for d in v.donors} - {self.known.answer})
        return self.rng.sample(answers, min(n, len(answers)))

    def _idle_sets(self) -> list[tuple[FeatureNode, ...]]:
        """Each active feature that carries nothing by itself, and all of them together."""
        single: list[tuple[FeatureNode, ...]] = [(node,) for node in self.known.idle]
        return [self.known.idle, *single] if len(single) > 1 else single

    def _necessity(self, nodes: Sequence[FeatureNode], label: str, token: str | None = None) -> Claim:
        return make_claim(
            "necessity", supernode=self.sheet.supernode(label, nodes), target_token=token or self.known.answer
        )

    def _sufficiency(self, groups: Sequence[Sequence[FeatureNode]]) -> Claim:
        ids = tuple(dict.fromkeys(self.sheet.supernode("part", nodes) for nodes in groups))
        return make_claim("sufficiency", supernodes=ids, target_token=self.known.answer)

    def _steering(
        self, nodes: Sequence[FeatureNode], label: str, multiplier: float, token: str, direction: str
    ) -> Claim:
        return make_claim(
            "steering",
            supernode=self.sheet.supernode(label, nodes),
            multiplier=multiplier,
            expected_token=token,
            direction=direction,
        )

    def _swap(self, variable: KnownVariable, donor: KnownDonor, answer: str) -> Claim:
        claim = self._swap_at(variable.members, variable.concept, donor, answer)
        assert claim is not None, "donors of a variable have features at its places"
        return claim

    def _swap_at(
        self, nodes: Sequence[FeatureNode], label: str, donor: KnownDonor, answer: str | None = None
    ) -> Claim | None:
        """The donor's features at these features' places; None where it has none there."""
        brought = donor.at(nodes, self.known.sample.answer)
        if not brought:
            return None
        return make_claim(
            "swap",
            supernode=self.sheet.supernode(label, nodes),
            donor_prompt=donor.prompt,
            donor_features=tuple(FeatureAt.of(node) for node in brought),
            expected_token=answer or donor.answer,
        )

    def _edge(self, source: Sequence[FeatureNode], destination: Sequence[FeatureNode], sign: int) -> Claim:
        return make_claim(
            "edge",
            source=self.sheet.supernode("source", source),
            destination=self.sheet.supernode("destination", destination),
            sign=sign,
        )

    def _label(self, node: FeatureNode, predicate: Predicate) -> Claim:
        return make_claim("label", layer=node.layer, feature=node.feature, predicate=predicate)
