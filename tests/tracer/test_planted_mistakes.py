"""Do the checks bite? One line of the tracer is made wrong at a time, and a handful of tiny exact cases must notice.

The cases are the smallest set in which every part of every family and kind of transcoders matters. The tracer's own
check of the conservation law is switched off: what is asked is whether the comparison with autograd sees the mistake.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.tracer import dense_reference
from tests.tracer.autograd_oracle import OracleGraph
from tests.tracer.exact_cases import EXACT, Case, faults, make_case, node_counts, relative, wrongly_pruned
from tests.tracer.planting import Mistake, plant
from tests.tracer.tiny_transcoders import TranscoderShape
from tracescribe.tracer import expansion, float64_modules, sweep
from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens
from tracescribe.tracer.edges import EdgeTable
from tracescribe.tracer.errors import TracescribeError
from tracescribe.tracer.local_replacement import replace_locally
from tracescribe.tracer.prune import PruneSettings


@dataclass(frozen=True, eq=False)
class Known:
    """A case with its answers, computed while the tracer was whole."""

    name: str
    case: Case
    oracle: OracleGraph
    settings: AttributionSettings
    budgeted: Sequence[list[int]]
    pruned: Sequence[dense_reference.Pruned]
    scores: tuple[float, float]
    cumulative: np.ndarray


THRESHOLDS = ((0.8, 0.98), (0.95, 0.6))
BUDGETS = ((14, 2, 8), (30, 5, 1), (40, 2, 1))
"""Features, batch size and update interval: many between two estimates of influence, and few, so that it matters when and
from what they are made."""


def know(
    folder: Path, name: str, family: str, shape: TranscoderShape, masked: int = 1, probability: float = 0.95
) -> Known:
    settings = AttributionSettings(
        zero_positions=None if masked == 1 else masked, desired_logit_probability=probability
    )
    folder = folder / name
    folder.mkdir()
    case = make_case(folder, family, shape, seed=3)
    oracle = case.oracle(zero_positions=masked, desired_logit_probability=probability)
    graph = oracle.adjacency.numpy(), node_counts(oracle), oracle.logit_probabilities.numpy()
    return Known(
        name,
        case,
        oracle,
        settings,
        [dense_reference.within_budget(*graph, n, batch * interval) for n, batch, interval in BUDGETS],
        [dense_reference.prune(*graph, *thresholds) for thresholds in THRESHOLDS],
        dense_reference.scores(*graph),
        dense_reference.cumulative(*graph),
    )


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> list[Known]:
    """Gemma 2 for post-norms, windows and soft-caps, GPT-2 for LayerNorm, Qwen 2 for biases of values, ..."""
    folder, clt, plt = tmp_path_factory.mktemp("known"), "clt", "plt"
    jump = TranscoderShape(clt, "jumprelu", "mlp.hook_in", "mlp.hook_out", silent_position=4)
    normalized, into_mlp, mid = "ln2.hook_normalized", "mlp.hook_in", "hook_resid_mid"
    return [
        know(folder, "gemma2 clt", "gemma2", jump),
        know(folder, "gpt2 clt", "gpt2", TranscoderShape(clt, "relu", into_mlp, "hook_mlp_out"), probability=0.3),
        know(folder, "qwen2 skip", "qwen2", TranscoderShape(plt, "relu", normalized, skip=True)),
        know(folder, "mistral topk", "mistral", TranscoderShape(plt, "topk", mid)),
        know(folder, "llama sparsify", "llama", TranscoderShape("sparsify", "topk", skip=True)),
        know(folder, "gemma3 skip", "gemma3_text", TranscoderShape(plt, "relu", into_mlp, skip=True), masked=2),
        know(folder, "gpt2 skip", "gpt2", TranscoderShape(plt, "jumprelu", into_mlp, skip=True)),
    ]


def wrong_in(known: Known) -> list[str]:
    """What of a case the tracer gets wrong: opened anew, traced, pruned and scored."""
    case, oracle = known.case, known.oracle
    model, transcoders = case.open()
    graph = attribute_tokens(model, transcoders, case.tokens, known.settings)
    found = faults(graph, oracle)
    errors = replace_locally(model, transcoders, case.tokens, known.settings.zero_positions).error_vectors
    if not relative(errors, oracle.errors) <= EXACT:
        found.append("error vectors differ")
    if found:
        return found  # what follows rests on the edges
    with pytest.MonkeyPatch.context() as patch:  # as for prompts so long that tokens' images are not kept
        patch.setattr(sweep, "TOKEN_MAP_BYTES", 0)
        in_blocks = attribute_tokens(model, transcoders, case.tokens, dataclasses.replace(known.settings, batch_size=7))
    found += [f"in small blocks, {fault}" for fault in faults(in_blocks, oracle)]
    assert graph.scores is not None
    scores = (graph.scores.replacement, graph.scores.completeness)
    if not relative(scores, known.scores) < 1e-6 or not relative(graph.nodes.influence, known.cumulative) < 1e-5:
        found.append("scores or influence differ")
    columns = EdgeTable(graph.edges.target, graph.edges.source, graph.edges.weight)
    for form, same in (("blocks", graph), ("columns", dataclasses.replace(graph, edges=columns))):
        for thresholds, expected in zip(THRESHOLDS, known.pruned, strict=True):
            found += [f"{form}: {fault}" for fault in wrongly_pruned(same, PruneSettings(*thresholds), expected)]
    for (budget, batch_size, interval), kept in zip(BUDGETS, known.budgeted, strict=True):
        settings = dataclasses.replace(
            known.settings, max_feature_nodes=budget, batch_size=batch_size, update_interval=interval
        )
        graph = attribute_tokens(model, transcoders, case.tokens, settings)
        differing = faults(graph, oracle, np.array(kept))
        found += [f"within {budget} features, {fault}" for fault in differing if not fault.startswith("bias")]
    return found


MISTAKES = [
    # --- what is frozen ---
    Mistake("gain before attention missing", "local_replacement:_freeze", "* norm.gain.to(dtype))", ")"),
    Mistake("denominator before attention missing", "local_replacement:_freeze", "/ norm.denominator(seen.resid_pre[layer]).T", ""),
    Mistake("gain behind attention missing", "local_replacement:_freeze", "o_weight * post.gain.to(dtype)[:, None]", "o_weight"),
    Mistake("denominator behind attention missing", "local_replacement:_freeze", "pattern = pattern * query_scale", "pass"),
    Mistake("centring before attention missing", "local_replacement:_freeze", "norm.centre(block.v_weight.to(dtype) * norm.gain.to(dtype))", "block.v_weight.to(dtype) * norm.gain.to(dtype)"),
    Mistake("pattern grouped in the wrong order", "local_replacement:_freeze", "torch.unflatten(pattern, 0, (architecture.n_kv_heads, -1))", "torch.unflatten(pattern, 0, (-1, architecture.n_kv_heads)).transpose(0, 1)"),
    Mistake("last head's pattern lost", "local_replacement:_freeze", "pattern=torch", "pattern=(torch.arange(architecture.n_heads) < architecture.n_heads - 1).to(dtype)[:, None, None].unflatten(0, (architecture.n_kv_heads, -1)) * torch"),
    Mistake("write gain of the MLP's norm missing", "local_replacement:_write_gain", "norm.gain.to(before.dtype) /", "torch.ones_like(before) /"),
    Mistake("write denominator of the MLP's norm missing", "local_replacement:_write_gain", "/ norm.denominator(before)", "+ torch.zeros_like(before)"),
    Mistake("write norm ignored for decoders", "local_replacement:_through_write_norms", "rows * gain", "rows + 0 * gain"),
    Mistake("write norm of the layer read instead of written", "local_replacement:_through_write_norms", "gain[layer : layer + rows.shape[1], active[at, 1]]", "gain[layer : layer + 1, active[at, 1]]"),
    Mistake("bias of values spread over the wrong heads", "local_replacement:_attention_constant", ".repeat_interleave(group, 0)", ".repeat(group, 1)"),
    Mistake("bias of values missing", "local_replacement:_attention_constant", "None if block.v_bias is None else block.v_bias.to(dtype)", "None"),
    Mistake("bias of LayerNorm before attention missing", "local_replacement:_attention_constant", "value + through", "value"),
    Mistake("final gain missing", "local_replacement:replace_locally", "final_gain=final.gain.to(seen.dtype) /", "final_gain=torch.ones_like(final.gain).to(seen.dtype) /"),
    Mistake("final denominator of the first position", "local_replacement:replace_locally", "final.denominator(seen.resid_final[-1])", "final.denominator(seen.resid_final[0])"),
    Mistake("learned positions counted as tokens", "local_replacement:replace_locally", "embeddings=seen.resid_pre[0] if seen.embeddings is None else seen.embeddings", "embeddings=seen.resid_pre[0]"),
    # --- norms and families ---
    Mistake("gain at the read point missing", "architectures.base:Block.read_covector", "scaled = scaled * self.mlp_norm.gain.to(covector.dtype)", "pass"),
    Mistake("denominator at the read point missing", "architectures.base:Block.read_covector", "covector / denominator", "covector + 0 * denominator"),
    Mistake("centring at the read point missing", "architectures.base:Block.read_covector", "self.mlp_norm.centre(scaled)", "scaled"),
    Mistake("epsilon missing", "architectures.base:Norm.denominator", "+ self.epsilon", ""),
    Mistake("variance about zero", "architectures.base:Norm.denominator", "self.centre(x)", "x"),
    Mistake("Gemma's gain without the one", "architectures._rms:shifted_rms_norm", "1.0 + weight", "weight"),
    Mistake("keys instead of values", "architectures.gpt2:_block", "v_weight=fused_weight[:, 2 * width :].T", "v_weight=fused_weight[:, width : 2 * width].T"),
    Mistake("output matrix of the attention transposed", "architectures.gpt2:_block", "o_weight=tensor(attention.c_proj.weight).T", "o_weight=tensor(attention.c_proj.weight)"),
    Mistake("bias of GPT-2's output missing", "architectures.gpt2:_block", "o_bias=tensor(attention.c_proj.bias)", "o_bias=None"),
    Mistake("sliding window and causality ignored", "float64_modules:attention", "scores = scores + attention_mask", "pass"),
    Mistake("soft-cap of the scores ignored", "float64_modules:attention", "softcap * torch.tanh(scores / softcap)", "scores"),
    Mistake("keys of the wrong group", "float64_modules:attention", "key.repeat_interleave(group, 1)", "key.repeat(1, group, 1, 1)"),
    # --- features and errors ---
    Mistake("first position has features", "local_replacement:_read_features", "acts[:zero_positions] = 0", "pass"),
    Mistake("first position has an error", "local_replacement:replace_locally", "error_vectors[:, :zero_positions] = 0", "pass"),
    Mistake("what the first position wrote is lost", "local_replacement:replace_locally", "constants[layer, :zero_positions] = ", "_ = "),
    Mistake("decoder bias left out of the error", "local_replacement:replace_locally", "[b + constant for", "[constant for"),
    Mistake("skip path left out of the reconstruction", "local_replacement:replace_locally", "- torch.stack([linear for linear, _ in skipped])", ""),
    Mistake("features left out of the reconstruction", "local_replacement:_take_away", "alpha=-1", "alpha=0"),
    Mistake("decoders without activations", "local_replacement:_decoders", ".mul_(activations[:, None, None])", ""),
    Mistake("cross-layer features write to their own layer alone", "local_replacement:_decoders", ".mul_(activations[:, None, None])", ".mul_(activations[:, None, None])[:, :1]"),
    Mistake("encoder bias of LayerNorm missing", "local_replacement:_read_features", "bias = bias + encoders @ norm_bias.to(encoders.dtype)", "pass"),
    Mistake("skip path transposed", "local_replacement:SkipPath.pull", "self.weight.expand", "self.weight.T.expand"),
    Mistake("skip path past the write norm", "local_replacement:SkipPath.pull", "covectors * self.write_gain[:n_pos, None]", "covectors"),
    Mistake("skip path transposed in the reconstruction", "local_replacement:_skip_output", "block.read(transcoders.reads, mid) @ weight.T", "block.read(transcoders.reads, mid) @ weight"),
    Mistake("constant part of the skip path missing", "local_replacement:_skip_output", "constant += bias.to(mid.dtype) @ weight.T", "pass"),
    Mistake("threshold reached is threshold passed", "transcoder_formats.activation:Activation.apply", "pre > (threshold", "pre >= (threshold"),
    Mistake("JumpReLU subtracts its threshold", "transcoder_formats.activation:Activation.apply", "return pre.mul_(pre >", "return (pre - threshold).mul_(pre >"),
    Mistake("TopK with a ReLU where there is none", "transcoder_formats.activation:Activation.apply", 'self.kind == "relu" or self.rectified', "True"),
    Mistake("TopK without the ReLU before it", "transcoder_formats.activation:Activation.apply", 'self.kind == "relu" or self.rectified', 'self.kind == "relu"'),
    Mistake("encoder bias missing", "transcoders:TranscoderSet.encode", "pre += self.encoder_bias(layer)", "pass"),
    Mistake("circuit-tracer's TopK taken for one with a ReLU", "transcoder_formats.circuit_tracer:_given_activation", 'rectified=name == "batchtopk"', "rectified=True"),
    Mistake("no position is masked", "position_rule:PositionRule.positions_of", "return self.zero_positions", "return 0"),
    Mistake("bias of LayerNorm missing at the read point", "architectures.base:Norm.apply", "scaled if self.bias is None else scaled + self.bias.to(x.dtype)", "scaled"),
    Mistake("token vectors without their scale", "local_replacement:replace_locally", "embeddings=seen.resid_pre[0] if", "embeddings=seen.resid_pre[0] / 4 if"),
    # --- sources and sweep ---
    Mistake("cross-layer features write one layer too high", "source_columns:lay_out", "[:, n - read]", "[:, n - read - 1]"),
    Mistake("errors of the layer below", "source_columns:lay_out", "r.errors[n]", "r.errors[n - 1]"),
    Mistake("biases of the attention missing", "source_columns:_constants", "return written + frozen.attention_constant", "return written"),
    Mistake("writes of the layer below", "sweep:_Block.run", "self._read_writes(layer)", "self._read_writes(max(layer - 1, 0))"),
    Mistake("no edge passes a skip path", "sweep:_Block._skip", "if skip is not None:", "if False:"),
    Mistake("a skip path replaces the residual stream", "sweep:_Block._skip", "here += skip.pull(here)", "here.copy_(skip.pull(here))"),
    Mistake("heads share keys and values in turns", "sweep:_Block._onto_values", "head // group", "head % n_kv"),
    Mistake("one head's values dropped", "sweep:_Block._onto_values", "for head in range(n_heads):", "for head in range(n_heads - 1):"),
    Mistake("the last head of a group wins", "sweep:_Block._onto_values", "beta=min(1, head % group)", "beta=0"),
    Mistake("the last query position is cut off", "sweep:_Block._onto_values", "min(high, n_pos)", "min(high, n_pos - 1)"),
    Mistake("heads of another group", "sweep:_through_values", '"kge,dgje->kgjd"', '"kge,dgje->kjgd"'),
    Mistake("a fresh target looks forward", "sweep:_Block._join", "weights.pattern[:, :n_pos, position]", "weights.pattern[:, position, :n_pos]"),
    Mistake("a fresh target does not stay in the stream", "sweep:_Block._join", "self.covectors[position, start:stop] +=", "_ ="),
    Mistake("a token reaches its own position by attention alone", "sweep:_TokenMap.images", "image[position] += embedding", "pass"),
    Mistake("a fresh target misses the token at its own position", "sweep:_Block._fresh_tokens", "position] += (covector", "position] += 0 * (covector"),
    Mistake("tokens without images reach their own position alone", "sweep:_Block._read_tokens", "into += torch.bmm(self._onto_values", "_ = torch.bmm(self._onto_values"),
    Mistake("learned positions missing in the bias", "sweep:_Block._read_tokens", "tokens.bottom is not None", "False"),
    Mistake("biases of a fresh target's attention missing", "sweep:_Block._read_attention_constant", "self.offset[fresh] +=", "_ ="),
    Mistake("a tile's last query lost", "sweep:_LayerWeights.of", "int(queries[-1]) + 1", "int(queries[-1])"),
    Mistake("features of the same position do not reach", "edge_store:EdgeStore.reaching", "<= position", "< position"),
    Mistake("errors of the layer below do not reach", "edge_store:EdgeStore.reaching", "np.arange(layer)[:, None]", "np.arange(max(layer - 1, 0))[:, None]"),
    # --- logits ---
    Mistake("logits not relative to their mean", "logit_targets:covector", ".to(mean.dtype) - mean)", ".to(mean.dtype))"),
    Mistake("one logit too few", "logit_targets:choose_targets", "settings.desired_logit_probability)) + 1", "settings.desired_logit_probability))"),
    Mistake("centring of the final norm missing", "expansion:Expansion._expand_logits", "final.centre(on_output * r.final_gain)", "on_output * r.final_gain"),
    Mistake("bias of the final norm missing", "expansion:Expansion._expand_logits", "constant = constant + on_output", "_ = on_output"),
    # --- node budget ---
    Mistake("budget spent by signed edges", "edge_store:EdgeStore.feature_influence", "np.abs(piece.weight, dtype=np.float64)", "piece.weight"),
    Mistake("budget without normalised rows", "edge_store:EdgeStore.feature_influence", "/ np.maximum(piece.row_sum, BUDGET_NORM_FLOOR)", "* 1.0"),
    Mistake("budget counts from the bottom", "edge_store:EdgeStore.feature_influence", "sorted(self._pieces, reverse=True)", "sorted(self._pieces)"),
    Mistake("influence estimated after every batch", "expansion:Expansion.expand", "self.settings.update_interval * self.settings.batch_size", "self.settings.batch_size"),
    Mistake("budget ignores what is known of features", "expansion:Expansion.expand", "influence = self.store.feature_influence(probabilities)", "influence = self.store.feature_influence(probabilities) if not len(visited) else influence"),
    Mistake("rows in the order of expansion", "edge_store:EdgeStore.table", "for piece in pieces])[order]", "for piece in pieces])"),
    # --- influence, pruning, scores ---
    Mistake("influence from the bottom up", "prune:_pass_down_blocks", "reverse=True", "reverse=False"),
    Mistake("influence by signed edges", "prune:_pass_down_blocks", "np.abs(block.weight if", "np.asarray(block.weight if"),
    Mistake("rows below one not normalised", "prune:_pass_down_blocks", "np.maximum(row_sums[block.target], floor)", "np.maximum(row_sums[block.target], 1.0)"),
    Mistake("logits of equal weight", "prune:logit_weights", "probabilities if probabilities.any() else 1.0", "1.0"),
    Mistake("least influential first", "prune:cumulative_influence", "np.argsort(-influence", "np.argsort(influence"),
    Mistake("cut-off one place early", "prune:threshold_score", "descending[first]", "descending[first - 1]"),
    Mistake("tokens and logits can be pruned", "prune:_candidates", " | fixed", ""),
    Mistake("edges scored without normalised rows", "prune:_edge_scores", "scale = flow / np.maximum(row_sums, NORM_FLOOR)", "scale = flow"),
    Mistake("edges scored by their source", "prune:_edge_scores", "scale[block.target, None]", "scale[block.source]"),
    Mistake("edges in columns scored by their source", "prune:_edge_scores", "flow[edges.target]", "flow[edges.source]"),
    Mistake("edges in columns not normalised", "prune:normalise", "weight / np.maximum(row_sum, floor)[edges.target]", "weight"),
    Mistake("signed edges in columns", "prune:normalise", "np.abs(edges.weight)", "np.asarray(edges.weight)"),
    Mistake("columns from the bottom up", "prune:_pass_down", "total[target[first:last]]", "start[target[first:last]]"),
    Mistake("the cut-off does not bind", "prune:_pruned_edges", "(s >= cut_off)", "(s >= 0)"),
    Mistake("edges into logits without weight", "prune:_edge_scores", "NORM_FLOOR) + start", "NORM_FLOOR)"),
    Mistake("errors dropped for want of an input", "prune:_drop_dangling", "(~features | has_input)", "(fixed | has_input)"),
    Mistake("features without an input stay", "prune:_drop_dangling", "& (~features | has_input)", ""),
    Mistake("dangling nodes dropped once only", "prune:_drop_dangling", "if (remaining == nodes).all():", "if True:"),
    Mistake("replacement score counts errors as tokens", "prune:measure", "token, error = influence[kind == NodeKind.EMBEDDING].sum()", "token, error = influence[kind != NodeKind.FEATURE].sum()"),
    Mistake("completeness without the logits' weight", "prune:measure", "output = influence + weights", "output = influence"),
    Mistake("completeness counts what is unexplained", "prune:measure", "(1 - unexplained)", "unexplained"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def own_attention() -> Iterator[None]:
    """`transformers` keeps the attention function that it was last given: afterwards that is the right one again."""
    yield
    float64_modules.register_attention()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracer does not look at its own sums."""
    monkeypatch.setattr(expansion.Expansion, "_check", lambda *rows: None)


@pytest.mark.usefixtures("unchecked")
def test_the_tracer_as_it_is_gets_everything_right(known: list[Known]) -> None:
    assert [(k.name, wrong_in(k)) for k in known] == [(k.name, []) for k in known]


def test_every_mistake_can_be_planted() -> None:
    assert [fault for mistake in MISTAKES for fault in mistake.faults()] == []
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 25


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_noticed(mistake: Mistake, known: list[Known], monkeypatch: pytest.MonkeyPatch) -> None:
    """By a wrong number; a crash would show that the mistake is none that could be made unnoticed."""
    plant(mistake, monkeypatch)
    noticed = False
    for each in known:
        try:
            noticed = bool(wrong_in(each))
        except TracescribeError:  # a typed refusal is a notice too
            noticed = True
        if noticed:
            return
    raise AssertionError(f"nobody notices: {mistake.name}")
