"""What a comparison of two reports says, as the API and the page have it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tracescribe.agents.findings import Outcome, Role


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class SupernodeTold(_Told):
    """A supernode of one of the reports."""

    supernode_id: str
    label: str
    role: Role
    members: int
    rejected: bool


class SupernodePair(_Told):
    """Two supernodes that share members, or one without a partner."""

    a: SupernodeTold | None
    b: SupernodeTold | None
    shared: int = 0
    jaccard: float | None = None


class LabelPair(_Told):
    """What the reports call one feature; None where one has no label for it."""

    layer: int
    feature: int
    a: str | None
    b: str | None


class LinkPair(_Told):
    """A link between supernodes, tokens or answers; the weights are None where a report has no such link."""

    source: str
    destination: str
    a: float | None
    b: float | None


class ClaimTold(_Told):
    """A claim of one of the reports, and how it came out; `outcome` is None where it was not judged."""

    claim_id: str
    statement: str
    outcome: Outcome | None
    effect: float | None


class ClaimPair(_Told):
    """One question that both reports ask, or one of them."""

    kind: str
    a: ClaimTold | None
    b: ClaimTold | None

    @property
    def differs(self) -> bool:
        """Whether both were judged, differently."""
        return self.a is not None and self.b is not None and self.a.outcome != self.b.outcome


class Likeness(_Told):
    """Figures from 0 to 1; None where there is nothing to compare.

    Attributes:
        features: Jaccard index of the features of both circuits.
        groups: mean Jaccard index of each supernode with its best partner.
        labels: share of labelled features that both label in the same words.
    """

    features: float | None
    groups: float | None
    labels: float | None


class ReportPair(_Told):
    """Two reports compared.

    Attributes:
        same_features: whether both are about features of the same transcoders; else features cannot be compared.
        claims: those that came out differently first.
    """

    same_features: bool
    likeness: Likeness
    supernodes: tuple[SupernodePair, ...]
    labels: tuple[LabelPair, ...]
    links: tuple[LinkPair, ...]
    claims: tuple[ClaimPair, ...]


class CostTold(_Told):
    """What a report took. `usd` is None where nobody knows the prices."""

    seconds: float
    experiments: int
    forward_passes: int
    llm_calls: int
    tokens: int
    usd: float | None


class ReportTold(_Told):
    """One of the two reports, in short.

    Attributes:
        error_influence: share of the influence on the answer that no feature explains.
        influence_left_out: share of the features' influence that is in no supernode; None where it is not known.
    """

    case_id: str
    agent: str
    model: str | None
    tested: bool
    cut_short: str | None
    outcomes: dict[Outcome, int]
    supernodes: int
    features: int
    error_influence: float
    influence_left_out: float | None
    cost: CostTold


class ComparedReports(_Told):
    """Two reports on one prompt, and how they differ."""

    prompt: str
    answer: str | None
    a: ReportTold
    b: ReportTold
    pair: ReportPair
