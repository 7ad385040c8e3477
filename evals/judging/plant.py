"""Which candidates are planted: those whose truth is sure, every kind and every sort in turn."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from tracescribe.agents.claims import CLAIM_KINDS, Claim, supernodes_of
from tracescribe.evals.judging.candidates import Candidate, CandidateMaker
from tracescribe.evals.judging.concepts import ConceptWords
from tracescribe.evals.judging.known_prompts import KnownPrompt
from tracescribe.evals.judging.sheet import Sheet
from tracescribe.evals.judging.truth import Status, Truth, TruthTeller

PER_KIND = 3
"""Claims of each kind on a sheet: some fifteen in all, as in an agent's report."""
FALSE_LABELS = 2
"""Times as many labels on a sheet of false claims: they go wrong in more ways than the others."""
TRIES = 4
"""Candidates looked at for each one that is planted; a prompt may not have enough of some kind."""


@dataclass
class Planter:
    """Plants sheets of claims.

    Attributes:
        teller: of the truth; None believes every candidate, as a control.
        words: labels by concept.
        seed: which candidates.
        left_out: candidates that were not what they were made for, by kind and truth.
    """

    teller: TruthTeller | None
    words: ConceptWords
    live: Sequence[Sequence[int]]
    seed: int = 0
    left_out: Counter[tuple[str, Status]] = field(default_factory=Counter)

    def false_sheet(self, known: KnownPrompt, per_kind: int = PER_KIND) -> Sheet:
        """Claims about a prompt that are false."""
        maker = self._maker(known, "false")
        return self._filled(known, maker.sheet, maker.wrong(), "false", per_kind)

    def true_sheet(self, known: KnownPrompt, per_kind: int = PER_KIND) -> Sheet:
        """Claims about a prompt that are true."""
        maker = self._maker(known, "true")
        return self._filled(known, maker.sheet, maker.right(), "true", per_kind)

    def _maker(self, known: KnownPrompt, side: str) -> CandidateMaker:
        rng = random.Random(f"{self.seed} {side} {known.gold.gold_id}")
        return CandidateMaker(known, Sheet(known.prompt), self.words, self.live, rng)

    def _filled(
        self, known: KnownPrompt, sheet: Sheet, candidates: Iterable[Candidate], wanted: Status, per_kind: int
    ) -> Sheet:
        rng = random.Random(f"{self.seed} order {wanted} {known.gold.gold_id}")
        by_kind = _by_kind(candidates, rng)
        for kind in CLAIM_KINDS:
            found, most = 0, per_kind * (FALSE_LABELS if (kind, wanted) == ("label", "false") else 1)
            for candidate in by_kind.get(kind, [])[: TRIES * most]:
                if found == most:
                    break
                truth = self._truth(known, sheet, candidate.claim, wanted)
                if truth.status == wanted:
                    sheet.add(candidate.claim, candidate.sort, truth)
                    found += 1
                else:
                    self.left_out[kind, truth.status] += 1
        named = {name for planted in sheet.planted for name in supernodes_of(planted.claim)}
        sheet.supernodes = [s for s in sheet.supernodes if s.supernode_id in named]
        return sheet

    def _truth(self, known: KnownPrompt, sheet: Sheet, claim: Claim, wanted: Status) -> Truth:
        if self.teller is None:
            return Truth(wanted, None, None, None, "believed")
        return self.teller.of_claim(known.sample, claim, sheet.members())


def _by_kind(candidates: Iterable[Candidate], rng: random.Random) -> dict[str, list[Candidate]]:
    """Candidates of each kind: each claim once, shuffled within its sort, one of every sort in turn."""
    sorts: dict[str, dict[str, list[Candidate]]] = {}
    seen: set[str] = set()
    for candidate in candidates:
        content = candidate.claim.model_dump_json()
        if content not in seen:
            seen.add(content)
            sorts.setdefault(candidate.claim.kind, {}).setdefault(candidate.sort, []).append(candidate)
    found: dict[str, list[Candidate]] = {}
    for kind, by_sort in sorts.items():
        for many in by_sort.values():
            rng.shuffle(many)
        turns = list(by_sort.values())
        rng.shuffle(turns)
        found[kind] = [one for row in zip_longest(*turns) for one in row if one is not None]
    return found
