"""What every baseline shares: labels by the word that a feature stands on, claims by template, no revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tracescribe.agents.agent import Findings, LabelJudge, PoorLabel, Proposal, Revision
from tracescribe.agents.baselines import BaselineName
from tracescribe.agents.claims import Claim, FeatureAt, Predicate
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.ranking import PlainRanking
from tracescribe.agents.survey import Survey
from tracescribe.agents.testing.donors import DonorSettings
from tracescribe.agents.testing.hypotheses import HypothesisSettings, propose_claims
from tracescribe.tracer.graph import FeatureNode, FeatureRef, NodeKind

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

MAX_GROUPED = 5000
"""Features that a baseline groups, most influential first: as many as a report ranks."""

Groups = Sequence[Sequence[FeatureNode]]
"""Disjoint groups of features; the first feature of each gives it its name."""


@dataclass(frozen=True)
class BaselineProposer(PlainRanking):
    """A proposer without ideas: a subclass says which features belong together.

    Attributes:
        donors, hypotheses: settings shared with the offline agent.
    """

    NAME: ClassVar[BaselineName]
    donors: DonorSettings = field(default_factory=DonorSettings)
    hypotheses: HypothesisSettings = field(default_factory=HypothesisSettings)

    @property
    def name(self) -> str:
        """As `--agent` takes it."""
        return self.NAME

    def groups(self, tools: CaseTools, survey: Survey) -> Groups:
        """Which features are told, and which of them belong together; the same at every call on one case."""
        raise NotImplementedError

    def own_settings(self) -> Mapping[str, object]:
        """Settings of this baseline alone."""
        return {}

    def word(self, tools: CaseTools, survey: Survey, node: FeatureNode) -> str:
        """What a feature is called: the token that it stands on."""
        return survey.full.tokens[node.position].strip()

    def settings(self) -> Mapping[str, object]:
        """Every setting that decides the outcome."""
        return {**self.own_settings(), "donors": self.donors.as_json(), "hypotheses": self.hypotheses.as_json()}

    def prompt_versions(self) -> Mapping[str, str]:
        """None: no language model is asked."""
        return {}

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        """The word of every feature that is told; of one that stands at several tokens, the word of the first told."""
        labels: dict[FeatureRef, FeatureLabel] = {}
        for node in (node for group in self.groups(tools, survey) for node in group):
            if node.ref in labels:
                continue
            word = self.word(tools, survey, node)
            labels[node.ref] = FeatureLabel(
                layer=node.layer,
                feature=node.feature,
                text=word,
                predicate=Predicate(on="token", words=(word,)),
                proposed_by=self.name,
            )
        return Proposal(tuple(labels.values()))

    def label_judge(self) -> LabelJudge | None:
        """None: code judges labels by their predicates."""
        return None

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        """None: every label stays as it was."""
        return Proposal()

    def group(self, tools: CaseTools, survey: Survey, labels: tuple[FeatureLabel, ...]) -> Proposal[Supernode]:
        """The groups, most influential first, each named after its first feature."""
        groups = [group for group in self.groups(tools, survey) if group]
        weight = [sum(survey.influence.get(node, 0.0) for node in group) for group in groups]
        text = {FeatureRef(label.layer, label.feature): label.text for label in labels}
        return Proposal(
            tuple(
                Supernode(
                    supernode_id=tools.new_supernode_id(),
                    label=text.get(groups[number][0].ref, "") or "unnamed",
                    role="other",
                    members=tuple(FeatureAt.of(node) for node in groups[number]),
                    influence=weight[number],
                )
                for number in sorted(range(len(groups)), key=lambda n: (-weight[n], n))
            )
        )

    def hypothesise(
        self,
        tools: CaseTools,
        survey: Survey,
        labels: tuple[FeatureLabel, ...],
        supernodes: tuple[Supernode, ...],
    ) -> Proposal[Claim]:
        """The offline agent's templates, over these groups."""
        return Proposal(propose_claims(tools, survey, labels, supernodes, self.hypotheses, self.donors))

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        """Never: a baseline does not learn."""
        return Revision()


def features_at_hand(tools: CaseTools, survey: Survey) -> tuple[FeatureNode, ...]:
    """The features that there is reason to group, most influential first.

    With the model's weights: what pruning keeps. A graph that came alone was thinned by its publisher, or holds what its
    publisher wanted told: every feature of it.
    """
    return survey.kept if tools.can_test else by_influence(survey)[:MAX_GROUPED]


def by_influence(survey: Survey) -> tuple[FeatureNode, ...]:
    """Every feature of the graph, most influential first; equal ones in the graph's order of layers."""
    return tuple(sorted(survey.influence, key=lambda node: (-survey.influence[node], node)))


def all_features(survey: Survey) -> list[FeatureNode]:
    """Every feature of the graph, in the graph's order."""
    return [survey.full.feature_node(int(i)) for i in survey.full.of_kind(NodeKind.FEATURE)]


def gathered(nodes: Sequence[FeatureNode], keys: Sequence[int]) -> list[list[FeatureNode]]:
    """Nodes with the same key together, in their order."""
    found: dict[int, list[FeatureNode]] = {}
    for node, key in zip(nodes, keys, strict=True):
        found.setdefault(key, []).append(node)
    return list(found.values())
