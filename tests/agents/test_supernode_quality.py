"""Supernode quality: agreement and effect as a unit, beside random groups that are matched and share no member."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import Supernode, supernode_sha256
from tracescribe.agents.grouping.graph_facts import graph_facts
from tracescribe.agents.grouping.likeness import agglomerated, decoder_cosines
from tracescribe.agents.grouping.supernode_quality import agreement_of, measure_quality, random_groups
from tracescribe.agents.survey import make_survey
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.graph import FeatureNode

nodes = st.builds(FeatureNode, st.integers(0, 3), st.integers(0, 4), st.integers(0, 9))


def group(number: int, members: list[FeatureNode]) -> Supernode:
    return Supernode(
        supernode_id=f"s{number}",
        label="x",
        role="other",
        members=tuple(FeatureAt.of(node) for node in members),
    )


@settings(deadline=None)
@given(st.sets(nodes, min_size=1, max_size=40), st.data())
def test_random_groups_are_distinct_disjoint_and_matched(pool: set[FeatureNode], data: st.DataObject) -> None:
    members = data.draw(st.lists(st.sampled_from(sorted(pool)), min_size=1, max_size=6, unique=True))
    found = random_groups(np.random.default_rng(0), members, sorted(pool), 20)
    free = [node for node in pool if node not in members]
    assert len(set(found)) == len(found) <= 20
    assert bool(found) == (len(free) >= len(members))
    wanted, there = Counter(n.layer for n in members), Counter(n.layer for n in free)
    matched = all(there[layer] >= count for layer, count in wanted.items())
    for drawn in found:
        assert not set(drawn) & set(members)
        assert len(set(drawn)) == len(members)
        assert not matched or Counter(node.layer for node in drawn) == wanted


def test_a_pair_with_one_role_agrees_and_its_effect_is_that_of_its_ablation(embedded_toolbox: Toolbox) -> None:
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    survey = make_survey(tools)
    needed, idle = survey.features[0], survey.features[-1]
    both = group(3, [needed, idle])
    first, second, pair = measure_quality(tools, survey, [group(1, [needed]), group(2, [idle]), both])
    assert first.quality is not None and second.quality is not None and pair.quality is not None
    assert first.quality.agreement is None and first.quality.agreement_p is None
    assert pair.quality.agreement == agreement_of(graph_facts(survey.full), [needed, idle])
    assert first.quality.effect is not None and pair.quality.effect is not None
    assert first.quality.n_random > 0 and first.quality.effect_p is not None
    assert first.quality.effect > np.log(2)
    assert first.quality.random_effect is not None and first.quality.effect > first.quality.random_effect
    # what the registry has fixed of a supernode is not touched, and measuring again changes and costs nothing
    assert supernode_sha256(pair) == supernode_sha256(both)
    passes = tools.meter.forward_passes
    assert measure_quality(tools, survey, [first, second, pair]) == (first, second, pair)
    assert tools.meter.forward_passes == passes


def test_without_weights_agreement_is_all_that_is_told(embedded_toolbox: Toolbox) -> None:
    graph = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget()).full
    tools = Toolbox().open(InterpretationCase("x", graph=graph), Budget())
    survey = make_survey(tools)
    (told,) = measure_quality(tools, survey, [group(1, list(survey.features[:3]))])
    assert told.quality is not None and told.quality.agreement is not None
    assert told.quality.effect is None and told.quality.effect_p is None
    assert decoder_cosines(tools, survey.features) is None


def test_features_with_the_same_decoders_are_alike(embedded_toolbox: Toolbox) -> None:
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    cosines = decoder_cosines(tools, make_survey(tools).features)
    assert cosines is not None
    np.testing.assert_allclose(np.diag(cosines), 1.0, atol=1e-9)
    np.testing.assert_allclose(cosines, cosines.T, atol=1e-12)
    assert np.abs(cosines).max() <= 1 + 1e-9


@pytest.mark.parametrize("least", [0.2, 0.5, 0.8])
def test_clusters_of_blocks_are_the_blocks(least: float) -> None:
    block = np.kron(np.eye(3), np.ones((4, 4))).astype(np.float64)
    order = np.random.default_rng(1).permutation(12)
    found = agglomerated(block[np.ix_(order, order)], least)
    assert sorted(sorted(int(order[row]) for row in rows) for rows in found) == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    assert agglomerated(np.zeros((0, 0)), least) == []
    assert agglomerated(np.zeros((1, 1)), least) == [[0]]
