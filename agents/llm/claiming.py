"""What claims may name, and the claims that come of a language model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.llm.case_view import CaseView
from tracescribe.agents.llm.donor_book import DonorBook, DonorPairs, not_yet_swapped
from tracescribe.agents.llm.told import told
from tracescribe.agents.llm.typed_claims import Known
from tracescribe.agents.llm.words import vocabulary_of
from tracescribe.agents.report import StepFailure
from tracescribe.tracer.errors import InputError


@dataclass(frozen=True, eq=False)
class Offer:
    """What a round of claims is made of.

    Attributes:
        known: what claims may name.
        donors: of those, the ones whose swap was not claimed before: what the language model is shown.
        failures: supernodes for which no donors could be looked for.
    """

    known: Known
    donors: DonorPairs
    failures: tuple[StepFailure, ...] = ()


def known_of(
    view: CaseView, labels: Sequence[FeatureLabel], supernodes: Sequence[Supernode], donors: DonorPairs
) -> Known:
    """What claims may name."""
    return Known(
        supernodes={supernode.supernode_id: supernode for supernode in supernodes},
        donors=donors,
        labels={f"{label.layer}/{label.feature}": label for label in labels if label.predicate is not None},
        vocabulary=vocabulary_of(view.tools, view.survey),
    )


def make_offer(
    view: CaseView,
    labels: Sequence[FeatureLabel],
    supernodes: Sequence[Supernode],
    *,
    max_swapped: int,
    step: str,
    earlier: Sequence[Claim] = (),
) -> Offer:
    """Look for donors of the most influential supernodes not looked at yet, and gather what claims may name.

    Raises:
        BudgetExceededError: the forward passes are used up.
    """
    book = DonorBook(view.tools, view.facts)
    looked = book.looked
    movable = [s for s in supernodes if s.role != "suppressor" and s.supernode_id not in looked]
    movable.sort(key=lambda s: -s.influence)
    faults: list[str] = []
    for supernode in movable[:max_swapped]:
        try:
            book.look(supernode)
        except InputError as error:  # The corpus holds what the model cannot read; swaps are then not offered.
            faults.append(f"no donors for {supernode.supernode_id}: {error}")
    pairs = book.pairs(supernodes)
    return Offer(known_of(view, labels, supernodes, pairs), not_yet_swapped(pairs, earlier), told(step, faults))
