"""The circuit as a whole: laws of normalised logit differences, and agreement with runs made one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tests.agents.test_experiments import TWO_FACTS
from tests.agents.test_planted_claims import supernode
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.case_tools import CaseTools
from tracescribe.agents.findings import CircuitEffect, Supernode
from tracescribe.agents.survey import make_survey
from tracescribe.agents.testing.circuit_effect import answer_and_foil, kept_differences, measure_circuit, recovered
from tracescribe.agents.testing.experiment_settings import MIN_CONTROLS, ExperimentSettings
from tracescribe.agents.testing.random_circuits import random_circuits
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.controls import SHIFTS_MATCHED_ON
from tracescribe.tracer.edits import FeatureShift, ablation
from tracescribe.tracer.errors import BudgetExceededError, InterventionError
from tracescribe.tracer.graph import AttributionGraph, FeatureNode
from tracescribe.tracer.statistics import rank_p_value

SETTINGS = ExperimentSettings()


@pytest.fixture
def tools(embedded_toolbox: Toolbox) -> CaseTools:
    """A prompt with nine active features: enough for many random circuits."""
    return embedded_toolbox.open(InterpretationCase("facts", prompt=TWO_FACTS), Budget())


def measured(tools: CaseTools, nodes: Sequence[FeatureNode]) -> CircuitEffect:
    effect = measure_circuit(tools, make_survey(tools), [supernode(tools, "x", nodes)], SETTINGS)
    assert effect is not None
    return effect


def by_need(tools: CaseTools) -> list[FeatureNode]:
    """Active features, those first whose absence alone costs the answer most."""
    active = tools.active_features()
    target, foil = answer_and_foil(tools, tools.predict([tools.full.prompt])[0].token)
    without = kept_differences(tools, [set(active) - {node} for node in active], active, target, foil)
    return [active[int(i)] for i in np.argsort(without, kind="stable")]


def test_all_features_are_sufficient_and_necessary(tools: CaseTools) -> None:
    effect = measured(tools, tools.active_features())
    assert (effect.sufficiency, effect.necessity) == (1.0, 1.0)
    assert effect.n_features == effect.n_active == len(tools.active_features())
    assert effect.sufficiency_p is not None and effect.sufficiency_p <= 0.05  # random features as strong do not do it


def test_no_feature_at_all_is_neither(tools: CaseTools) -> None:
    active = tools.active_features()
    target, foil = answer_and_foil(tools, "euro")
    whole, empty = kept_differences(tools, [active, ()], active, target, foil).tolist()
    nothing, everything = recovered(np.array([empty, whole]), whole, empty).tolist()
    assert (nothing, 1.0 - everything) == (0.0, 0.0)


def test_what_a_circuit_lacks_its_complement_has(tools: CaseTools) -> None:
    """Necessity of a circuit and sufficiency of the rest add up to one, whatever the circuit."""
    active = tools.active_features()
    for size in (1, 3, 6):
        chosen = [active[int(i)] for i in np.random.default_rng(size).permutation(len(active))[:size]]
        circuit, rest = measured(tools, chosen), measured(tools, [node for node in active if node not in chosen])
        assert circuit.necessity + rest.sufficiency == pytest.approx(1.0, abs=1e-6)


def test_the_measure_agrees_with_runs_made_one_by_one(tools: CaseTools) -> None:
    """Each number from its own intervention, with the definition written out once more."""
    active = tools.active_features()
    circuit = by_need(tools)[:4]
    effect = measured(tools, circuit)
    assert effect.target == tools.predict([TWO_FACTS])[0].token

    def difference(removed: Sequence[FeatureNode]) -> float:
        logits = tools.intervene([ablation(removed)]).logits[0, -1].double()
        return float(logits[tools.model.token_id(effect.target)] - logits[tools.model.token_id(effect.foil)])

    clean = tools.clean().logits[-1].double()
    ranked = clean.argsort(descending=True).tolist()
    assert [tools.model.token_text(i) for i in ranked[:2]] == [effect.target, effect.foil]
    whole, empty = float(clean[ranked[0]] - clean[ranked[1]]), difference(active)
    rest = [node for node in active if node not in circuit]
    assert effect.logit_difference == pytest.approx(whole, abs=1e-4)
    assert effect.logit_difference_empty == pytest.approx(empty, abs=1e-4)
    assert effect.sufficiency == pytest.approx((difference(rest) - empty) / (whole - empty), abs=1e-4)
    assert effect.necessity == pytest.approx(1 - (difference(circuit) - empty) / (whole - empty), abs=1e-4)


def test_a_circuit_is_told_from_random_ones_of_its_size(tools: CaseTools) -> None:
    ordered = by_need(tools)
    found, others = measured(tools, ordered[:4]), measured(tools, ordered[5:])
    assert len(found.random_sufficiency) == len(found.random_necessity) >= MIN_CONTROLS
    assert found.necessity_p == rank_p_value(found.necessity, found.random_necessity).p_value
    assert found.sufficiency_p == rank_p_value(found.sufficiency, found.random_sufficiency).p_value
    assert found.sufficiency > 0.5 > others.sufficiency
    assert found.necessity > 0.5 > others.necessity
    assert found.sufficiency_p is not None and others.sufficiency_p is not None
    assert found.sufficiency_p < 0.2  # random circuits share members with it
    assert others.sufficiency_p > 0.8


def test_random_features_of_the_same_strength_stand_in_where_few_circuits_exist(embedded_toolbox: Toolbox) -> None:
    """Three active features make two other circuits of one feature: far too few. The stand-ins match push for push."""
    tools = embedded_toolbox.open(InterpretationCase("dallas", prompt=DALLAS), Budget())
    active = tools.active_features()
    effect = measured(tools, active[:1])
    assert len(effect.random_sufficiency) == 99 and effect.sufficiency_p is not None
    assert effect.matched_on == SHIFTS_MATCHED_ON
    drawn = random_circuits(tools, tools.rng("x"), active[:2], active, 60)
    assert len(drawn.alone) == len(drawn.removed) == 60
    norms = {layer: tools.toolbox.decoder_norms(layer) for layer in range(tools.transcoders.n_layers)}
    for alone, removed in zip(drawn.alone, drawn.removed, strict=True):
        assert tuple(alone[: len(active)]) == ablation(active)
        for node, added, taken in zip(active[:2], alone[len(active) :], removed, strict=True):
            assert isinstance(added, FeatureShift) and isinstance(taken, FeatureShift)
            assert (added.layer, added.position) == (taken.layer, taken.position) == (node.layer, node.position)
            assert added.ref == taken.ref and added.ref not in {other.ref for other in active}
            push = tools.clean().activation(node) * norms[node.layer][node.feature]
            assert added.amount * norms[node.layer][added.feature] == pytest.approx(push, rel=1e-5)
            assert taken.amount == -added.amount


def test_the_same_seed_gives_the_same_numbers(tools: CaseTools, embedded_toolbox: Toolbox) -> None:
    again = embedded_toolbox.open(InterpretationCase("facts", prompt=TWO_FACTS), Budget())
    nodes = tools.active_features()[:3]
    assert measured(tools, nodes) == measured(again, nodes)


# -- where there is nothing to measure ------------------------------------------------------------------------------------


def _standing(tools: CaseTools, nodes: Sequence[FeatureNode], *, rejected: bool = False) -> Supernode:
    return supernode(tools, "x", nodes).model_copy(update={"rejected": rejected})


def test_rejected_supernodes_and_silent_features_are_no_circuit(
    tools: CaseTools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    survey, first = make_survey(tools), tools.active_features()[0]
    silent = FeatureNode(first.layer, 1, first.feature)
    assert silent not in tools.active_features()
    for supernodes in ([], [_standing(tools, [first], rejected=True)], [_standing(tools, [silent])]):
        assert measure_circuit(tools, survey, supernodes, SETTINGS) is None
    assert caplog.text.count("no member of a supernode that stands fires in the prompt") == 3
    both = [_standing(tools, [first]), _standing(tools, tools.active_features()[1:], rejected=True)]
    effect = measure_circuit(tools, survey, both, SETTINGS)
    assert effect is not None and effect.n_features == 1
    with_silent = measure_circuit(tools, survey, [_standing(tools, [first, silent])], SETTINGS)
    assert with_silent == effect.model_copy(update={"n_features": 2})


def test_without_weights_nothing_is_measured(dallas_graph: AttributionGraph) -> None:
    tools = Toolbox().open(InterpretationCase("graph", graph=dallas_graph), Budget())
    nodes = list(dallas_graph.node_of_feature)[:2]
    assert measure_circuit(tools, make_survey(tools), [_standing(tools, nodes)], SETTINGS) is None


def test_shares_of_next_to_nothing_are_refused() -> None:
    with pytest.raises(InterventionError, match=r"move the logit difference of answer and foil by 0\.1, and 0\.693"):
        recovered(np.array([0.0]), 0.2, 0.1)
    with pytest.raises(InterventionError):
        recovered(np.array([0.0]), -3.0, 1.0)
    with pytest.raises(InterventionError):
        recovered(np.array([0.0]), float("nan"), 1.0)


def test_the_budget_is_charged_and_holds(embedded_toolbox: Toolbox) -> None:
    tools = embedded_toolbox.open(InterpretationCase("facts", prompt=TWO_FACTS), Budget(forward_passes=20))
    with pytest.raises(BudgetExceededError, match="forward_passes"):
        measured(tools, tools.active_features()[:3])
