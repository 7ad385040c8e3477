"""Interventions: golden answers, agreement with edges, with plain hooks and with recomputation, and typed errors."""

from __future__ import annotations

import copy
import dataclasses
import json
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tracescribe.tracer.interventions as interventions_module
from tests.tracer.tiny_interventions import (
    N_FEATURES,
    N_LAYERS,
    N_POS,
    TOKENS,
    active_nodes,
    make_model,
    make_transcoders,
)
from tracescribe.tracer.attribution import AttributionSettings, attribute
from tracescribe.tracer.clean_run import CleanRun, clean_run
from tracescribe.tracer.edit_plan import compile_rows
from tracescribe.tracer.edits import (
    Edit,
    FeatureEdit,
    FeatureShift,
    InterventionSettings,
    ablation,
    as_shifts,
    scaling,
    swap,
)
from tracescribe.tracer.errors import TracescribeError
from tracescribe.tracer.graph import FeatureNode, NodeKind
from tracescribe.tracer.interventions import InterventionResult, intervene
from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.module_hooks import hooked
from tracescribe.tracer.row_batches import spans
from tracescribe.tracer.transcoders import TranscoderSet, load_transcoders

OPEN = InterventionSettings()
FROZEN = InterventionSettings(freeze_attention=True)
PARTIAL = InterventionSettings(mode="constrained", constrained_layers=(0, 1))
DIRECT = InterventionSettings(mode="direct")
MODES = pytest.mark.parametrize("mode", [OPEN, FROZEN, PARTIAL, DIRECT], ids=["open", "frozen", "partial", "direct"])


@pytest.fixture(scope="module")
def tiny_model() -> LanguageModel:
    return make_model()


@pytest.fixture(scope="module")
def tiny_transcoders(tmp_path_factory: pytest.TempPathFactory) -> TranscoderSet:
    return make_transcoders(tmp_path_factory.mktemp("clt"), "mlp.hook_in", None)


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.tensor(TOKENS)


@pytest.fixture(scope="module")
def clean(tiny_model: LanguageModel, tiny_transcoders: TranscoderSet, tokens: Tensor) -> CleanRun:
    return clean_run(tiny_model, tiny_transcoders, tokens)


def random_rows(seed: int, n: int, first: int = 1) -> list[list[Edit]]:
    """Rows that mix settings and shifts over layers and positions."""
    rng = np.random.default_rng(seed)

    def edit() -> Edit:
        where = (int(rng.integers(N_LAYERS)), int(rng.integers(first, N_POS)), int(rng.integers(N_FEATURES)))
        value = float(rng.normal(0.0, 2.0))
        return FeatureEdit(*where, value) if rng.uniform() < 0.5 else FeatureShift(*where, value)

    return [[edit() for _ in range(int(rng.integers(1, 5)))] for _ in range(n)]


def run(clean: CleanRun, rows: list[list[Edit]], settings: InterventionSettings, **options: Any) -> InterventionResult:
    return intervene(clean.model, clean.transcoders, clean.tokens, rows, settings, clean=clean, **options)


def golden_settings(spec: dict[str, Any]) -> InterventionSettings:
    layers = tuple(range(*spec["constrained"])) if spec["constrained"] else ()
    return InterventionSettings(
        mode="constrained" if layers else "open",
        constrained_layers=layers,
        freeze_attention=spec["freeze_attention"],
        allow_masked=True,
    )


def golden_row(spec: dict[str, Any]) -> list[Edit]:
    return [
        FeatureEdit(op["layer"], slice(1, None) if op["pos"] == "1:" else op["pos"], op["feature"], op["value"])
        for op in spec["ops"]
    ]


def test_golden_interventions(shared_folder: Path) -> None:
    """Every case of another implementation: all families, formats and modes, each beside an unrelated row."""
    folders = sorted(path.parent for path in (shared_folder / "tracer").glob("goldens*/*/case.json"))
    assert len(folders) >= 10
    worst: dict[str, float] = {}
    for folder in folders:
        case, reference = json.loads((folder / "case.json").read_text()), np.load(folder / "oracle.npz")
        model, transcoders = load_model(folder / "model"), load_transcoders(folder / "transcoder")
        tokens = torch.from_numpy(reference["tokens"]).long()
        clean = clean_run(model, transcoders, tokens)
        read = [FeatureNode(*(int(v) for v in row)) for row in reference["active_features"]]
        assert len(case["interventions"]) >= 7
        other: list[Edit] = [FeatureShift(1, 5, 3, 4.0)]
        for spec in case["interventions"]:
            rows = [other, golden_row(spec)]
            settings = golden_settings(spec)
            found = intervene(model, transcoders, tokens, rows, settings, read=read, last_only=False, clean=clean)
            for name, ours in (("iv_logits", found.logits[1]), ("iv_acts", found.activations[1])):
                theirs = torch.from_numpy(reference[f"{name}/{spec['name']}"])
                error = float((ours - theirs).abs().max() / theirs.abs().max())
                worst[f"{folder.name} {name}/{spec['name']}"] = error
    assert {name: error for name, error in worst.items() if not error < 1e-5} == {}


@pytest.mark.parametrize("reads", ["hook_resid_mid", "ln2.hook_normalized", "mlp.hook_in"])
@pytest.mark.parametrize("threshold", [None, 0.15], ids=["relu", "jumprelu"])
def test_edges_predict_direct_interventions(
    tiny_model: LanguageModel, tokens: Tensor, tmp_path: Path, reads: str, threshold: float | None
) -> None:
    """Doubling a feature in direct mode moves demeaned logits and active features by the graph's edges."""
    transcoders = make_transcoders(tmp_path, reads, threshold)
    graph = attribute(tiny_model, transcoders, tokens, AttributionSettings(max_n_logits=4))
    clean = clean_run(tiny_model, transcoders, tokens)
    indices = graph.of_kind(NodeKind.FEATURE)
    nodes = [graph.feature_node(int(i)) for i in indices]
    assert len(nodes) > 60
    rows: list[list[Edit]] = [list(scaling([node], 2.0, clean)) for node in nodes]
    found = run(clean, rows, DIRECT, read=nodes)
    edges = graph.dense()
    moved = (found.logits[:, -1] - clean.logits[-1]).double()
    moved = moved - moved.mean(-1, keepdim=True)
    logits = graph.of_kind(NodeKind.LOGIT)
    expected = torch.from_numpy(edges[np.ix_(logits, indices)]).T
    assert (moved[:, graph.nodes.feature[logits]] - expected).abs().max() / expected.abs().max() < 1e-5
    between = torch.from_numpy(edges[np.ix_(indices, indices)]).T
    still_active = found.activations > 0
    error = ((found.activations - found.clean_activations) - between)[still_active].abs().max()
    assert error / between.abs().max() < 1e-5
    assert between.abs().max() > 0.1 and int(still_active.sum()) > 1000


def test_direct_mode_is_linear(clean: CleanRun) -> None:
    first, second = [FeatureShift(0, 2, 5, 1.5)], [FeatureShift(1, 4, 9, -2.0)]
    found = run(clean, [list(first), list(second), [*first, *second]], DIRECT)
    moved = found.logits[:, -1] - clean.logits[-1]
    assert torch.allclose(moved[0] + moved[1], moved[2], atol=1e-5)


def test_open_shifts_agree_with_plain_hooks(clean: CleanRun) -> None:
    """A second implementation: add the decoder vectors to the MLP outputs by hand."""
    shift = FeatureShift(1, 3, 11, 2.5)
    rows = clean.transcoders.decoder_rows(1, torch.tensor([11]))[0] * shift.amount
    hf, handles = cast(Any, clean.model.hf), []

    def add(vector: Tensor) -> Any:
        def act(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            changed = output.clone()
            changed[0, shift.position] += vector
            return changed

        return act

    for offset, vector in enumerate(rows):
        handles.append(hf.model.layers[1 + offset].mlp.register_forward_hook(add(vector)))
    try:
        expected = hf(input_ids=clean.tokens[None]).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    found = run(clean, [[shift]], OPEN, last_only=False)
    assert torch.allclose(found.logits[0], expected, atol=2e-5)
    assert (found.logits[0] - clean.logits).abs().max() > 0.05


@MODES
def test_setting_what_is_there_changes_nothing(clean: CleanRun, mode: InterventionSettings) -> None:
    row: list[Edit] = list(scaling(active_nodes(clean), 1.0, clean))
    found = run(clean, [row], mode, last_only=False, read=active_nodes(clean)[:20])
    assert (found.logits[0] - clean.logits).abs().max() < 2e-5
    assert torch.allclose(found.activations[0], found.clean_activations, atol=1e-5)


@MODES
def test_rows_do_not_depend_on_their_batch(clean: CleanRun, mode: InterventionSettings) -> None:
    rows, read = random_rows(3, 80), active_nodes(clean)[::7]
    whole = run(clean, rows, mode, read=read)
    small = run(clean, rows, mode, read=read, batch_size=7)
    single = run(clean, [rows[41]], mode, read=read)
    assert torch.allclose(whole.logits, small.logits, atol=1e-4)
    assert torch.allclose(whole.activations, small.activations, atol=1e-4)
    assert torch.allclose(whole.logits[41], single.logits[0], atol=1e-4)
    assert torch.allclose(whole.activations[41], single.activations[0], atol=1e-4)
    assert (whole.logits[41, -1] - clean.logits[-1]).abs().max() > 1e-3


@MODES
def test_resuming_behind_the_first_edit_changes_nothing(clean: CleanRun, mode: InterventionSettings) -> None:
    rows, read = random_rows(4, 12, first=4), active_nodes(clean)[::3]
    without_cache = dataclasses.replace(clean, keys=(), values=())
    quick = run(clean, rows, mode, read=read, last_only=False)
    slow = run(without_cache, rows, mode, read=read, last_only=False)
    assert torch.allclose(quick.logits, slow.logits, atol=1e-4)
    assert torch.allclose(quick.activations, slow.activations, atol=1e-4)
    assert torch.equal(quick.logits[:, :4], clean.logits[:4].expand(12, -1, -1)), "an edit moves nothing before it"


@MODES
def test_the_last_position_is_the_last_of_all(clean: CleanRun, mode: InterventionSettings) -> None:
    rows = random_rows(5, 6)
    last, every = run(clean, rows, mode), run(clean, rows, mode, last_only=False)
    assert last.logits.shape == (6, 1, clean.model.vocab_size)
    assert every.logits.shape == (6, N_POS, clean.model.vocab_size)
    assert torch.allclose(last.logits[:, -1], every.logits[:, -1], atol=1e-5)
    assert last.log_probabilities.exp().sum(-1) == pytest.approx(np.ones(6))
    assert torch.equal(last.clean_log_probabilities, every.clean_log_probabilities)


def test_memory_bound_splits_batches(clean: CleanRun, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(6, 9)
    whole = run(clean, rows, OPEN)
    monkeypatch.setattr(interventions_module, "MAX_BATCH_NUMBERS", 1)
    assert torch.allclose(run(clean, rows, OPEN).logits, whole.logits, atol=1e-4)


@MODES
def test_edits_as_shifts_do_the_same_in_one_layer(clean: CleanRun, mode: InterventionSettings) -> None:
    nodes = [node for node in active_nodes(clean) if node.layer == 1][:6]
    edits = [*ablation(nodes[:3]), *scaling(nodes[3:], -2.0, clean)]
    shifts = as_shifts(edits, clean, clean.n_pos)
    assert len(shifts) == 6
    found = run(clean, [list(edits), list(shifts)], mode)
    assert torch.allclose(found.logits[0], found.logits[1], atol=1e-4)


def test_later_settings_count_and_shifts_add_up(clean: CleanRun) -> None:
    rows: list[list[Edit]] = [
        [FeatureEdit(0, 3, 2, 9.0), FeatureShift(0, 3, 2, 5.0), FeatureEdit(0, 3, 2, 1.0), FeatureShift(0, 3, 2, 0.5)],
        [FeatureEdit(0, 3, 2, 1.5)],
        [FeatureShift(0, 3, 2, 0.25), FeatureShift(0, slice(3, 4), 2, 0.25)],
        [FeatureShift(0, 3, 2, 0.5)],
        [FeatureShift(0, slice(2, None), 2, 0.5)],
        [FeatureShift(0, p, 2, 0.5) for p in range(2, N_POS)],
    ]
    found = run(clean, rows, OPEN).logits
    for same in (0, 2, 4):
        assert torch.allclose(found[same], found[same + 1], atol=1e-5)
    assert as_shifts(rows[0], clean, N_POS)[0].amount == pytest.approx(
        as_shifts(rows[1], clean, N_POS)[0].amount, abs=1e-6
    )


def test_swap_clears_members_and_sets_donors() -> None:
    members = [FeatureNode(0, 1, 5), FeatureNode(0, 1, 6)]
    row = swap(members, {FeatureNode(0, 1, 6): 2.0, FeatureNode(0, 1, 7): 3.0})
    assert row == (FeatureEdit(0, 1, 5, 0.0), FeatureEdit(0, 1, 6, 2.0), FeatureEdit(0, 1, 7, 3.0))


def test_masked_positions_steer_from_zero_where_allowed(clean: CleanRun) -> None:
    allowed = dataclasses.replace(OPEN, allow_masked=True)
    unmasked = clean.activations(0, 0)[0]
    feature = int(unmasked.argmax())
    assert unmasked[feature] > 0 and clean.activation(FeatureNode(0, 0, feature)) == 0.0
    rows: list[list[Edit]] = [[FeatureEdit(0, 0, feature, 0.0)], [FeatureEdit(0, 0, feature, 1.0)]]
    found = run(clean, rows, allowed, read=[FeatureNode(0, 0, feature)])
    assert not found.activations.any() and not found.clean_activations.any()
    shifted = run(clean, [[FeatureShift(0, 0, feature, 1.0)]], allowed)
    assert torch.allclose(found.logits[0, -1], clean.logits[-1], atol=1e-5)
    assert torch.allclose(found.logits[1], shifted.logits[0], atol=1e-5)


def n_hooks(model: LanguageModel) -> int:
    return sum(len(module._forward_hooks) for module in model.hf.modules())


def test_hooks_are_always_removed(clean: CleanRun) -> None:
    before = n_hooks(clean.model)
    run(clean, random_rows(0, 3), DIRECT)
    assert n_hooks(clean.model) == before

    def fail(x: Tensor | None, output: Any) -> None:
        raise ZeroDivisionError

    hf = cast(Any, clean.model.hf)
    with pytest.raises(ZeroDivisionError), hooked([(hf.model.norm, fail)]):
        hf(input_ids=clean.tokens[None])
    assert n_hooks(clean.model) == before
    assert torch.equal(hf(input_ids=clean.tokens[None], use_cache=True).logits[0], clean.logits)


def test_threads_do_not_feel_each_others_interventions(clean: CleanRun) -> None:
    jobs = [(random_rows(seed, 20), mode) for seed, mode in enumerate([OPEN, DIRECT, FROZEN, PARTIAL])]
    alone = [run(clean, rows, mode).logits for rows, mode in jobs]
    before = n_hooks(clean.model)
    wrong: list[float] = []

    def work(index: int) -> None:
        rows, mode = jobs[index]
        for _ in range(5):
            with torch.no_grad():
                plain = cast(Any, clean.model.hf)(input_ids=clean.tokens[None]).logits[0]
            wrong.append(float((plain - clean.logits).abs().max()))
            wrong.append(float((run(clean, rows, mode).logits - alone[index]).abs().max()))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 40 and max(wrong) < 1e-4
    assert n_hooks(clean.model) == before


def test_a_swap_of_the_city_gives_the_other_capital(
    embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    """The whole MLP-0 code of 'Dallas' replaced by that of 'Oakland', read from the donor's own run."""
    model, transcoders = embedded_model, embedded_transcoders
    prompts = [f"the capital of the state containing {city} is" for city in ("Dallas", "Oakland")]
    recipient, donor = (clean_run(model, transcoders, model.encode(prompt)) for prompt in prompts)
    position = prompts[0].split().index("Dallas") + 1

    def features(of: CleanRun) -> dict[FeatureNode, float]:
        found = of.activations(0)[position]
        return {FeatureNode(0, position, int(f)): float(found[f]) for f in found.nonzero()[:, 0]}

    row = swap(features(recipient), features(donor))
    found = intervene(model, transcoders, recipient.tokens, [row], clean=recipient)
    austin, sacramento = model.token_id("Austin"), model.token_id("Sacramento")
    assert found.clean_log_probabilities[austin].exp() > 0.9
    assert found.log_probabilities[0, sacramento].exp() > 0.5
    assert found.log_probabilities[0, austin].exp() < 0.1


def test_a_copy_of_the_model_runs_its_own_weights(clean: CleanRun) -> None:
    """Passing blocks by leaves a method on them; it must go with a copy, and belong to it."""
    run(clean, [[FeatureShift(2, 3, 2, 1.0)]], OPEN)
    copied = copy.deepcopy(cast(Any, clean.model.hf))
    for parameter in copied.parameters():
        parameter.data.zero_()
    with torch.no_grad():
        assert not copied(input_ids=clean.tokens[None]).logits.any()
        assert torch.equal(cast(Any, clean.model.hf)(input_ids=clean.tokens[None]).logits[0], clean.logits)


def test_many_edits_in_one_pass_cost_few_passes(clean: CleanRun) -> None:
    """Rows are cut where that saves more than a pass costs, and never lost or doubled."""
    rows: list[list[Edit]] = [[FeatureShift(layer, 2, f, 1.0)] for f in range(N_FEATURES) for layer in (2, 0, 1)]
    plan = compile_rows(rows, clean, OPEN)
    found = spans(plan, 1000, 400, 30)
    assert [start for start, _ in found] == [0, *(stop for _, stop in found[:-1])] and found[-1][1] == len(rows)
    assert len(found) == 3 and {int(plan.first_block[start]) for start, _ in found} == {1, 2, 3}
    assert len(spans(plan, 7, 400, 30)) == 18
    assert spans(compile_rows(rows[:4], clean, OPEN), 1000, N_POS, N_LAYERS) == [(0, 4)]


def test_errors_are_ours(clean: CleanRun) -> None:
    with pytest.raises(TracescribeError):
        run(clean, [[FeatureEdit(0, 1, -1, 0.0)]], OPEN)
