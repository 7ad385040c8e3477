"""Compiled models: they do what was planted, their transcoders are exact, and the oracle path finds the truth again.

Two programs are built in full, one for each kind of transcoder; the others are held as networks, which cost nothing.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tracescribe.evals.compiled.building import CompiledProgram, CompiledSettings, build_compiled, read_compiled
from tracescribe.evals.compiled.circuit import CircuitBuilder
from tracescribe.evals.compiled.compiling import compile_program, draw_prompts
from tracescribe.evals.compiled.features import Feature, junk_channel
from tracescribe.evals.compiled.network import BOS, Concept, Head, Match, PlantedNetwork, out_channel, token_channel
from tracescribe.evals.compiled.planted import PlantedPrompt
from tracescribe.evals.compiled.programs.all import BUILDERS, build_program
from tracescribe.evals.compiled.recovery import Agreement, f1, recover
from tracescribe.evals.compiled.running import CompiledModel
from tracescribe.evals.gold import check_circuit
from tracescribe.evals.prediction import prediction_of_gold
from tracescribe.evals.scores import METRICS, score_prediction
from tracescribe.tracer.attribution import attribute
from tracescribe.tracer.clean_run import CleanRun, clean_run
from tracescribe.tracer.edits import ablation
from tracescribe.tracer.errors import GoldFormatError, OutputError, SettingError, UnknownIdError, WorkError
from tracescribe.tracer.graph import FeatureNode, NodeKind
from tracescribe.tracer.interventions import intervene
from tracescribe.tracer.models import load_model
from tracescribe.tracer.transcoders import load_transcoders

SETTINGS = CompiledSettings(seed=5, prompts=2, sentences=0, programs=("lookup", "routing"))
"""One program with per-layer transcoders and two ways to its answer, one with cross-layer transcoders and rivals."""


@pytest.fixture(scope="module")
def suite_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled") / "suite"


@pytest.fixture(scope="module")
def programs(suite_folder: Path) -> dict[str, CompiledProgram]:
    return {program.name: program for program in build_compiled(suite_folder, SETTINGS)}


@pytest.fixture(scope="module")
def builders(programs: dict[str, CompiledProgram]) -> dict[str, CircuitBuilder]:
    made = {}
    for name, program in programs.items():
        compiled = compile_program(name, SETTINGS.seed)[1]
        model = CompiledModel.load(program.model, program.transcoders)
        made[name] = CircuitBuilder(compiled, model, program.gold.circuits[0].stamp, "made for the tests")
    return made


def prompts(name: str) -> tuple[PlantedPrompt, ...]:
    return draw_prompts(build_program(name, SETTINGS.seed), SETTINGS.seed, SETTINGS.prompts)


# -- the planted networks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_network_does_what_its_program_says(name: str, seed: int) -> None:
    """The program's answer is computed in plain Python, the network's from its units; no unit wavers."""
    program, rng = build_program(name, seed), random.Random(seed)
    for _ in range(12):
        slots = program.draw(rng)
        run = program.network.run((BOS, *program.sentence(slots)))
        assert program.network.probabilities(run)[program.answer(slots)] >= 0.95, slots
        assert np.abs(run.preactivations).min() >= 0.02, "rounding must not decide whether a feature fires"


@pytest.mark.parametrize("name", BUILDERS)
def test_every_program_has_something_that_holds_down(name: str) -> None:
    """Some prompt of each has a suppressor with a negative link to a unit that is awake, and is at work itself."""
    for prompt in draw_prompts(build_program(name, 0), 0, 2):
        roles = {one.concept: one.role for one in prompt.supernodes}
        negative = {
            s for (s, t), value in prompt.links.items() if value < 0 and s in prompt.at_work and t in prompt.at_work
        }
        if negative and "suppressor" in roles.values():
            return
    raise AssertionError("no prompt has a suppressor")


def test_either_way_to_a_colour_would_do_and_the_animal_is_needed() -> None:
    prompt = next(p for p in prompts("lookup"))
    concepts = prompt.program.network.concepts
    left = {concepts[one.concept].variable: prompt.without(one) for one in prompt.supernodes}
    assert min(left["colour"], left["recalled colour"]) >= 0.8
    assert max(left["animal"], left["answer"]) <= 0.1


def test_where_a_head_looks_is_told_apart_from_what_it_carries() -> None:
    prompt = draw_prompts(build_program("induction", 0), 0, 1)[0]
    concepts = prompt.program.network.concepts
    steering = {(concepts[a[0]].variable, concepts[b[0]].variable) for a, b in prompt.pattern_links}
    carried = {
        (concepts[a[0]].variable, concepts[b[0]].variable)
        for a, b in prompt.links
        if isinstance(a, tuple) and isinstance(b, tuple)
    }
    assert ("follows", "answer") in steering and ("follows", "answer") not in carried
    assert ("word", "answer") in carried


def test_a_network_that_reads_too_early_is_refused() -> None:
    late = Concept("late", "v", "x", 0, {token_channel("a"): 1.0}, -0.5, ("x",), delay=1)
    reader = Concept("reader", "w", "y", 1, {"late": 1.0, "nowhere": 1.0}, -0.5, ("y",), writes={out_channel("a"): 1.0})
    head = Head(1, (Match("", token_channel("a")),), {"late": "moved"})
    network = PlantedNetwork(("a",), 4, ("a",), (late, reader), (head,))
    faults = network.faults()
    assert "reader reads nowhere, which nothing writes" in faults
    assert "reader reads late too early" in faults and "a head of layer 1 reads late too early" in faults


# -- distractors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lookup", "routing"])
def test_distractors_write_where_nothing_that_matters_reads(name: str) -> None:
    program, compiled = compile_program(name, 5)
    features = [feature for layer in compiled.features for feature in layer]
    planted: list[Feature] = [feature for feature in features if feature.concept is not None]
    others = [feature for feature in features if feature.concept is None]
    assert len(others) >= len(planted), "a circuit is to be found among more that plays no part"
    junk = {junk_channel(number) for number in range(64)}
    for feature in others:
        written = {channel for by_layer in feature.writes.values() for channel in by_layer}
        outputs = {out_channel(word) for word in program.network.answers}
        assert written <= junk or (feature.sort == "broad" and written == outputs)
    assert {"decoy", "words", "position", "broad"} <= {feature.sort for feature in others}
    parts = [sum(feature.concept == number for feature in planted) for number in range(len(program.network.concepts))]
    assert min(parts) >= 2 and max(parts) <= 5


def test_a_cross_layer_feature_is_a_neuron_of_two_layers() -> None:
    _, compiled = compile_program("routing", 5)
    both = [f for layer in compiled.features for f in layer if len(f.writes) == 2]
    assert both and all(set(f.writes) == {f.layer, f.layer + 1} for f in both)


# -- the weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS.programs)
def test_the_model_computes_the_network_and_its_transcoder_is_exact(
    programs: dict[str, CompiledProgram], name: str
) -> None:
    """Three forward passes agree: the network's, the oracle's own, and the tracer's, which leaves no error."""
    program = programs[name]
    model, transcoders = load_model(program.model), load_transcoders(program.transcoders)
    own = CompiledModel.load(program.model, program.transcoders)
    for prompt, circuit in zip(prompts(name), program.gold.circuits, strict=True):
        assert circuit.tokens == prompt.words and circuit.targets[0].token == prompt.answer
        row, tokens = own.run(prompt.words), model.encode(circuit.prompt)
        clean: CleanRun = clean_run(model, transcoders, tokens)
        assert float(np.abs(clean.logits[-1].numpy() - row.logits[-1]).max()) < 2e-3
        index, network = prompt.program.network.index, prompt.program.network
        broad = 2.0  # two features raise all answers alike
        for word in network.answers:
            planted = prompt.run.streams[-1][-1, index[out_channel(word)]] + broad
            assert row.logits[-1, own.words.index(word)] == pytest.approx(planted, abs=0.5)
        graph = attribute(model, transcoders, circuit.prompt)
        check_circuit(circuit, graph)
        assert graph.scores is not None and graph.scores.replacement > 0.9999
        errors = graph.of_kind(NodeKind.ERROR)
        weights = np.abs(graph.edges.weight[np.isin(graph.edges.source, errors)])
        assert weights.size == 0 or weights.max() < 1e-3


@pytest.mark.parametrize("name", SETTINGS.programs)
def test_the_oracle_path_finds_the_planted_truth(builders: dict[str, CircuitBuilder], name: str) -> None:
    """Members, signed edges and necessities, found by exhaustive intervention on the weights, are the planted ones."""
    found: Agreement | None = None
    for prompt in prompts(name):
        one = recover(builders[name], prompt)
        found = one if found is None else found + one
    assert found is not None and found.edges[2] >= 12
    assert f1(found.edges) >= 0.95
    assert f1(found.members) >= 0.95
    assert f1(found.necessities) == 1.0


def test_a_circuit_with_a_wrong_member_is_not_found_again(builders: dict[str, CircuitBuilder]) -> None:
    """The check can fail: where the story tells of the neighbours of the true features, nothing fits."""
    builder = builders["lookup"]
    moved = tuple((*layer[1:], layer[0]) for layer in builder.compiled.features)
    other = replace(builder, compiled=replace(builder.compiled, features=moved))
    found = recover(other, prompts("lookup")[0])
    assert f1(found.members) < 0.5 and f1(found.edges) < 0.5
    with pytest.raises(WorkError, match="planted features are silent"):
        other.build("lookup-01", prompts("lookup")[0])


@pytest.mark.parametrize("name", SETTINGS.programs)
def test_the_tracer_sees_the_effects_that_gold_tells(programs: dict[str, CompiledProgram], name: str) -> None:
    program = programs[name]
    model, transcoders = load_model(program.model), load_transcoders(program.transcoders)
    circuit = program.gold.circuits[0]
    tokens = model.encode(circuit.prompt)
    clean = clean_run(model, transcoders, tokens)
    rows, drops = [], []
    for effects in circuit.effects:
        (members,) = (s.members for s in circuit.supernodes if s.supernode_id == effects.supernode)
        parts = [[int(part) for part in member.split("_")] for member in members]
        rows.append(ablation([FeatureNode(layer, position, feature) for layer, feature, position in parts]))
        drops.append(effects.features_drop)
    result = intervene(model, transcoders, tokens, rows, clean=clean)
    answer = model.token_id(circuit.targets[0].token)
    seen = result.clean_log_probabilities[answer] - result.log_probabilities[:, answer]
    assert seen.tolist() == pytest.approx(drops, abs=5e-3)


def test_gold_is_whole_and_scores_itself_perfectly(programs: dict[str, CompiledProgram]) -> None:
    rates = {metric.name for metric in METRICS if not metric.higher_is_better}
    for program in programs.values():
        model, transcoders = load_model(program.model), load_transcoders(program.transcoders)
        for circuit in program.gold.circuits:
            assert circuit.source.kind == "compiled" and circuit.complete and circuit.complete_for_swaps
            assert any(swap.shown_by_features for effects in circuit.effects for swap in effects.swaps)
        circuit = program.gold.circuits[0]
        scores = score_prediction(prediction_of_gold(circuit), circuit, attribute(model, transcoders, circuit.prompt))
        for metric in ("selection.f1", "grouping.b3_f1", "labels.exact", "edges.f1", "causal.precision"):
            assert scores.values[metric].value == (0.0 if metric in rates else 1.0), metric


# -- files ------------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(
    tmp_path: Path, programs: dict[str, CompiledProgram], suite_folder: Path
) -> None:
    again = CompiledSettings(seed=5, prompts=2, sentences=0, programs=("lookup",))
    build_compiled(tmp_path / "again", again)
    other = CompiledSettings(seed=6, prompts=2, sentences=0, programs=("lookup",))
    build_compiled(tmp_path / "other", other)
    files = sorted(path.relative_to(suite_folder) for path in (suite_folder / "lookup").rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (suite_folder / file).read_bytes(), file
    weights = Path("lookup") / "model" / "model.safetensors"
    assert (tmp_path / "other" / weights).read_bytes() != (suite_folder / weights).read_bytes()


def test_a_suite_that_lies_there_is_taken_and_another_is_not_touched(
    tmp_path: Path, programs: dict[str, CompiledProgram], suite_folder: Path
) -> None:
    told: list[str] = []
    build_compiled(suite_folder, SETTINGS, lambda done, total, text: told.append(text))
    assert not told, "nothing was built again"
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds no compiled suite; give another folder"):
        build_compiled(tmp_path, SETTINGS)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def _copy(suite: Path, to: Path) -> Path:
    shutil.copytree(suite, to)
    return to


def test_broken_suites_are_told(tmp_path: Path, programs: dict[str, CompiledProgram], suite_folder: Path) -> None:
    with pytest.raises(GoldFormatError, match="no compiled suite"):
        read_compiled(tmp_path / "nowhere")
    damaged = _copy(suite_folder, tmp_path / "damaged")
    (damaged / "compiled.json").write_text('{"schema_id": "other", "programs": ["../.."]}')
    with pytest.raises(GoldFormatError, match="of known programs"):
        read_compiled(damaged)
    swapped = _copy(suite_folder, tmp_path / "swapped")
    weights = swapped / "lookup" / "model" / "model.safetensors"
    weights.write_bytes((swapped / "routing" / "model" / "model.safetensors").read_bytes())
    with pytest.raises(GoldFormatError, match="belongs to other weights"):
        read_compiled(swapped)
    missing = _copy(suite_folder, tmp_path / "missing")
    shutil.rmtree(missing / "routing" / "transcoders")
    with pytest.raises(GoldFormatError, match="no folder transcoders"):
        read_compiled(missing)
    with pytest.raises(GoldFormatError, match="cannot read the compiled model"):
        CompiledModel.load(missing / "routing" / "model", missing / "routing" / "transcoders")
    (weights.parent / "tokenizer.json").write_text("[]")
    with pytest.raises(GoldFormatError, match="cannot read the compiled model"):
        CompiledModel.load(weights.parent, swapped / "lookup" / "transcoders")


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="prompts must be at least 1"):
        CompiledSettings(prompts=0)
    with pytest.raises(UnknownIdError, match="no program 'sort'"):
        CompiledSettings(programs=("sort",))
    with pytest.raises(UnknownIdError, match="no program 'sort'"):
        build_program("sort", 1)
    with pytest.raises(WorkError, match="9999 were asked for; ask for fewer"):
        draw_prompts(build_program("parity", 1), 1, 9999)
    builder = build_program("lookup", 1)
    prompt = PlantedPrompt(builder, builder.draw(random.Random(1)))
    with pytest.raises(GoldFormatError, match="of another program"):
        _tiny_model().encode(prompt.words)


def _tiny_model() -> CompiledModel:
    nothing = np.zeros((1, 1))
    return CompiledModel((BOS,), nothing, nothing, (), nothing, nothing, 1, 1e-5)
