"""Laws of interventions for every family and kind of transcoders, in float64: edges, references, batches, identities."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import tracescribe.tracer.interventions as interventions_module
from tests.tracer.exact_cases import Case, dense, make_case
from tests.tracer.intervention_oracle import OracleEdits, edited_logits
from tests.tracer.oracle_transcoders import read_transcoders
from tests.tracer.tiny_families import FAMILIES
from tests.tracer.tiny_transcoders import TranscoderShape
from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens
from tracescribe.tracer.clean_run import CleanRun, clean_run
from tracescribe.tracer.edit_plan import EditPlan, compile_rows
from tracescribe.tracer.edits import (
    AnyEdit,
    DirectionEdit,
    ErrorEdit,
    FeatureEdit,
    FeatureShift,
    How,
    InterventionSettings,
    StreamPoint,
    scaling,
)
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, NodeKind
from tracescribe.tracer.interventions import InterventionResult, intervene
from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.transcoders import load_transcoders

TOLERANCE = 1e-9
"""Of the largest number compared: float64 sums in another order."""
MODES = {
    "open": InterventionSettings(),
    "frozen attention": InterventionSettings(freeze_attention=True),
    "constrained": InterventionSettings(mode="constrained", constrained_layers=(0, 1)),
    "direct": InterventionSettings(mode="direct"),
}
DIRECT = MODES["direct"]
SHAPES = {
    "llama": TranscoderShape("clt", "jumprelu", "ln2.hook_normalized", "hook_mlp_out"),
    "mistral": TranscoderShape("plt", "topk", "mlp.hook_in", "mlp.hook_out", skip=True),
    "qwen2": TranscoderShape("clt", "relu", "hook_resid_mid", "mlp.hook_out"),
    "qwen3": TranscoderShape("sparsify", "topk", skip=True),
    "gemma2": TranscoderShape("clt", "relu", "mlp.hook_in", "mlp.hook_out"),  # writes before the post-norm
    "gemma3_text": TranscoderShape("plt", "jumprelu", "ln2.hook_normalized", "mlp.hook_out", skip=True),
    "gemma3": TranscoderShape("clt", "topk", "hook_resid_mid", "hook_mlp_out"),
    "gpt2": TranscoderShape("plt", "relu", "ln2.hook_normalized", "hook_mlp_out", skip=True),
}


@dataclass(frozen=True, eq=False)
class Opened:
    """One family's case, with what many tests need."""

    case: Case
    clean: CleanRun

    @property
    def model(self) -> LanguageModel:
        return self.clean.model

    def run(
        self, rows: Sequence[Sequence[AnyEdit]], settings: InterventionSettings, **named: Any
    ) -> InterventionResult:
        options: dict[str, Any] = {"clean": self.clean, "last_only": False} | named
        return intervene(self.model, self.clean.transcoders, self.clean.tokens, rows, settings, **options)

    def nodes(self) -> list[FeatureNode]:
        """Every active feature."""
        return [
            FeatureNode(layer, int(p), int(f))
            for layer in range(self.model.n_layers)
            for p, f in self.clean.activations(layer).nonzero().tolist()
        ]


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    family = str(request.param)
    case = make_case(tmp_path_factory.mktemp(family), family, SHAPES[family], seed=FAMILIES.index(family) + 20)
    model, transcoders = case.open()
    return Opened(case, clean_run(model, transcoders, case.tokens))


def far(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected number."""
    assert found.shape == expected.shape and expected.numel() and bool(found.isfinite().all())
    return float((found - expected).abs().max() / expected.abs().max())


def random_rows(opened: Opened, n: int, first: int = 1, seed: int = 0) -> list[list[AnyEdit]]:
    """Rows that mix every kind of edit over layers and positions."""
    rng, clean = np.random.default_rng(seed), opened.clean
    points: tuple[StreamPoint, ...] = ("resid_pre", "resid_mid", "resid_post")

    def vector() -> Tensor:
        return torch.from_numpy(rng.normal(size=opened.model.d_model))

    def edit() -> AnyEdit:
        layer, position = int(rng.integers(opened.model.n_layers)), int(rng.integers(first, clean.n_pos))
        feature, value = int(rng.integers(clean.transcoders.n_features[layer])), float(rng.normal())
        match int(rng.integers(5)):
            case 0:
                return FeatureEdit(layer, position, feature, value)
            case 1:
                return FeatureShift(layer, slice(position, None), feature, value)
            case 2:
                return ErrorEdit(layer, position, value, vector() if value > 0 else None)
            case 3:
                return DirectionEdit(layer, position, vector(), value, "add", points[int(rng.integers(3))])
            case _:
                how: How = "set" if value > 0 else "scale"
                return DirectionEdit(layer, position, vector(), value, how, points[int(rng.integers(3))])

    return [[edit() for _ in range(int(rng.integers(1, 4)))] for _ in range(n)]


def no_change(opened: Opened) -> list[AnyEdit]:
    """Edits of every kind that put what is there already."""
    clean, d_model = opened.clean, opened.model.d_model
    row: list[AnyEdit] = list(scaling(opened.nodes(), 1.0, clean))
    row += [ErrorEdit(layer, slice(1, None), 1.0) for layer in range(opened.model.n_layers)]
    along = torch.linspace(-1.0, 1.0, d_model, dtype=torch.float64)
    for layer in range(opened.model.n_layers):
        row += [DirectionEdit(layer, slice(0, None), along, 1.0, "scale", "resid_mid")]
        edges: tuple[StreamPoint, ...] = ("resid_pre", "resid_post")
        for point in edges:
            component = float(clean.stream(layer, point)[3] @ along / along.norm())
            row.append(DirectionEdit(layer, 3, along, component, "set", point))
    return row


def test_the_clean_run_is_the_models_own(opened: Opened) -> None:
    with torch.no_grad():
        plain = cast(Any, opened.model.hf)(input_ids=opened.case.tokens[None], use_cache=False).logits[0]
        outside = edited_logits(
            opened.case.hf, read_transcoders(opened.case.transcoder_folder), opened.case.tokens, OracleEdits()
        )
    assert far(opened.clean.logits, plain) < 1e-12
    assert far(opened.clean.logits, outside) < TOLERANCE
    assert len(opened.nodes()) >= 20


@pytest.mark.parametrize("mode", MODES)
def test_what_is_there_already_changes_nothing(opened: Opened, mode: str) -> None:
    """Every hook is at work, from the first position and block on, and gives back the clean run."""
    nothing: list[AnyEdit] = [FeatureShift(layer, 1, 0, 0.0) for layer in range(opened.model.n_layers)]
    found = opened.run([no_change(opened), nothing], MODES[mode], read=opened.nodes()[::5])
    for row in range(2):
        assert far(found.logits[row], opened.clean.logits) < TOLERANCE
        assert far(found.activations[row], found.clean_activations) < TOLERANCE


def logits_before_cap(opened: Opened, logits: Tensor) -> Tensor:
    """Logits as they are traced: without soft-cap, relative to their mean."""
    cap = opened.model.architecture.logit_softcap
    raw = logits if cap is None else cap * torch.atanh(logits / cap)
    return raw - raw.mean(-1, keepdim=True)


def source_edit(opened: Opened, graph: AttributionGraph, index: int, more: float) -> AnyEdit:
    """The edit that raises a node by `more` times what it is."""
    table, clean = graph.nodes, opened.clean
    layer, position = int(table.layer[index]), int(table.position[index])
    match NodeKind(int(table.kind[index])):
        case NodeKind.FEATURE:
            (edit,) = scaling([graph.feature_node(index)], 1.0 + more, clean)
            return edit
        case NodeKind.ERROR:
            return ErrorEdit(layer, position, 1.0 + more)
        case _:
            embedding = opened.model.architecture.embedding
            token = clean.resid_pre[0][position]
            if embedding is not None:
                token = cast(Tensor, embedding.weight)[clean.tokens[position]]
            return DirectionEdit(0, position, token, more, "add", "resid_pre")


@pytest.mark.parametrize("more", [1.0, 1e-3], ids=["doubled", "a little more"])
def test_direct_effects_are_the_edges(opened: Opened, more: float) -> None:
    """Of features, errors and token vectors, on logits and on features that stay active."""
    clean = opened.clean
    graph = attribute_tokens(opened.model, clean.transcoders, clean.tokens, AttributionSettings(max_n_logits=4))
    edges = torch.from_numpy(dense(graph))
    features, logits = graph.of_kind(NodeKind.FEATURE), graph.of_kind(NodeKind.LOGIT)
    errors = [i for i in graph.of_kind(NodeKind.ERROR) if graph.nodes.position[i] >= 1]
    sources = [*features[:: 1 if more == 1.0 else 5], *errors, *graph.of_kind(NodeKind.EMBEDDING)]
    nodes = [graph.feature_node(int(i)) for i in features]
    rows = [[source_edit(opened, graph, int(i), more)] for i in sources]
    settings = dataclasses.replace(DIRECT, allow_masked=True)
    found = opened.run(rows, settings, read=nodes, last_only=True)
    moved = (logits_before_cap(opened, found.logits[:, -1]) - logits_before_cap(opened, clean.logits[-1])) / more
    expected = edges[logits][:, sources].T
    precise = TOLERANCE / more
    assert far(moved[:, torch.from_numpy(graph.nodes.feature[logits]).long()], expected) < precise
    between = edges[features][:, sources].T
    changed = (found.activations - found.clean_activations) / more
    same = _still_active(opened, found)
    assert int(same.sum()) > 0.3 * same.numel()
    assert float((changed - between)[same].abs().max() / between.abs().max()) < precise


def _still_active(opened: Opened, found: InterventionResult) -> Tensor:
    """Readings whose feature is on, as it was: there its activation is its pre-activation."""
    return (found.activations != 0) & (found.clean_activations != 0)


def test_constrained_to_every_layer_is_direct(opened: Opened) -> None:
    rows, read = random_rows(opened, 6), opened.nodes()[::4]
    every = InterventionSettings(mode="constrained", constrained_layers=tuple(range(opened.model.n_layers)))
    direct, constrained = opened.run(rows, DIRECT, read=read), opened.run(rows, every, read=read)
    assert torch.equal(direct.logits, constrained.logits)
    assert torch.equal(direct.activations, constrained.activations)
    assert float((direct.logits - opened.clean.logits).abs().max()) > 1e-2


def test_direct_effects_of_every_kind_add_up(opened: Opened) -> None:
    """What is set or scaled counts from the clean run, whatever other edits do below it."""
    first, second = random_rows(opened, 16, seed=3), random_rows(opened, 16, seed=4)
    both = [
        [*a, *b] for a, b in zip(first, second, strict=True)
        if not {_feature(edit) for edit in a} & {_feature(edit) for edit in b} - {None}
    ]  # fmt: skip
    pairs = [row for row in range(16) if [*first[row], *second[row]] in both]
    moved = opened.run([*first, *second, *both], DIRECT).logits
    cleaned = logits_before_cap(opened, moved) - logits_before_cap(opened, opened.clean.logits)
    alone = torch.stack([cleaned[row] + cleaned[16 + row] for row in pairs])
    assert len(pairs) >= 10
    assert far(cleaned[32:], alone) < TOLERANCE


def _feature(edit: AnyEdit) -> tuple[int, int] | None:
    """Layer and feature of an edit that sets an activation, of which two do not add up."""
    return (edit.layer, edit.feature) if isinstance(edit, (FeatureEdit, FeatureShift)) else None


@pytest.mark.parametrize("mode", ["open", "frozen attention", "constrained"])
def test_edits_do_what_a_second_implementation_does(opened: Opened, mode: str) -> None:
    """Features at several layers, errors and the stream, alone and together, in Hugging Face's own modules."""
    clean, settings = opened.clean, MODES[mode]
    transcoders = read_transcoders(opened.case.transcoder_folder)
    nodes = opened.nodes()
    silent = FeatureNode(0, 3, next(f for f in range(14) if not clean.activations(0)[3, f]))
    chosen = [nodes[len(nodes) // 5], nodes[len(nodes) // 2], nodes[-2], silent]
    values = {
        (node.layer, node.position, node.feature): value
        for node, value in zip(chosen, (0.0, 2.5, -1.0, 1.5), strict=True)
    }
    errors = {(0, 2): 0.0, (1, 4): 2.0, (2, 5): -1.0}
    streams = {(layer, 2 + layer): torch.arange(opened.model.d_model).double().cos() for layer in (0, 1)}
    oracle = [
        OracleEdits(values=values), OracleEdits(errors=errors), OracleEdits(streams=streams),
        OracleEdits(values, errors, streams),
    ]  # fmt: skip
    feature_row: list[AnyEdit] = [FeatureEdit(*place, value) for place, value in values.items()]
    error_row: list[AnyEdit] = [ErrorEdit(*place, scale) for place, scale in errors.items()]
    stream_row: list[AnyEdit] = [
        DirectionEdit(layer, position, vector, 1.0, "add", "resid_pre") for (layer, position), vector in streams.items()
    ]
    found = opened.run([feature_row, error_row, stream_row, [*feature_row, *error_row, *stream_row]], settings)
    for row, edits in enumerate(oracle):
        expected = edited_logits(
            opened.case.hf, transcoders, clean.tokens, edits,
            frozen_attention=settings.freeze_attention, clamped=settings.constrained_layers,
        )  # fmt: skip
        assert far(found.logits[row], expected) < TOLERANCE, row
        assert float((expected - clean.logits).abs().max()) > 1e-3, row


@pytest.mark.parametrize("mode", MODES)
def test_rows_do_not_depend_on_their_batch(opened: Opened, mode: str) -> None:
    rows, read = random_rows(opened, 24, seed=1), opened.nodes()[::3]
    whole = opened.run(rows, MODES[mode], read=read)
    small = opened.run(rows, MODES[mode], read=read, batch_size=5)
    assert far(small.logits, whole.logits) < TOLERANCE
    assert far(small.activations, whole.activations) < TOLERANCE
    for row in (0, 7, 23):
        single = opened.run([rows[row]], MODES[mode], read=read)
        assert far(single.logits[0], whole.logits[row]) < TOLERANCE
        assert far(single.activations[0], whole.activations[row]) < TOLERANCE
    moved = (whole.logits[:, -1] - opened.clean.logits[-1]).abs().amax(-1)
    assert int((moved > 1e-4).sum()) >= 12


@pytest.mark.parametrize("mode", MODES)
def test_resuming_from_the_clean_run_changes_nothing(
    opened: Opened, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions before the first edit (windows included) and blocks below it: taken from the clean run, or run again."""
    rows, read = random_rows(opened, 12, first=3, seed=2), opened.nodes()[::3]
    quick = opened.run(rows, MODES[mode], read=read)

    def from_the_bottom(*given: Any) -> EditPlan:
        plan = compile_rows(*given)
        assert bool(plan.first_block.any())
        return dataclasses.replace(plan, first_block=torch.zeros_like(plan.first_block))

    monkeypatch.setattr(interventions_module, "compile_rows", from_the_bottom)
    all_blocks = opened.run(rows, MODES[mode], read=read)
    everything = opened.run(rows, MODES[mode], read=read, clean=dataclasses.replace(opened.clean, keys=(), values=()))
    for slow in (all_blocks, everything):
        assert far(quick.logits, slow.logits) < TOLERANCE
        assert far(quick.activations, slow.activations) < TOLERANCE
    assert torch.equal(quick.logits[:, :3], opened.clean.logits[:3].expand(12, -1, -1)), (
        "an edit moves nothing before it"
    )
    assert len(opened.clean.keys) == opened.model.n_layers, "every family keeps its whole cache"


@pytest.mark.parametrize("mode", MODES)
def test_the_last_position_is_the_last_of_all(opened: Opened, mode: str) -> None:
    """Where one position is asked for the last MLP runs at that one alone, unless features there are read elsewhere."""
    rows, top = random_rows(opened, 40, seed=5), opened.model.n_layers - 1
    nodes = opened.nodes()
    for read in ([n for n in nodes if n.layer < top or n.position == opened.clean.n_pos - 1], nodes):
        every = opened.run(rows, MODES[mode], read=read)
        last = opened.run(rows, MODES[mode], read=read, last_only=True)
        assert last.logits.shape[1] == 1
        assert far(last.logits[:, -1], every.logits[:, -1]) < TOLERANCE
        assert far(last.activations, every.activations) < TOLERANCE


def test_masked_positions_start_from_zero(opened: Opened) -> None:
    """Whatever the feature computes under the mask, setting it there adds the whole value, in every mode."""
    feature = int(opened.clean.activations(0, 0)[1].abs().argmax())
    assert float(opened.clean.activations(0, 0)[1, feature]) != 0
    rows: list[list[AnyEdit]] = [
        [FeatureEdit(0, 1, feature, 1.5)],
        [FeatureShift(0, 1, feature, 1.5)],
        [ErrorEdit(0, 1)],
    ]
    for mode in MODES.values():
        masked = dataclasses.replace(mode, zero_positions=2, allow_masked=True)
        found = opened.run(rows, masked, read=[FeatureNode(0, 1, feature)])
        assert far(found.logits[0], found.logits[1]) < TOLERANCE
        assert far(found.logits[2], opened.clean.logits) < TOLERANCE, "no error stands under the mask"
        assert not found.activations.any()
        unmasked = opened.run(rows, dataclasses.replace(masked, zero_positions=1))
        assert far(unmasked.logits[0], found.logits[0]) > 1e-6


def test_directions_are_set_where_they_say(opened: Opened) -> None:
    """The component along the direction is what was asked for, and nothing else of the stream moved there."""
    clean, blocks = opened.clean, opened.model.architecture.blocks
    along = torch.arange(opened.model.d_model).double().sin()
    unit = along / along.norm()
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def act(module: Any, args: tuple[Tensor, ...]) -> None:
            seen[name] = args[0][0, -1]

        return act

    watched = {
        "resid_pre": blocks[1].attention_norm,
        "resid_mid": blocks[1].mlp_norm,
        "resid_post": blocks[2].attention_norm,
    }
    for point, norm in watched.items():
        for how, amount in (("set", 0.75), ("scale", -2.0), ("add", 0.5)):
            handle = norm.module.register_forward_pre_hook(keep(point))
            last = clean.n_pos - 1
            edit = DirectionEdit(1, last, along, amount, cast(Any, how), cast(Any, point))
            opened.run([[edit]], InterventionSettings())
            handle.remove()
            before, after = clean.stream(1, cast(Any, point))[last], seen[point]
            component = float(before @ unit)
            wanted = {"set": amount, "scale": amount * component, "add": component + amount * float(along.norm())}[how]
            assert math.isclose(float(after @ unit), wanted, rel_tol=1e-9, abs_tol=1e-9), (point, how)
            assert far(after - (after @ unit) * unit, before - component * unit) < TOLERANCE, (point, how)


def test_a_donors_errors_and_features_carry_its_write_point_over(opened: Opened) -> None:
    """A layer's features and error set to another prompt's give its MLP output: only a skip path may tell them apart."""
    clean, layer = opened.clean, 0
    other = clean.tokens.clone()
    other[4] = 3 + (int(other[4]) - 2) % 30
    donor = clean_run(opened.model, clean.transcoders, other)
    features = torch.nonzero(donor.activations(layer)[4] + clean.activations(layer)[4])[:, 0].tolist()
    row: list[AnyEdit] = [FeatureEdit(layer, 4, f, float(donor.activations(layer)[4, f])) for f in features]
    row.append(ErrorEdit(layer, 4, 0.0, donor.errors(layer, torch.tensor([4]))[0]))
    edits = OracleEdits(values={(layer, 4, edit.feature): edit.value for edit in row if isinstance(edit, FeatureEdit)})
    assert edits.values
    found = opened.run([row], MODES["constrained"])
    skip = clean.transcoders.skip_weight(layer)
    missing = torch.zeros(opened.model.d_model, dtype=torch.float64)
    if skip is not None:
        missing = (donor.read(layer)[4] - clean.read(layer)[4]) @ skip.T
    vector = donor.writes[layer][4] - clean.writes[layer][4] - missing
    same: list[AnyEdit] = [ErrorEdit(layer, 4, 1.0, vector)]
    if clean.transcoders.n_written(layer) == 1:
        assert far(found.logits[0], opened.run([same], MODES["constrained"]).logits[0]) < TOLERANCE


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_bfloat16_models_are_edited_too(family: str, tmp_path: Path) -> None:
    """Weights and stream are narrow, what is added is computed wide: effects are those of the float64 model, roughly."""
    case = make_case(tmp_path, family, SHAPES[family], seed=FAMILIES.index(family) + 20)
    exact = Opened(case, clean_run(*case.open(), case.tokens))
    model = load_model(case.model_folder, dtype="bfloat16")
    narrow = Opened(case, clean_run(model, load_transcoders(case.transcoder_folder), case.tokens))
    node = max(exact.nodes(), key=lambda node: exact.clean.activation(node) if node.layer < 2 else 0.0)
    row: list[AnyEdit] = [FeatureShift(node.layer, slice(2, None), node.feature, 30.0), ErrorEdit(1, 3, 4.0)]
    row.append(DirectionEdit(0, 4, torch.ones(model.d_model), 3.0, "set", "resid_mid"))
    for settings in MODES.values():
        found, expected = narrow.run([row], settings, read=[node]), exact.run([row], settings, read=[node])
        assert found.logits.dtype == found.activations.dtype == torch.float32
        effect = (found.logits[0] - narrow.clean.logits).double().flatten()
        wanted = (expected.logits[0] - exact.clean.logits).flatten()
        assert float(effect @ wanted / (effect.norm() * wanted.norm())) > 0.97
        assert 0.9 < float(effect.norm() / wanted.norm()) < 1.1
