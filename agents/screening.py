"""The screen: features that the model needs, though the graph gives them no influence.

A graph is made with attention held as it is, so a feature that works by steering attention has no edge to show for it.
Two looks find such features, both with attention recomputed: every left-out feature is switched off once by itself; and
where the answer survives without all that the graph shows, once more on top of that, to find what stands in for it.

The screen looks; it tests nothing: no verdict rests on it, and no claim that a supernode is necessary is made of features
that it brought in, since that would be tested by the very act that suggested it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tracescribe.agents.survey import Survey
from tracescribe.tracer.edits import ablation

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

MIN_SCREEN_DROP = math.log(2)
"""Nats of the target's log-probability that a left-out feature must cost: the bar that necessity claims have, too."""


def screen(tools: CaseTools, survey: Survey) -> Survey:
    """The survey with the features that the screen brings in; the same survey where nothing can be run.

    Raises:
        BudgetExceededError: the forward passes are used up.
    """
    if not tools.can_test or not survey.targets:
        return survey
    known = set(survey.features)
    left_out = [n for n in tools.active_features() if n not in known and n in survey.full.node_of_feature]
    if not left_out:
        return survey
    shown = ablation(survey.features)
    alone = [ablation([node]) for node in left_out]
    on_top = [(*shown, *row) for row in alone] if shown else []
    result = tools.intervene([*alone, shown, *on_top] if shown else alone)
    target = int(survey.full.nodes.feature[survey.full.index(survey.targets[0].node_id)])
    drops = (float(result.clean_log_probabilities[target]) - result.log_probabilities[:, target]).tolist()
    costs = drops[: len(left_out)]
    if shown and drops[len(left_out)] < MIN_SCREEN_DROP:
        without = drops[len(left_out)]
        costs = [max(cost, more - without) for cost, more in zip(costs, drops[len(left_out) + 1 :], strict=True)]
    found = {node: cost for node, cost in zip(left_out, costs, strict=True) if cost >= MIN_SCREEN_DROP}
    ordered = sorted(found, key=lambda node: (-found[node], node))
    return replace(survey, features=(*survey.features, *ordered), screened=found)
