"""How well supernodes hang together, and what each does as a unit, beside random groups of the same size.

Neither decides a verdict: agreement is read off the graph, and the effect is measured after the claims of a round were
registered, so that no claim can rest on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.findings import Supernode, SupernodeQuality
from tracescribe.agents.grouping.graph_facts import GraphFacts, graph_facts
from tracescribe.agents.grouping.likeness import views_of
from tracescribe.agents.survey import Survey
from tracescribe.tracer.controls import matched_shifts
from tracescribe.tracer.edits import ablation, as_shifts
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.profiles import similarity
from tracescribe.tracer.statistics import rank_p_value

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.tracer.edits import Row

Group = tuple[FeatureNode, ...]

N_RANDOM_GROUPS = 99
"""Random groups of each kind: enough for a rank p value of .01, at half the cost of an experiment."""
MAX_MISSES = 200
"""Draws in a row that bring no new group before no more are expected."""


def measure_quality(tools: CaseTools, survey: Survey, supernodes: Sequence[Supernode]) -> tuple[Supernode, ...]:
    """The same supernodes with their quality; those that have one keep it.

    Agreement is the mean likeness of attribution profiles over pairs of members, beside groups of other features of the
    graph from the same layers. The effect is that of ablating all members together, beside random live features that are
    pushed as hard at the same layers and positions: what fires in a short prompt is nearly all part of the circuit, and
    would be no comparison.

    Raises:
        BudgetExceededError: the forward passes are used up.
        AttributionError: the graph has a cycle or a weight that is not finite.
    """
    fresh = [s for s in supernodes if s.quality is None]
    if not fresh:
        return tuple(supernodes)
    facts = graph_facts(survey.full)
    found = {s.supernode_id: _agreement(tools, facts, s) for s in fresh}
    found |= {i: found[i].model_copy(update=effect) for i, effect in _effects(tools, survey, fresh).items()}
    return tuple(
        s.model_copy(update={"quality": found[s.supernode_id]}) if s.supernode_id in found else s for s in supernodes
    )


def random_groups(
    rng: np.random.Generator, members: Sequence[FeatureNode], pool: Sequence[FeatureNode], n: int
) -> list[Group]:
    """Distinct random groups of as many features as `members`, none of them a member.

    They are matched layer by layer where the pool allows it; otherwise in number alone.

    Returns:
        At most `n`, each sorted; none where the pool is smaller than the group.
    """
    barred = set(members)
    free = sorted(node for node in pool if node not in barred)
    wanted = Counter(node.layer for node in members)
    by_layer = {layer: [node for node in free if node.layer == layer] for layer in wanted}
    if any(len(by_layer[layer]) < count for layer, count in wanted.items()):
        wanted, by_layer = Counter({-1: len(members)}), {-1: free}
        if len(free) < len(members):
            return []
    groups: dict[Group, None] = {}
    misses = 0
    while len(groups) < n and misses < MAX_MISSES:
        group = tuple(
            sorted(
                by_layer[layer][int(i)]
                for layer, count in wanted.items()
                for i in rng.choice(len(by_layer[layer]), size=count, replace=False)
            )
        )
        misses = misses + 1 if group in groups else 0
        groups.setdefault(group)
    return list(groups)


def agreement_of(facts: GraphFacts, group: Sequence[FeatureNode]) -> float | None:
    """Mean likeness of attribution profiles over all pairs of a group, 0 to 1; None for fewer than two.

    Source: "ADAG", arXiv 2604.07615 (the likeness).
    """
    rows = [facts.row_of[node] for node in group if node in facts.row_of]
    if len(rows) < 2:
        return None
    likeness = similarity(*views_of(facts, rows))
    return float(likeness[np.triu_indices(len(rows), 1)].mean())


def _agreement(tools: CaseTools, facts: GraphFacts, supernode: Supernode) -> SupernodeQuality:
    members = [member.node for member in supernode.members if member.node in facts.row_of]
    agreement = agreement_of(facts, members)
    if agreement is None:
        return SupernodeQuality()
    rng = tools.rng("quality agreement", supernode.supernode_id)
    others = [agreement_of(facts, group) for group in random_groups(rng, members, tuple(facts.row_of), N_RANDOM_GROUPS)]
    told = [value for value in others if value is not None]
    return SupernodeQuality(
        agreement=agreement,
        random_agreement=float(np.mean(told)) if told else None,
        agreement_p=rank_p_value(agreement, told).p_value if told else None,
        n_random=len(told),
    )


def _effects(tools: CaseTools, survey: Survey, supernodes: Sequence[Supernode]) -> dict[str, dict[str, float | int]]:
    """Effect of each supernode as a unit, in one batch; empty where nothing can be run."""
    if not tools.can_test or not survey.targets:
        return {}
    clean = tools.clean()
    rows: list[Row] = []
    drawn: list[tuple[str, int]] = []
    for supernode in supernodes:
        shifts = as_shifts(ablation([m.node for m in supernode.members]), clean, clean.n_pos)
        if not shifts:  # every member is silent here
            continue
        live = {layer: tools.live(layer) for layer in sorted({shift.layer for shift in shifts})}
        norms = {layer: tools.toolbox.decoder_norms(layer) for layer in live}
        rng = tools.rng("quality effect", supernode.supernode_id)
        groups = matched_shifts(rng, shifts, live, {shift.ref for shift in shifts}, N_RANDOM_GROUPS, norms)
        drawn.append((supernode.supernode_id, len(groups)))
        rows += [shifts, *groups]
    if not rows:
        return {}
    result = tools.intervene(rows)
    target = int(survey.full.nodes.feature[survey.full.index(survey.targets[0].node_id)])
    drops = (float(result.clean_log_probabilities[target]) - result.log_probabilities[:, target]).double().numpy()
    found: dict[str, dict[str, float | int]] = {}
    start = 0
    for supernode_id, n in drawn:
        effect, others = float(drops[start]), drops[start + 1 : start + 1 + n]
        start += 1 + n
        found[supernode_id] = {"effect": effect, "n_random": n}
        if n:
            p_value = rank_p_value(effect, others).p_value
            found[supernode_id] |= {"random_effect": float(others.mean()), "effect_p": p_value}
    return found
