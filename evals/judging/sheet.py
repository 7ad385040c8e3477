"""Planted claims about one prompt, and the proposer that puts them through the loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tracescribe.agents.agent import Findings, LabelJudge, PoorLabel, Proposal, Revision
from tracescribe.agents.claims import Claim, FeatureAt, Predicate, claim_adapter
from tracescribe.agents.findings import FeatureLabel, Role, Supernode
from tracescribe.agents.ranking import PlainRanking
from tracescribe.agents.survey import Survey
from tracescribe.evals.judging.truth import Truth
from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

_STATEMENTS: Mapping[str, str] = {
    "necessity": "The answer needs these features.",
    "sufficiency": "These features alone keep the answer.",
    "steering": "Multiplying these features moves the token as said.",
    "swap": "With the donor's features in its place the model gives the donor's answer.",
    "edge": "The first drives the second.",
    "label": "The feature fires where the predicate holds.",
}


@dataclass(frozen=True)
class Planted:
    """One claim with its truth.

    Attributes:
        claim: as it is registered.
        sort: how it was made; for people.
        truth: decided before it was tested.
    """

    claim: Claim
    sort: str
    truth: Truth


@dataclass
class Sheet:
    """Claims about one prompt, with the supernodes that they name, each set of members once."""

    prompt: str
    supernodes: list[Supernode] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)

    def supernode(self, label: str, members: Iterable[FeatureNode], role: Role = "other") -> str:
        """Id of the supernode with these members."""
        nodes = tuple(FeatureAt.of(node) for node in sorted(set(members)))
        for known in self.supernodes:
            if known.members == nodes:
                return known.supernode_id
        name = f"s{len(self.supernodes) + 1}"
        self.supernodes.append(Supernode(supernode_id=name, label=label, role=role, members=nodes))
        return name

    def members(self) -> dict[str, tuple[FeatureNode, ...]]:
        """Feature nodes by supernode id."""
        return {s.supernode_id: tuple(m.node for m in s.members) for s in self.supernodes}

    def add(self, claim: Claim, sort: str, truth: Truth) -> None:
        """Plant a claim under the next free id."""
        numbered = claim.model_copy(update={"claim_id": f"c{len(self.planted) + 1}"})
        self.planted.append(Planted(numbered, sort, truth))


def make_claim(kind: Literal["necessity", "sufficiency", "steering", "swap", "edge", "label"], **fields: Any) -> Claim:
    """A claim that has no number yet, with the words of its kind."""
    found: Claim = claim_adapter.validate_python(
        {"kind": kind, "claim_id": "c0", "statement": _STATEMENTS[kind], **fields}
    )
    return found


@dataclass(frozen=True)
class SheetProposer(PlainRanking):
    """A `Proposer` that proposes what stands on a sheet, and thinks nothing.

    Attributes:
        sheet: its claims.
        name: as reports show it.
    """

    sheet: Sheet
    name: str = "planted"

    def settings(self) -> Mapping[str, object]:
        """How many claims there are."""
        return {"claims": len(self.sheet.planted)}

    def prompt_versions(self) -> Mapping[str, str]:
        """None."""
        return {}

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        """No labels; claims on labels stand on the sheet."""
        return Proposal()

    def label_judge(self) -> LabelJudge | None:
        """Nobody."""
        return None

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        """Nothing."""
        return Proposal()

    def group(self, tools: CaseTools, survey: Survey, labels: tuple[FeatureLabel, ...]) -> Proposal[Supernode]:
        """The sheet's supernodes."""
        return Proposal(tuple(self.sheet.supernodes))

    def hypothesise(
        self,
        tools: CaseTools,
        survey: Survey,
        labels: tuple[FeatureLabel, ...],
        supernodes: tuple[Supernode, ...],
    ) -> Proposal[Claim]:
        """The sheet's claims."""
        return Proposal(tuple(planted.claim for planted in self.sheet.planted))

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        """Nothing: what was said was said."""
        return Revision()


def predicate(on: Literal["token", "previous", "next"], words: Sequence[str]) -> Predicate:
    """A predicate of these words."""
    return Predicate(on=on, words=tuple(dict.fromkeys(words)))
