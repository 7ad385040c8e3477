"""The offline agent: deterministic, no language model, no knowledge of the model beyond what any agent sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracescribe.agents.agent import Findings, LabelJudge, PoorLabel, Proposal, Revision
from tracescribe.agents.claims import Claim, NecessityClaim, SwapClaim
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.grouping.graph_facts import graph_facts
from tracescribe.agents.grouping.graph_only import importance_without_evidence
from tracescribe.agents.grouping.supernodes import GroupSettings, group_features
from tracescribe.agents.grouping.widening import widened
from tracescribe.agents.labelling.labels import LabelSettings, label_feature, relabel_feature
from tracescribe.agents.labelling.local_meaning import local_meaning
from tracescribe.agents.loop import LoopAgent, LoopSettings
from tracescribe.agents.ranking import PlainRanking
from tracescribe.agents.survey import Survey
from tracescribe.agents.testing.donors import DonorSettings, find_donors
from tracescribe.agents.testing.hypotheses import HypothesisSettings, necessity, propose_claims, swap_claim
from tracescribe.tracer.graph import FeatureNode, FeatureRef

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


HOPEFUL_GAIN = 0.05
"""Gain in the donor answer's probability from which a failed swap suggests that members were missing."""


@dataclass(frozen=True)
class OfflineProposer(PlainRanking):
    """Labels by counting, groups by clustering, claims by template.

    Attributes:
        labels, groups, donors, hypotheses: settings of each step.
    """

    labels: LabelSettings = field(default_factory=LabelSettings)
    groups: GroupSettings = field(default_factory=GroupSettings)
    donors: DonorSettings = field(default_factory=DonorSettings)
    hypotheses: HypothesisSettings = field(default_factory=HypothesisSettings)

    @property
    def name(self) -> str:
        """`offline`."""
        return "offline"

    def settings(self) -> Mapping[str, object]:
        """Every setting of every step."""
        return {
            "labels": self.labels.as_json(),
            "groups": self.groups.as_json(),
            "donors": self.donors.as_json(),
            "hypotheses": self.hypotheses.as_json(),
        }

    def prompt_versions(self) -> Mapping[str, str]:
        """None: no language model is asked."""
        return {}

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        """A label for every surveyed feature, most influential first, with what it stands for in this prompt."""
        nodes: dict[FeatureRef, list[FeatureNode]] = {}
        for node in survey.features:
            nodes.setdefault(node.ref, []).append(node)
        facts = graph_facts(survey.full)
        return Proposal(
            tuple(
                label_feature(tools, ref, self.labels, self.name).model_copy(
                    update={"here": local_meaning(tools, facts, found)}
                )
                for ref, found in nodes.items()
            )
        )

    def label_judge(self) -> LabelJudge | None:
        """None: code judges labels by their predicates."""
        return None

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        """The next-best predicate of each, given the contexts that the poor one was wrong on."""
        found = [
            relabel_feature(tools, one.label, _sentences(one.missed_ids + one.false_alarm_ids), self.labels, self.name)
            for one in poor
        ]
        return Proposal(tuple(label for label in found if label is not None))

    def group(self, tools: CaseTools, survey: Survey, labels: tuple[FeatureLabel, ...]) -> Proposal[Supernode]:
        """Supernodes by role, place and likeness of attribution profiles."""
        return Proposal(group_features(tools, survey, by_feature(labels), self.groups))

    def rank(self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...]) -> Mapping[FeatureNode, float]:
        """Influence on the target logits; where a graph comes alone, what people keep in graphs like it."""
        if tools.corpus is not None or tools.can_test:
            return survey.influence
        return importance_without_evidence(graph_facts(survey.full), survey.influence)

    def hypothesise(
        self,
        tools: CaseTools,
        survey: Survey,
        labels: tuple[FeatureLabel, ...],
        supernodes: tuple[Supernode, ...],
    ) -> Proposal[Claim]:
        """Claims from templates over the graph."""
        return Proposal(propose_claims(tools, survey, labels, supernodes, self.hypotheses, self.donors))

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        """Supernodes whose swaps half succeeded are tried again with the members that pruning had left out."""
        facts = graph_facts(survey.full)
        outcome = {verdict.claim_id: verdict.outcome for verdict in findings.verdicts}
        effect = {v.claim_id: v.effect for v in findings.verdicts if v.effect is not None}
        supernodes: list[Supernode] = []
        claims: list[Claim] = []
        for supernode in findings.supernodes:
            swaps = [c for c in findings.claims if isinstance(c, SwapClaim) and c.supernode == supernode.supernode_id]
            if not any(effect.get(claim.claim_id, 0.0) >= HOPEFUL_GAIN for claim in swaps):
                continue  # nothing was swapped, or what was swapped plays no part at all
            if any(outcome.get(claim.claim_id) == "supported" for claim in swaps):
                continue
            wider = widened(tools, survey, facts, supernode, findings)
            if wider is None:
                continue
            donors = find_donors(tools, facts, wider, self.donors)
            if donors:
                supernodes.append(wider)
                claims += [swap_claim(tools, facts, wider, donor, survey.target_token) for donor in donors]
                if _was_claimed_necessary(findings, supernode):
                    claims.append(necessity(tools, facts, wider, survey.target_token))
        return Revision(tuple(supernodes), tuple(claims))


def by_feature(labels: Sequence[FeatureLabel]) -> dict[FeatureRef, FeatureLabel]:
    """Labels by feature."""
    return {FeatureRef(label.layer, label.feature): label for label in labels}


def _sentences(context_ids: Sequence[str]) -> tuple[int, ...]:
    """Numbers of sentences from the ids of contexts, which are `s` and the number."""
    return tuple(int(context_id.removeprefix("s")) for context_id in context_ids)


def _was_claimed_necessary(findings: Findings, supernode: Supernode) -> bool:
    return any(isinstance(c, NecessityClaim) and c.supernode == supernode.supernode_id for c in findings.claims)


def offline_agent(settings: LoopSettings | None = None) -> LoopAgent:
    """The offline agent with its default settings."""
    return LoopAgent(OfflineProposer(), settings or LoopSettings())
