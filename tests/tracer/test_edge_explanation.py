"""Explained edges: every split sums to the edge that autograd finds, and each part is what the edge loses without it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from tests.tracer.exact_cases import make_case
from tests.tracer.tiny_transcoders import TranscoderShape
from tracescribe.tracer.attribution import attribute_tokens
from tracescribe.tracer.edge_ends import EdgeEnds, EdgeSource, EdgeTarget
from tracescribe.tracer.edge_explanation import EdgeExplanation, ExplanationSettings, explain_edge, explain_ends
from tracescribe.tracer.edge_flow import HOP_BINS
from tracescribe.tracer.errors import SettingError, TracescribeError, UnknownIdError
from tracescribe.tracer.graph import NodeKind
from tracescribe.tracer.local_replacement import LocalReplacement, SkipPath, replace_locally
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet

EXACT = 1e-9
"""Of the sum of absolute parts, in float64."""

N_POS = 6

CASES = {
    "llama clt": ("llama", TranscoderShape()),
    "gemma2 skip before the post-norm": ("gemma2", TranscoderShape(kind="plt", skip=True, reads="mlp.hook_in")),
    "gemma3 clt before the post-norm": ("gemma3_text", TranscoderShape(reads="ln2.hook_normalized")),
    "gpt2 skip": ("gpt2", TranscoderShape(kind="plt", skip=True, reads="ln2.hook_normalized", writes="hook_mlp_out")),
    "gpt2 clt": ("gpt2", TranscoderShape(reads="mlp.hook_in")),
    "qwen2 sparsify skip": ("qwen2", TranscoderShape(kind="sparsify", activation="topk", skip=True)),
    "mistral resid": ("mistral", TranscoderShape(kind="plt", skip=True, reads="hook_resid_mid")),
}


@dataclass(frozen=True, eq=False)
class Prompt:
    """A frozen prompt with the edges that autograd finds in it."""

    model: LanguageModel
    transcoders: TranscoderSet
    tokens: Tensor
    adjacency: Tensor
    node_ids: tuple[str, ...]

    @cached_property
    def replacement(self) -> LocalReplacement:
        """The prompt, frozen."""
        return replace_locally(self.model, self.transcoders, self.tokens)

    def ends(self, source: str, target: str) -> tuple[EdgeSource, EdgeTarget]:
        """Two nodes."""
        ends = EdgeEnds(self.model, self.replacement)
        return ends.source(source), ends.target(target)

    def edges(self, n: int, seed: int = 0) -> list[tuple[str, str, float]]:
        """The largest edge of every kind of source and target, and some at random."""
        rows, columns = self.adjacency.nonzero(as_tuple=True)
        order = self.adjacency[rows, columns].abs().argsort(descending=True)
        rows, columns = rows[order], columns[order]
        seen: dict[tuple[str, ...], int] = {}
        for place, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            source, target = self.node_ids[column], self.node_ids[row]
            kind = ("E" if source[0] == "E" else str("_-1_" in source), str(target[0] == str(self.model.n_layers + 1)))
            seen.setdefault((*kind, str(source.rsplit("_")[-1] == target.rsplit("_")[-1])), place)
        extra = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:n].tolist()
        chosen = [*seen.values(), *extra]
        return [
            (self.node_ids[columns[i]], self.node_ids[rows[i]], float(self.adjacency[rows[i], columns[i]]))
            for i in chosen
        ]


@pytest.fixture(scope="module", params=list(CASES))
def prompt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Prompt:
    """A random model of one family with random transcoders, a random prompt, and the oracle's edges."""
    family, shape = CASES[cast(str, request.param)]
    case = make_case(tmp_path_factory.mktemp("case"), family, shape, n_pos=N_POS)
    oracle = case.oracle()
    n_layers = len(oracle.errors)
    ids = [f"{n}_{f}_{p}" for n, p, f in oracle.active.tolist()]
    ids += [f"{n}_-1_{p}" for n in range(n_layers) for p in range(N_POS)]
    ids += [f"E_{t}_{p}" for p, t in enumerate(case.tokens.tolist())]
    ids += [f"{n_layers + 1}_{t}_{N_POS - 1}" for t in oracle.logit_tokens.tolist()]
    return Prompt(*case.open(), case.tokens, oracle.adjacency, tuple(ids))


def explained(prompt: Prompt, source: str, target: str, n_paths: int = 10, work: int = 10_000) -> EdgeExplanation:
    settings = ExplanationSettings(n_paths=n_paths, max_expansions=work)
    return explain_ends(prompt.replacement, *prompt.ends(source, target), settings)


def size(explanation: EdgeExplanation) -> float:
    """Sum of absolute parts: what rounding is relative to where parts cancel."""
    return sum(abs(part) for part in explanation.by_hops) + sum(abs(weight) for _, weight in explanation.by_write)


def skip_map(skip: SkipPath, position: int) -> Tensor:
    """A skip path at one position as one matrix `[d_model out, d_model in]`, from what the block reads of unit vectors."""
    unit = torch.eye(len(skip.weight), dtype=skip.weight.dtype)
    divided_by = skip.denominator[position]
    read = skip.block.read(skip.reads, unit, divided_by) - skip.block.read(skip.reads, 0 * unit, divided_by)
    written = skip.weight @ read.T
    return written if skip.write_gain is None else skip.write_gain[position][:, None] * written


def pushed(r: LocalReplacement, source: EdgeSource, target: EdgeTarget) -> float:
    """An edge by carrying the source's vectors upwards, layer by layer: no head is kept apart, nothing is pulled."""
    signal = torch.zeros_like(r.embeddings)
    writes = dict(source.writes)
    signal[source.position] += writes.get(-1, 0)
    for layer, frozen in enumerate(r.layers):
        values = torch.unflatten(signal @ frozen.v_weight.T, 1, (len(frozen.pattern), -1))
        mixed = torch.einsum("gjqk,kge->qgje", frozen.pattern, values).flatten(1)
        signal = signal + mixed @ frozen.o_weight.T
        if layer == target.layer:
            break
        if frozen.skip is not None:
            maps = torch.stack([skip_map(frozen.skip, position) for position in range(len(signal))])
            signal = signal + torch.einsum("pij,pj->pi", maps, signal)
        signal[source.position] += writes.get(layer, 0)
    return float(signal[target.position] @ target.covector)


def changed(r: LocalReplacement, layer: int, pattern: Tensor) -> LocalReplacement:
    """The same with another pattern in one layer."""
    layers = list(r.layers)
    layers[layer] = dataclasses.replace(layers[layer], pattern=pattern)
    return dataclasses.replace(r, layers=tuple(layers))


def test_every_split_sums_to_the_edge_that_autograd_finds(prompt: Prompt) -> None:
    for source, target, weight in prompt.edges(8):
        found = explained(prompt, source, target)
        allowed = EXACT * size(found)
        assert abs(found.weight - weight) <= allowed
        assert abs(sum(found.by_hops) - weight) <= allowed
        assert abs(sum(part for _, part in found.by_write) - weight) <= allowed
        assert abs(sum(path.weight for path in found.paths) + found.rest - weight) <= allowed


def test_what_passes_below_each_attention_is_what_entered_beneath_it(prompt: Prompt) -> None:
    for source, target, _ in prompt.edges(6):
        found = explained(prompt, source, target)
        for layer, parts in found.positions:
            entered = sum(part for below, part in found.by_write if below < layer)
            assert abs(sum(parts) - entered) <= EXACT * size(found)
        # by number of heads: what passes the i-th head of a path is what has at least i heads
        for place in range(HOP_BINS - 1):
            through = sum(head.by_place[place] for head in found.heads)
            assert abs(through - sum(found.by_hops[place + 1 :])) <= EXACT * size(found)


def test_a_heads_part_is_what_the_edge_loses_without_the_head(prompt: Prompt) -> None:
    r = prompt.replacement
    for source, target, _ in prompt.edges(2):
        ends = prompt.ends(source, target)
        found, whole = explained(prompt, source, target), pushed(prompt.replacement, *ends)
        told = {(head.layer, head.head): head.weight for head in found.heads}
        for layer, frozen in enumerate(r.layers):
            for head in range(frozen.pattern.shape[0] * frozen.pattern.shape[1]):
                pattern = frozen.pattern.clone()
                pattern.view(-1, *pattern.shape[2:])[head] = 0
                lost = whole - pushed(changed(r, layer, pattern), *ends)
                assert abs(lost - told.get((layer, head), 0.0)) <= EXACT * size(found)
        moves = {(move.layer, move.key, move.query): move.weight for move in found.moves}
        for layer, frozen in enumerate(r.layers):
            for query, key in ((2, 1), (N_POS - 1, 2), (N_POS - 1, N_POS - 1), (3, 3)):
                pattern = frozen.pattern.clone()
                pattern[:, :, query, key] = 0
                lost = whole - pushed(changed(r, layer, pattern), *ends)
                assert abs(lost - moves.get((layer, key, query), 0.0)) <= EXACT * size(found)


def test_parts_by_number_of_heads_are_a_polynomial_in_the_attention(prompt: Prompt) -> None:
    """Multiplying every pattern by z multiplies a path with n heads by z^n."""
    r = prompt.replacement
    for source, target, _ in prompt.edges(3):
        ends, found = prompt.ends(source, target), explained(prompt, source, target)
        for z in (0.0, -1.0, 0.5, 3.0):
            scaled = r
            for layer, frozen in enumerate(r.layers):
                scaled = changed(scaled, layer, z * frozen.pattern)
            expected = sum(part * z**n for n, part in enumerate(found.by_hops))
            scale = size(found) * max(1.0, abs(z) ** r.n_layers)
            assert abs(pushed(scaled, *ends) - expected) <= EXACT * scale


def test_the_last_bin_holds_all_longer_paths(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    for source, target, weight in prompt.edges(3):
        exact = explained(prompt, source, target)
        with monkeypatch.context() as patched:
            patched.setattr("tracescribe.tracer.edge_flow.HOP_BINS", 2)
            found = explained(prompt, source, target)
        assert len(found.by_hops) == 2
        assert abs(found.by_hops[0] - exact.by_hops[0]) <= EXACT * size(exact)
        assert abs(sum(found.by_hops) - weight) <= EXACT * size(exact)
        told = {(head.layer, head.head): head.weight for head in exact.heads}
        for head in found.heads:
            assert abs(head.weight - told[head.layer, head.head]) <= EXACT * size(exact)


def test_a_skip_paths_part_is_what_the_edge_loses_without_it(prompt: Prompt) -> None:
    r = prompt.replacement
    skipping = [layer for layer, frozen in enumerate(r.layers) if frozen.skip is not None]
    for source, target, _ in prompt.edges(4):
        ends, found = prompt.ends(source, target), explained(prompt, source, target)
        whole, told = pushed(r, *ends), dict(found.skips)
        assert set(told) <= set(skipping)
        for layer in skipping:
            layers = list(r.layers)
            layers[layer] = dataclasses.replace(layers[layer], skip=None)
            lost = whole - pushed(dataclasses.replace(r, layers=tuple(layers)), *ends)
            assert abs(lost - told.get(layer, 0.0)) <= EXACT * size(found)


Key = tuple[int, tuple[tuple[int, int | None, int, int], ...]]


def all_paths(r: LocalReplacement, source: EdgeSource, target: EdgeTarget) -> dict[Key, float]:
    """Every path and its weight, by carrying one vector up each of them."""
    found: dict[Key, float] = {}

    def climb(
        vector: Tensor, position: int, layer: int, write: int, steps: tuple[tuple[int, int | None, int, int], ...]
    ) -> None:
        """`vector` stands below the attention of `layer`."""
        if layer == r.n_layers or layer > target.layer:
            if position == target.position:
                found[write, steps] = float(vector @ target.covector)
            return
        frozen = r.layers[layer]
        above = [(vector, position, steps)]
        n_group = frozen.pattern.shape[1]
        values = torch.unflatten(frozen.v_weight @ vector, 0, (len(frozen.pattern), -1))
        outputs = torch.unflatten(frozen.o_weight, 1, (len(frozen.pattern) * n_group, -1))
        for query in range(position, target.position + 1):
            for head in range(outputs.shape[1]):
                weight = frozen.pattern[head // n_group, head % n_group, query, position]
                if weight != 0:
                    moved = weight * (outputs[:, head] @ values[head // n_group])
                    above.append((moved, query, (*steps, (layer, head, position, query))))
        for carried, place, taken in above:
            climb(carried, place, layer + 1, write, taken)
            if layer < target.layer and frozen.skip is not None:
                climb(
                    skip_map(frozen.skip, place) @ carried,
                    place,
                    layer + 1,
                    write,
                    (*taken, (layer, None, place, place)),
                )

    for write, vector in source.writes:
        if write < target.layer:
            climb(vector, source.position, write + 1, write, ())
    return found


def test_the_listed_paths_are_the_largest_of_all(prompt: Prompt) -> None:
    for scale in (1.0, 40.0, 0.02):  # with strong patterns longer paths are the larger ones, with weak ones skip paths
        replacement = prompt.replacement
        for layer, frozen in enumerate(replacement.layers):
            replacement = changed(replacement, layer, scale * frozen.pattern)
        for source, target, _ in prompt.edges(0)[:2] + prompt.edges(1, seed=5)[-1:]:
            ends = prompt.ends(source, target)
            every = all_paths(replacement, *ends)
            found = explain_ends(replacement, *ends, ExplanationSettings(n_paths=12, max_expansions=10_000))
            assert found.proved
            told: dict[Key, float] = {}
            for path in found.paths:
                steps = tuple((s.layer, s.head, s.key, s.query) for s in path.steps)
                assert path.weight == pytest.approx(every[path.write_layer, steps], rel=1e-9, abs=1e-14)
                told[path.write_layer, steps] = path.weight
            largest = sorted((abs(weight) for weight in every.values()), reverse=True)
            assert len(told) == len(found.paths) == min(12, sum(weight > 0 for weight in largest))
            listed = sorted((abs(weight) for weight in told.values()), reverse=True)
            assert listed == pytest.approx(largest[: len(listed)], rel=1e-9)
            unlisted = [abs(weight) for key, weight in every.items() if key not in told]
            assert max(unlisted, default=0.0) <= found.largest_unlisted * (1 + 1e-9)


def test_a_search_that_is_cut_short_says_so_and_keeps_its_bound(prompt: Prompt) -> None:
    source, target, weight = max(prompt.edges(6), key=lambda edge: len(edge[1]) * 0 + abs(edge[2]))
    every = all_paths(prompt.replacement, *prompt.ends(source, target))
    for work in (0, 1, 5, 40):
        found = explained(prompt, source, target, n_paths=3, work=work)
        assert abs(sum(p.weight for p in found.paths) + found.rest - weight) <= EXACT * size(found)
        listed = {(p.write_layer, tuple((s.layer, s.head, s.key, s.query) for s in p.steps)) for p in found.paths}
        unlisted = max((abs(w) for key, w in every.items() if key not in listed), default=0.0)
        assert unlisted <= found.largest_unlisted * (1 + 1e-9)
        if found.proved and found.paths:
            assert unlisted <= abs(found.paths[-1].weight) * (1 + 1e-9)


def test_stubs_that_are_left_aside_enter_the_bound(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one continuation queued per stub and layer most of the tree is never looked at, and the answer says so."""
    monkeypatch.setattr("tracescribe.tracer.edge_paths.MAX_CHILDREN", 1)
    source, target, _ = max(prompt.edges(0), key=lambda edge: abs(edge[2]))
    every = all_paths(prompt.replacement, *prompt.ends(source, target))
    found = explained(prompt, source, target, n_paths=500)
    listed = {(p.write_layer, tuple((s.layer, s.head, s.key, s.query) for s in p.steps)) for p in found.paths}
    unlisted = max((abs(w) for key, w in every.items() if key not in listed), default=0.0)
    assert unlisted <= found.largest_unlisted * (1 + 1e-9)


def test_only_heads_lead_to_another_position(prompt: Prompt) -> None:
    n_checked = 0
    for source, target, _ in prompt.edges(20):
        found = explained(prompt, source, target, n_paths=30)
        first, last = int(source.rsplit("_")[-1]), int(target.rsplit("_")[-1])
        if first != last:
            n_checked += 1
            assert found.by_hops[0] == 0
            assert all(path.n_hops > 0 for path in found.paths)
        for path in found.paths:
            trail = [first, *(step.query for step in path.steps)]
            assert [step.key for step in path.steps] == trail[:-1]
            assert trail[-1] == last
    assert n_checked > 0


def test_explained_edges_are_those_of_the_graph(prompt: Prompt) -> None:
    """Through the public door, by the graph's own node ids."""
    graph = attribute_tokens(prompt.model, prompt.transcoders, prompt.tokens)
    chosen = torch.randperm(len(graph.edges), generator=torch.Generator().manual_seed(3))[:3].tolist()
    for i in chosen:
        source, target = graph.node_ids[graph.edges.source[i]], graph.node_ids[graph.edges.target[i]]
        found = explain_edge(prompt.model, prompt.transcoders, prompt.tokens, source, target)
        assert found.weight == pytest.approx(float(graph.edges.weight[i]), rel=1e-5, abs=1e-6)
        assert (found.target_label == "") == (graph.nodes.kind[graph.edges.target[i]] != NodeKind.LOGIT)


def test_a_difference_of_outputs_is_explained_as_the_difference(prompt: Prompt) -> None:
    last, number = N_POS - 1, prompt.model.n_layers + 1
    source = f"E_{int(prompt.tokens[2])}_2"
    settings = ExplanationSettings(targets=("w5", "w5 - w7"))

    def weight(token: int) -> EdgeExplanation:
        return explain_edge(
            prompt.model, prompt.transcoders, prompt.tokens, source, f"{number}_{token}_{last}", settings
        )

    both, first, second = weight(prompt.model.vocab_size + 1), weight(5), weight(7)
    assert both.target_label == "w5 \u2212 w7"
    assert both.weight == pytest.approx(first.weight - second.weight, rel=1e-9)
    assert both.by_hops == pytest.approx([a - b for a, b in zip(first.by_hops, second.by_hops, strict=True)], abs=1e-9)
    with pytest.raises(UnknownIdError, match="2 targets were given"):
        weight(prompt.model.vocab_size + 2)


def refused(prompt: Prompt, source: str, target: str) -> str:
    with pytest.raises(TracescribeError) as caught:
        explained(prompt, source, target)
    assert isinstance(caught.value, UnknownIdError | SettingError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nodes_that_do_not_exist_are_told_with_near_ones(prompt: Prompt) -> None:
    n_layers, last = prompt.model.n_layers, N_POS - 1
    output = next(i for i in prompt.node_ids if i.startswith(f"{n_layers + 1}_"))
    layer, position, _ = prompt.replacement.active[0].tolist()
    here = [f"{n}_{f}_{p}" for n, p, f in prompt.replacement.active.tolist() if (n, p) == (layer, position)]
    told = refused(prompt, f"{layer}_9999_{position}", output)
    assert "not active there" in told
    assert any(node in told for node in here)
    token = int(prompt.tokens[3])
    assert f"E_{token}_3" in refused(prompt, f"E_{token + 1}_3", output)
    assert "positions 0 to 5" in refused(prompt, f"E_{token}_6", output)
    assert "have no errors" in refused(prompt, "0_-1_0", output)
    assert "the model has layers 0 to" in refused(prompt, f"{n_layers}_0_2", output)
    assert "ids read layer_feature_position" in refused(prompt, "Dallas", output)
    assert "'../../etc' is no node id" in refused(prompt, "../../etc", output)
    assert f"the last position, {last}" in refused(prompt, f"E_{token}_3", f"{n_layers + 1}_5_2")
    assert "not for a token" in refused(prompt, "E_-1_3", output)


def test_edges_that_cannot_run_are_refused(prompt: Prompt) -> None:
    output = next(i for i in prompt.node_ids if i.startswith(f"{prompt.model.n_layers + 1}_"))
    active = prompt.replacement.active
    early, late = active[0].tolist(), active[-1].tolist()
    ids = [f"{n}_{f}_{p}" for n, p, f in (early, late)]
    assert "no edge can run" in refused(prompt, ids[1], ids[0])
    assert "no edge can run" in refused(prompt, ids[0], ids[0])
    assert "is an output and writes nothing" in refused(prompt, output, output)
    assert "reads nothing" in refused(prompt, ids[0], f"E_{int(prompt.tokens[2])}_2")
    assert "reads nothing" in refused(prompt, ids[0], "1_-1_3")
    with pytest.raises(SettingError, match=r"n_paths is 0.*zero_positions is -1"):
        ExplanationSettings(n_paths=0, zero_positions=-1)


def test_float32_parts_sum_to_a_millionth(tmp_path: Path) -> None:
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    case = make_case(tmp_path, "gemma2", TranscoderShape(kind="plt", skip=True))
    model, transcoders = load_model(case.model_folder), load_transcoders(case.transcoder_folder)
    exact = case.open()
    source, target = f"E_{int(case.tokens[2])}_2", f"{model.n_layers + 1}_5_{len(case.tokens) - 1}"
    found = explain_edge(model, transcoders, case.tokens, source, target)
    expected = explain_edge(*exact, case.tokens, source, target)
    for parts in (found.by_hops, [w for _, w in found.by_write], [*(p.weight for p in found.paths), found.rest]):
        assert abs(sum(parts) - found.weight) <= 1e-6 * size(found)
    assert found.by_hops == pytest.approx(expected.by_hops, abs=1e-4 * size(expected))
