"""Trivial agents that make a benchmark mean something: random features, most influence, one group per position.

Each is a proposer in the same loop as every other agent: it acts through the same toolbox, makes claims from the same
templates, and is judged by the same rule. What it lacks is any idea of what features mean or which belong together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tracescribe.agents.agent import Findings, LabelJudge, PoorLabel, Proposal, Revision
from tracescribe.agents.claims import Claim, FeatureAt, Predicate
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.loop import LoopAgent, LoopSettings
from tracescribe.agents.ranking import PlainRanking
from tracescribe.agents.survey import Survey
from tracescribe.agents.testing.donors import DonorSettings
from tracescribe.agents.testing.hypotheses import HypothesisSettings, propose_claims
from tracescribe.tracer.graph import FeatureNode, NodeKind

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

BaselineName = Literal["random", "top-influence", "token-position"]
BASELINES: tuple[BaselineName, ...] = ("random", "top-influence", "token-position")
"""Every baseline."""


@dataclass(frozen=True)
class BaselineProposer(PlainRanking):
    """A proposer without ideas.

    Attributes:
        name: `random` takes as many active features as pruning keeps, at random, in groups at random; `top-influence`
            takes the most influential ones, each a group of its own; `token-position` takes what pruning keeps, one
            group per position.
        n_top: features that `top-influence` takes; about as many as a small circuit has groups.
        donors, hypotheses: settings shared with the offline agent.
    """

    name: BaselineName
    n_top: int = 5
    donors: DonorSettings = field(default_factory=DonorSettings)
    hypotheses: HypothesisSettings = field(default_factory=HypothesisSettings)

    def settings(self) -> Mapping[str, object]:
        """Every setting that decides the outcome."""
        return {"n_top": self.n_top, "donors": self.donors.as_json(), "hypotheses": self.hypotheses.as_json()}

    def prompt_versions(self) -> Mapping[str, str]:
        """None: no language model is asked."""
        return {}

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        """The word that the feature stands on; a random word of the prompt for `random`."""
        rng = tools.rng("baseline labels")
        words = [token.strip() for token in survey.full.tokens[1:]] or [survey.full.tokens[0]]
        labels: dict[tuple[int, int], FeatureLabel] = {}
        for node in self._features(tools, survey):
            word = survey.full.tokens[node.position].strip()
            if self.name == "random":
                word = words[int(rng.integers(len(words)))]
            label = FeatureLabel(
                layer=node.layer,
                feature=node.feature,
                text=word,
                predicate=Predicate(on="token", words=(word,)),
                proposed_by=self.name,
            )
            labels.setdefault((node.layer, node.feature), label)
        return Proposal(tuple(labels.values()))

    def label_judge(self) -> LabelJudge | None:
        """None: code judges labels by their predicates."""
        return None

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        """None: every label stays as it was."""
        return Proposal()

    def group(self, tools: CaseTools, survey: Survey, labels: tuple[FeatureLabel, ...]) -> Proposal[Supernode]:
        """Groups by the rule of the name."""
        features = self._features(tools, survey)
        groups: dict[int, list[FeatureNode]] = {}
        rng = tools.rng("baseline groups")
        n_groups = max(1, round(len(features) ** 0.5))
        for number, node in enumerate(features):
            match self.name:
                case "random":
                    key = int(rng.integers(n_groups))
                case "top-influence":
                    key = number
                case "token-position":
                    key = node.position
            groups.setdefault(key, []).append(node)
        weight = {key: sum(survey.influence[node] for node in nodes) for key, nodes in groups.items()}
        text = {(label.layer, label.feature): label.text for label in labels}
        return Proposal(
            tuple(
                Supernode(
                    supernode_id=tools.new_supernode_id(),
                    label=text.get((groups[key][0].layer, groups[key][0].feature), "unnamed"),
                    role="other",
                    members=tuple(FeatureAt.of(node) for node in groups[key]),
                    influence=weight[key],
                )
                for key in sorted(groups, key=lambda k: (-weight[k], k))
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

    def rank(self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...]) -> Mapping[FeatureNode, float]:
        """By influence; by chance for `random`."""
        if self.name != "random":
            return survey.influence
        chance = tools.rng("baseline ranking").random(len(survey.influence))
        return dict(zip(sorted(survey.influence), chance.tolist(), strict=True))

    def _features(self, tools: CaseTools, survey: Survey) -> Sequence[FeatureNode]:
        match self.name:
            case "top-influence":
                return survey.kept[: self.n_top]
            case "token-position":
                return survey.kept
            case "random":
                pool = [survey.full.feature_node(int(i)) for i in survey.full.of_kind(NodeKind.FEATURE)]
                chosen = tools.rng("baseline features").permutation(len(pool))[: len(survey.kept)]
                return [pool[int(i)] for i in chosen]


def baseline_agent(name: BaselineName, settings: LoopSettings | None = None) -> LoopAgent:
    """A baseline with its default settings."""
    return LoopAgent(BaselineProposer(name), settings or LoopSettings())
