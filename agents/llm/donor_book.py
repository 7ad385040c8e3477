"""Donors found so far, each under an id that stays the same in every round; nothing is looked for twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracescribe.agents.case_tools import Prediction
from tracescribe.agents.claims import Claim, FeatureAt, Frozen, SwapClaim
from tracescribe.agents.findings import Supernode
from tracescribe.agents.grouping.graph_facts import GraphFacts
from tracescribe.agents.llm.memory import keep, recall
from tracescribe.agents.testing.donors import Donor, DonorSettings, counterpart, find_donors
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

DonorPairs = Mapping[str, tuple[Supernode, Donor]]
"""Supernode and donor by donor id."""
_KEY = "donors"


class _KeptDonor(Frozen):
    """A donor as it is kept; fields as in `Donor`."""

    supernode: str
    prompt: str
    changed: tuple[tuple[int, str], ...]
    features: tuple[FeatureAt, ...]
    expected_token: str
    probability: float


class _Kept(Frozen):
    """All donors, and the supernodes that were looked at."""

    looked: tuple[str, ...] = ()
    donors: tuple[_KeptDonor, ...] = ()


@dataclass(frozen=True, eq=False)
class DonorBook:
    """Finds donors and remembers them in `tools.memory`.

    Attributes:
        tools: of the case.
        facts: of its unpruned graph.
        settings: of the search.
    """

    tools: CaseTools
    facts: GraphFacts
    settings: DonorSettings = field(default_factory=DonorSettings)

    @property
    def looked(self) -> frozenset[str]:
        """Ids of the supernodes that donors were looked for."""
        return frozenset(self._kept().looked)

    def look(self, supernode: Supernode) -> tuple[str, ...]:
        """Look for donors of a supernode once; ids of all that it has.

        Raises:
            InputError: a sentence of the corpus does not read back as the tokens that it was made of.
            BudgetExceededError: the forward passes are used up.
        """
        kept = self._kept()
        if supernode.supernode_id not in kept.looked and self.tools.can_test:
            looked = (*kept.looked, supernode.supernode_id)
            keep(self.tools, _KEY, kept.model_copy(update={"looked": looked}))  # a search that fails fails again
            for donor in find_donors(self.tools, self.facts, supernode, self.settings):
                self.add(supernode, donor)
        return tuple(
            f"d{number}"
            for number, donor in enumerate(self._kept().donors, start=1)
            if donor.supernode == supernode.supernode_id
        )

    def add(self, supernode: Supernode, donor: Donor) -> str:
        """Remember a donor; its id."""
        kept = self._kept()
        new = _KeptDonor(
            supernode=supernode.supernode_id,
            prompt=donor.prompt,
            changed=donor.changed,
            features=donor.features,
            expected_token=donor.expected_token,
            probability=donor.probability,
        )
        keep(self.tools, _KEY, kept.model_copy(update={"donors": (*kept.donors, new)}))
        return f"d{len(kept.donors) + 1}"

    def pairs(self, supernodes: Iterable[Supernode]) -> dict[str, tuple[Supernode, Donor]]:
        """Every donor of these supernodes, by id."""
        known = {supernode.supernode_id: supernode for supernode in supernodes}
        return {
            f"d{number}": (
                known[kept.supernode],
                Donor(kept.prompt, kept.changed, kept.features, kept.expected_token, kept.probability),
            )
            for number, kept in enumerate(self._kept().donors, start=1)
            if kept.supernode in known
        }

    def written(self, supernode: Supernode, prompt: str, target: str) -> Donor:
        """A donor from a prompt that the language model wrote itself, held to the same conditions as one from the corpus.

        Raises:
            InputError: the model cannot read the prompt, or it cannot lend anything; the message says why.
            BudgetExceededError: the forward passes are used up.
        """
        if not self.tools.can_test:
            raise InputError("no model weights are at hand to read a donor prompt with")
        ids = [int(token) for token in self.tools.model.encode(prompt)]
        own = [int(token) for token in self.facts.graph.token_ids]
        if len(ids) != len(own):
            raise InputError(f"the donor prompt has {len(ids)} tokens and the prompt under study {len(own)}")
        (prediction,) = self.tools.predict([prompt])
        self._check_answer(prediction, target)
        members = tuple(member.node for member in supernode.members)
        features = counterpart(self.tools, self.facts, members, prompt, self.settings)
        if not features or {feature.ref for feature in features} <= {node.ref for node in members}:
            raise InputError(
                "nothing of the donor prompt stands where the supernode stands, or the very same features do"
            )
        changed = tuple((p, self.tools.model.token_text(i)) for p, i in enumerate(ids) if i != own[p])
        return Donor(prompt, changed, features, prediction.token, prediction.probability)

    def _check_answer(self, prediction: Prediction, target: str) -> None:
        if prediction.token == target:
            raise InputError(f"the model answers the donor prompt with {target.strip()!r} too")
        if prediction.probability < self.settings.min_probability:
            raise InputError(
                f"the model answers the donor prompt with probability {prediction.probability:.2f}, and a donor needs "
                f"{self.settings.min_probability:g}"
            )

    def _kept(self) -> _Kept:
        return recall(self.tools, _KEY, _Kept) or _Kept()


def not_yet_swapped(pairs: DonorPairs, earlier: Sequence[Claim]) -> dict[str, tuple[Supernode, Donor]]:
    """Donors whose swap was not claimed before."""
    swapped = {(claim.supernode, claim.donor_prompt) for claim in earlier if isinstance(claim, SwapClaim)}
    return {i: (s, d) for i, (s, d) in pairs.items() if (s.supernode_id, d.prompt) not in swapped}
