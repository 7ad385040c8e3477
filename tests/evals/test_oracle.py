"""The oracle gold: it is true of the model, complete, and refuses other weights. No feature index is fixed here."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import tracescribe.evals
from tracescribe.evals.gold import GoldCircuit, GoldEdge, GoldSet, GoldSupernode, check_circuit, read_gold
from tracescribe.evals.oracle import building as oracle
from tracescribe.evals.oracle.building import OracleSettings, build_oracle_gold, load_oracle_gold
from tracescribe.evals.oracle.traps import SORTS
from tracescribe.evals.prediction import prediction_of_gold
from tracescribe.evals.scores import METRICS, score_prediction
from tracescribe.tracer.attribution import attribute
from tracescribe.tracer.clean_run import clean_run
from tracescribe.tracer.edits import FeatureEdit, ablation, swap
from tracescribe.tracer.embedded.training.corpus import TASKS
from tracescribe.tracer.errors import GoldFormatError
from tracescribe.tracer.graph import AttributionGraph, FeatureNode
from tracescribe.tracer.interventions import intervene
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet

ERROR_RATES = {metric.name for metric in METRICS if not metric.higher_is_better}


@pytest.fixture(scope="module")
def dallas(oracle_gold: GoldSet) -> GoldCircuit:
    found = oracle_gold.of_prompt("the capital of the state containing Dallas is")
    assert found is not None
    return found


def carrier(circuit: GoldCircuit, variable: str) -> GoldSupernode:
    return next(s for s in circuit.supernodes if s.concept.startswith(f"{variable}="))


def nodes(supernode: GoldSupernode) -> list[FeatureNode]:
    parts = [[int(part) for part in member.split("_")] for member in supernode.members]
    return [FeatureNode(layer, position, feature) for layer, feature, position in parts]


def test_the_set_has_what_it_promises(oracle_gold: GoldSet) -> None:
    by_task = {task: [c for c in oracle_gold.circuits if c.family == task] for task in TASKS}
    assert len(oracle_gold.circuits) >= 120
    assert all(len(circuits) >= 20 for circuits in by_task.values())
    assert len({c.prompt for c in oracle_gold.circuits}) == len(oracle_gold.circuits)
    assert sum("held_out" in c.tags for c in oracle_gold.circuits) >= len(oracle_gold.circuits) / 2
    assert all(sum("distractor" in c.tags for c in circuits) >= 4 for circuits in by_task.values())
    assert sum("distractor" in c.tags for c in oracle_gold.circuits) >= 40
    assert all(sum("second_draw" in c.tags for c in circuits) == 8 for circuits in by_task.values())
    assert all(t.probability is not None and t.probability >= 0.5 for c in oracle_gold.circuits for t in c.targets)


def test_every_sort_of_trap_is_there(oracle_gold: GoldSet) -> None:
    for task, sorts in SORTS.items():
        tags = {tag for c in oracle_gold.circuits if c.family == task for tag in c.tags}
        assert set(sorts) <= tags, task


def test_what_tempts_is_wrong(oracle_gold: GoldSet) -> None:
    """No trap stands for what the circuit computes, and none of its features is a part of the circuit."""
    assert sum(bool(c.traps) for c in oracle_gold.circuits) >= 35
    assert sum(bool(trap.members) for c in oracle_gold.circuits for trap in c.traps) >= 4
    for circuit in oracle_gold.circuits:
        concepts = {s.concept for s in circuit.supernodes}
        for trap in circuit.traps:
            assert "distractor" in circuit.tags and trap.concept not in concepts, circuit.gold_id
            assert trap.label in trap.accepted_labels
            assert not set(trap.members) & {*circuit.selected, *circuit.undecided}


def test_a_city_that_is_named_but_not_asked_about_lights_its_state(oracle_gold: GoldSet) -> None:
    """The features of the wrong state fire, at the wrong city, and the answer does not need them."""
    for circuit in (c for c in oracle_gold.circuits if "two_places" in c.tags):
        variable = "state" if circuit.family == "states" else "country"
        trap = next(t for t in circuit.traps if t.concept.startswith(f"{variable}="))
        assert trap.members and circuit.complete, circuit.gold_id
        where = {int(member.split("_")[2]) for member in trap.members}
        (own,) = {int(member.split("_")[2]) for member in carrier(circuit, variable).members}
        assert own not in where


def test_the_first_draw_is_kept(oracle_gold: GoldSet) -> None:
    """Old cases keep their names, so that figures before and after the second draw can be told apart."""
    for task in TASKS:
        circuits = [c for c in oracle_gold.circuits if c.family == task]
        assert ["second_draw" in c.tags for c in circuits] == [False] * 12 + [True] * 8
        assert [c.gold_id for c in circuits if "second_draw" not in c.tags][-1] == f"{task.replace('_', '-')}-12"


def test_texas_is_found_in_the_dallas_trace(dallas: GoldCircuit, dallas_graph: AttributionGraph) -> None:
    check_circuit(dallas, dallas_graph)
    texas = carrier(dallas, "state")
    assert (texas.label, texas.role) == ("Texas", "intermediate")
    assert texas.members and set(texas.members) <= set(dallas_graph.node_ids)
    assert {dallas_graph.token_text(dallas_graph.index(member)) for member in texas.members} == {"Dallas"}
    assert carrier(dallas, "relation").label == "capital"
    assert carrier(dallas, "answer").role == "output"


def test_swapping_texas_for_california_gives_sacramento(dallas: GoldCircuit) -> None:
    effects = dallas.effects_of(carrier(dallas, "state").supernode_id)
    assert effects is not None and effects.exhaustive and effects.necessary
    (california,) = effects.swaps_to("Sacramento")
    assert california.value == "California" and california.holds
    assert not effects.swaps_to("Austin"), "a swap to the answer that stands already tells nothing"
    assert not effects.swaps_to("quail"), "the state does not decide what is asked about it"


def test_the_tracer_sees_what_gold_says(
    dallas: GoldCircuit, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    """Gold was made with another forward pass: the tracer's interventions must give the same numbers."""
    tokens = embedded_model.encode(dallas.prompt)
    clean = clean_run(embedded_model, embedded_transcoders, tokens)
    rows, drops = [], []
    for effects in dallas.effects:
        supernode = next(s for s in dallas.supernodes if s.supernode_id == effects.supernode)
        if supernode.members:
            rows.append(ablation(nodes(supernode)))
            drops.append(effects.features_drop)
    result = intervene(embedded_model, embedded_transcoders, tokens, rows, clean=clean)
    answer = embedded_model.token_id(dallas.targets[0].token)
    seen = result.clean_log_probabilities[answer] - result.log_probabilities[:, answer]
    assert seen.tolist() == pytest.approx(drops, abs=2e-3)


def test_the_tracer_can_swap_by_gold_features(
    dallas: GoldCircuit, oracle_gold: GoldSet, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    """Members of a second gold circuit, moved into the Dallas prompt, give the second state's capital."""
    others = [
        c
        for c in oracle_gold.circuits
        if c.family == "states" and "two_hop" in c.tags and c.supernodes[0].label != "Texas" and c.supernodes[0].members
    ]
    tokens = embedded_model.encode(dallas.prompt)
    texas = nodes(carrier(dallas, "state"))
    hits = 0
    for other in others:
        effects = dallas.effects_of(carrier(dallas, "state").supernode_id)
        state = carrier(other, "state")
        known = next(s for s in effects.swaps if s.value == state.label) if effects else None
        donor = clean_run(embedded_model, embedded_transcoders, embedded_model.encode(other.prompt))
        edits = {FeatureNode(n.layer, texas[0].position, n.feature): donor.activation(n) for n in nodes(state)}
        row: tuple[FeatureEdit, ...] = swap(texas, edits)
        result = intervene(embedded_model, embedded_transcoders, tokens, [row])
        assert known is not None
        hits += int(result.logits[0, -1].argmax()) == embedded_model.token_id(known.expected_token)
    assert hits >= 0.8 * len(others)


def test_gold_fits_every_trace_and_scores_itself_perfectly(
    oracle_gold: GoldSet, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    for circuit in oracle_gold.circuits:
        graph = attribute(embedded_model, embedded_transcoders, circuit.prompt)
        check_circuit(circuit, graph)
        scores = score_prediction(prediction_of_gold(circuit), circuit, graph)
        for name, value in scores.values.items():
            assert value.value in (None, 0.0 if name in ERROR_RATES else 1.0), (circuit.gold_id, name)


def test_nothing_outside_gold_carries_the_answer(oracle_gold: GoldSet) -> None:
    """Everything outside the gold was cleared at once: nearly everywhere the answer stands as before."""
    assert sum(circuit.complete for circuit in oracle_gold.circuits) >= 0.9 * len(oracle_gold.circuits)


def test_predicted_effects_are_observed_at_their_homes(oracle_gold: GoldSet) -> None:
    """The model implements its causal model: an interchange at a variable's home gives the predicted answer."""
    swaps = [
        swap
        for circuit in oracle_gold.circuits
        for effects in circuit.effects
        if "operation" not in next(s.concept for s in circuit.supernodes if s.supernode_id == effects.supernode)
        for swap in effects.swaps
    ]
    assert len(swaps) > 1000
    assert sum(swap.holds for swap in swaps) / len(swaps) >= 0.95


def test_gold_of_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads(oracle.oracle_path().read_text())
    for circuit in document["circuits"]:
        circuit["stamp"]["model_sha256"] = "0" * 64
    tampered = tmp_path / "gold.json"
    tampered.write_text(json.dumps(document))
    monkeypatch.setattr(oracle, "oracle_path", lambda: tampered)
    with pytest.raises(GoldFormatError, match="belongs to other weights.*`tracescribe gold build`"):
        load_oracle_gold()
    document["circuits"][0]["stamp"] = read_gold_stamp()
    tampered.write_text(json.dumps(document))
    with pytest.raises(GoldFormatError, match="circuits carry different weight hashes"):
        load_oracle_gold()


def read_gold_stamp() -> dict[str, str | None]:
    return oracle.embedded_stamp().model_dump()


def test_building_twice_gives_the_same_gold(tmp_path: Path) -> None:
    settings = OracleSettings(tasks=("states", "people"), per_quota=1, every=9)
    seen: list[str] = []
    build_oracle_gold(settings, out=tmp_path / "a.json", progress=lambda done, total, text: seen.append(text))
    build_oracle_gold(settings, out=tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    gold = read_gold(tmp_path / "a.json")
    assert [circuit.gold_id for circuit in gold.circuits] == seen
    assert gold.circuits[0].prompt == "the capital of the state containing Dallas is"


def test_the_shipped_gold_is_what_the_builder_makes(oracle_gold: GoldSet) -> None:
    rebuilt = build_oracle_gold(OracleSettings(every=13))  # of both draws and all tasks
    assert {circuit.family for circuit in rebuilt.circuits} == set(TASKS)
    shipped = {circuit.gold_id: circuit for circuit in oracle_gold.circuits}
    for circuit in rebuilt.circuits:
        stored = shipped[circuit.gold_id]
        assert (circuit.prompt, circuit.supernodes, circuit.traps) == (stored.prompt, stored.supernodes, stored.traps)
        assert [_without_figures(e) for e in circuit.edges] == [_without_figures(e) for e in stored.edges]
        for edge, kept in zip(circuit.edges, stored.edges, strict=True):
            assert [edge.share, edge.total] == pytest.approx([kept.share, kept.total], abs=2e-3)


def _without_figures(edge: GoldEdge) -> tuple[str, str, int, bool, str]:
    return edge.source, edge.destination, edge.sign, edge.visible, edge.status


def test_the_oracle_shares_no_code_with_the_agents() -> None:
    """Neither agents nor the tracer's interventions and attribution may decide what is true."""
    folder = Path(tracescribe.evals.__file__).parent
    forbidden = ("tracescribe.agents", "tracescribe.tracer.attribution", "tracescribe.tracer.interventions")
    schema = [folder / "gold" / f"{name}.py" for name in ("schema", "parts", "effects", "recorded", "checks")]
    paths = [*schema, *(folder / "oracle").rglob("*.py")]
    assert len(paths) > 8
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [m for m in modules if m.startswith(forbidden)], path.name
