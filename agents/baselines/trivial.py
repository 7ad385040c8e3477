"""Baselines that know nothing of features but where they stand and how much influence they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tracescribe.agents.baselines import BaselineName
from tracescribe.agents.baselines.common import (
    BaselineProposer,
    Groups,
    all_features,
    by_influence,
    features_at_hand,
    gathered,
)
from tracescribe.agents.findings import Supernode
from tracescribe.agents.survey import Survey
from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


@dataclass(frozen=True)
class RandomBaseline(BaselineProposer):
    """As many features as pruning keeps, at random, in groups, words and an order at random."""

    NAME: ClassVar[BaselineName] = "random"

    def groups(self, tools: CaseTools, survey: Survey) -> Groups:
        """About as many groups as each has members."""
        pool = all_features(survey)
        chosen = tools.rng("baseline features").permutation(len(pool))[: len(features_at_hand(tools, survey))]
        n_groups = max(1, round(len(chosen) ** 0.5))
        keys = tools.rng("baseline groups").integers(n_groups, size=len(chosen))
        return gathered([pool[int(i)] for i in chosen], keys.tolist())

    def word(self, tools: CaseTools, survey: Survey, node: FeatureNode) -> str:
        """A word of the prompt, the same for one feature."""
        words = [token.strip() for token in survey.full.tokens[1:]] or [survey.full.tokens[0].strip()]
        return words[int(tools.rng("baseline labels", str(node.ref)).integers(len(words)))]

    def rank(self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...]) -> Mapping[FeatureNode, float]:
        """By chance."""
        chance = tools.rng("baseline ranking").random(len(survey.influence))
        return dict(zip(sorted(survey.influence), chance.tolist(), strict=True))


@dataclass(frozen=True)
class InfluenceBaseline(BaselineProposer):
    """The features with the most influence on the output, each a group of its own.

    Attributes:
        n_top: features taken where pruning can choose among all that fire; about as many as a small circuit has groups.
        share: of a graph that came alone, features are taken until they carry this share of all features' influence:
            circuit-tracer's threshold for nodes.
    """

    NAME: ClassVar[BaselineName] = "influence"
    n_top: int = 5
    share: float = 0.8

    def own_settings(self) -> Mapping[str, object]:
        """How many are taken."""
        return {"n_top": self.n_top, "share": self.share}

    def groups(self, tools: CaseTools, survey: Survey) -> Groups:
        """One feature each."""
        if tools.can_test:
            return [[node] for node in survey.kept[: self.n_top]]
        ordered = features_at_hand(tools, survey)
        limit = self.share * sum(survey.influence.values())
        chosen: list[list[FeatureNode]] = []
        carried = 0.0
        for node in ordered:
            if chosen and carried >= limit:
                break
            carried += survey.influence[node]
            chosen.append([node])
        return chosen


@dataclass(frozen=True)
class PositionBaseline(BaselineProposer):
    """One group for each token of the prompt, named after it."""

    NAME: ClassVar[BaselineName] = "position"

    def groups(self, tools: CaseTools, survey: Survey) -> Groups:
        """By position."""
        nodes = features_at_hand(tools, survey)
        return gathered(nodes, [node.position for node in nodes])


@dataclass(frozen=True)
class LayerBaseline(BaselineProposer):
    """One group for each layer, named after the token of its most influential feature.

    Late layers are ranked first: people keep what says the answer, and what stands near it.
    """

    NAME: ClassVar[BaselineName] = "layer"

    def groups(self, tools: CaseTools, survey: Survey) -> Groups:
        """By layer."""
        nodes = features_at_hand(tools, survey)
        return gathered(nodes, [node.layer for node in nodes])

    def rank(self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...]) -> Mapping[FeatureNode, float]:
        """Late layers first; within a layer by influence."""
        ordered = by_influence(survey)
        n = len(ordered)
        return {node: node.layer + (n - place) / (n + 1) for place, node in enumerate(ordered)}
