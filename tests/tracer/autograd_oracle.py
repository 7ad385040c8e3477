"""A second implementation of attribution, to compare the tracer with: Hugging Face's own forward pass, differentiated.

It shares no code with the tracer. The weights of the transcoders are read from their files here; of the model only the
Hugging Face module is taken. Two passes: a clean one that records patterns, norm inputs and what the MLPs write, and
one in which those are constants, so that `torch.autograd` gives every edge as a gradient times a source vector. The
second pass runs one copy of the prompt for every target, which owns the gradients of its row.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub/2025/attribution-graphs/methods.html).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

FROZEN = "tests_frozen_pattern"
"""Name of the attention function that takes recorded patterns."""


@dataclass(frozen=True, eq=False)
class OracleLayer:
    """One layer of transcoders, in float64.

    Attributes:
        encoder: `[n_features, d_model]`.
        encoder_bias: `[n_features]`.
        decoder: `[n_features, n_written, d_model]`; entry `k` writes to the layer `k` above.
        decoder_bias: `[d_model]`.
        threshold: of JumpReLU, `[n_features]`, or None.
        skip: `[d_model, d_model]`, `out += x @ skip.T`, or None.
        k: features kept per token (TopK), or None.
        rectified: whether negative values are cut to zero (before TopK).
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    threshold: Tensor | None
    skip: Tensor | None
    k: int | None
    rectified: bool

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pre-activations and activations, each `[n_pos, n_features]`."""
        pre = x @ self.encoder.T + self.encoder_bias
        values = pre.clamp(min=0) if self.rectified else pre
        if self.threshold is not None:
            values = torch.where(pre > self.threshold, pre, torch.zeros_like(pre))
        if self.k is not None:
            kept = torch.zeros_like(values)
            top = values.topk(self.k, dim=-1)
            values = kept.scatter(-1, top.indices, top.values)
        return pre, values


@dataclass(frozen=True, eq=False)
class OracleTranscoders:
    """A transcoder for every layer, and where it reads and writes (TransformerLens hook names)."""

    layers: tuple[OracleLayer, ...]
    reads: str
    writes: str


def read_transcoders(folder: Path) -> OracleTranscoders:
    """Read a folder in circuit-tracer's formats, Gemma Scope's npz files listed by it, or sparsify's."""
    if not (folder / "config.yaml").is_file():
        return _read_sparsify(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    reads, writes = config["feature_input_hook"], config["feature_output_hook"]
    if config["model_kind"] == "cross_layer_transcoder":
        n_layers = len(list(folder.glob("W_enc_*.safetensors")))
        stored = [
            {
                key.rsplit("_", 1)[0]: value
                for side in ("enc", "dec")
                for key, value in load_file(folder / f"W_{side}_{layer}.safetensors").items()
            }
            for layer in range(n_layers)
        ]
    elif "transcoders" in config:
        stored = [_read_npz(folder / name) for name in config["transcoders"]]
    else:
        n_layers = len(list(folder.glob("layer_*.safetensors")))
        stored = [load_file(folder / f"layer_{layer}.safetensors") for layer in range(n_layers)]
    k = int(config["k"]) if config.get("activation") == "topk" else None
    return OracleTranscoders(tuple(_layer(tensors, k) for tensors in stored), reads, writes)


def _read_npz(path: Path) -> dict[str, Tensor]:
    with np.load(path) as archive:
        tensors = {key: torch.from_numpy(archive[key]) for key in archive.files}
    return tensors | {"W_enc": tensors["W_enc"].T}


def _layer(tensors: dict[str, Tensor], k: int | None) -> OracleLayer:
    wide = {key: value.double() for key, value in tensors.items()}
    decoder = wide["W_dec"]
    threshold = wide.get("threshold", wide.get("activation_function.threshold"))
    return OracleLayer(
        encoder=wide["W_enc"],
        encoder_bias=wide["b_enc"],
        decoder=decoder if decoder.dim() == 3 else decoder[:, None],
        decoder_bias=wide["b_dec"],
        threshold=threshold,
        skip=wide.get("W_skip"),
        k=k,
        rectified=k is None and threshold is None,  # circuit-tracer's TopK lets negative values through
    )


def _read_sparsify(folder: Path) -> OracleTranscoders:
    layers = []
    for layer in range(len(list(folder.glob("layers.*.mlp")))):
        place = folder / f"layers.{layer}.mlp"
        config = json.loads((place / "cfg.json").read_text())
        wide = {key: value.double() for key, value in load_file(place / "sae.safetensors").items()}
        layers.append(
            OracleLayer(
                encoder=wide["encoder.weight"],
                encoder_bias=wide["encoder.bias"],
                decoder=wide["W_dec"][:, None],
                decoder_bias=wide["b_dec"],
                threshold=None,
                skip=wide.get("W_skip"),
                k=int(config["k"]),
                rectified=True,
            )
        )
    return OracleTranscoders(tuple(layers), "mlp.hook_in", "mlp.hook_out")


@dataclass(frozen=True, eq=False)
class OracleGraph:
    """What the tracer should find.

    Attributes:
        active: layer, position, feature of each active feature, sorted, `[n_active, 3]`.
        activations: `[n_active]`.
        errors: `[n_layers, n_pos, d_model]`.
        logit_tokens, logit_probabilities: `[n_logits]`.
        logits: of the last position, `[vocab_size]`.
        adjacency: rows are targets, columns sources; active features, errors (layer-major), tokens, logits.
        values: what each target sums to: a feature's pre-activation, a logit over the mean logit (before any
            soft-cap); NaN for errors and tokens, `[n_nodes]`.
        frozen_values: the same in the frozen pass: equal but for rounding, or the frozen pass is not the model.
    """

    active: Tensor
    activations: Tensor
    errors: Tensor
    logit_tokens: Tensor
    logit_probabilities: Tensor
    logits: Tensor
    adjacency: Tensor
    values: Tensor
    frozen_values: Tensor

    @property
    def bias(self) -> Tensor:
        """What reaches each target from no node, `[n_nodes]`; NaN for errors and tokens."""
        return self.values - self.adjacency.sum(1)


def trace_by_autograd(
    hf: nn.Module,
    transcoders: OracleTranscoders,
    tokens: Tensor,
    *,
    zero_positions: int = 1,
    max_n_logits: int = 10,
    desired_logit_probability: float = 0.95,
) -> OracleGraph:
    """Every edge of a prompt, without pruning or a node budget.

    Args:
        hf: a `...ForCausalLM` module in float64 with eager attention.
        transcoders: from `read_transcoders`.
        tokens: `[n_pos]`, taken as they are.
        zero_positions: leading positions without features and errors.
        max_n_logits: most logit nodes.
        desired_logit_probability: fewer where the most probable ones reach this together.
    """
    parts = _Parts(hf, transcoders.writes)
    clean = _record(hf, parts, tokens)
    n_layers, n_pos = len(parts.layers), len(tokens)
    pre, acts, written, errors = [], [], [], []
    for n, layer in enumerate(transcoders.layers):
        x = _read(parts.mlp_norms[n], clean.norm_inputs[parts.mlp_norms[n]], transcoders.reads)
        before, after = layer.encode(x)
        after[:zero_positions] = 0
        pre.append(before)
        acts.append(after)
        written.append(clean.written[n])
        reconstruction = layer.decoder_bias.expand(n_pos, -1).clone()
        for below in range(n + 1):
            decoder = transcoders.layers[below].decoder
            if n - below < decoder.shape[1]:
                reconstruction += acts[below] @ decoder[:, n - below]
        if layer.skip is not None:
            reconstruction += x @ layer.skip.T
        errors.append(written[n] - reconstruction)
        errors[n][:zero_positions] = 0
    active = torch.tensor([[n, p, f] for n, a in enumerate(acts) for p, f in a.nonzero().tolist()]).view(-1, 3)
    probabilities = clean.logits[-1].softmax(-1)
    top, logit_tokens = probabilities.topk(min(max_n_logits, len(probabilities)))
    n_logits = min(int((top.cumsum(0) < desired_logit_probability).sum()) + 1, len(top))
    top, logit_tokens = top[:n_logits], logit_tokens[:n_logits]

    n_targets = len(active) + len(logit_tokens)
    tape = _frozen_pass(hf, parts, transcoders, clean, tokens, n_targets)
    demeaned = clean.raw_logits[-1] - clean.raw_logits[-1].mean()
    values, frozen_values = [], []
    for row, (n, p, f) in enumerate(active.tolist()):
        layer = transcoders.layers[n]
        values.append(pre[n][p, f])
        frozen_values.append(tape.reads[n][row, p] @ layer.encoder[f] + layer.encoder_bias[f])
    for row, token in enumerate(logit_tokens.tolist(), start=len(active)):
        values.append(demeaned[token])
        frozen_values.append(tape.raw_logits[row, -1, token] - tape.raw_logits[row, -1].mean())
    to_embedding, *to_written = torch.autograd.grad(
        torch.stack(frozen_values).sum(), [tape.embedding, *tape.written], allow_unused=True
    )
    full = [torch.zeros_like(tape.embedding) if g is None else g for g in to_written]
    columns = []
    for n, p, f in active.tolist():
        decoder = transcoders.layers[n].decoder[f]
        edge = sum(full[n + k][:, p] @ vector for k, vector in enumerate(decoder))
        columns.append(acts[n][p, f] * cast(Tensor, edge))
    columns += [full[n][:, p] @ errors[n][p] for n in range(n_layers) for p in range(n_pos)]
    columns += [to_embedding[:, p] @ clean.embedding[p] for p in range(n_pos)]
    rows = torch.stack(columns, dim=1)

    n_sources, n_active = rows.shape[1], len(active)
    targets = torch.cat([torch.arange(n_active), torch.arange(n_logits) + n_sources])
    adjacency = torch.zeros(n_sources + n_logits, n_sources + n_logits, dtype=torch.float64)
    adjacency[targets, :n_sources] = rows
    expected = torch.full((len(adjacency),), torch.nan, dtype=torch.float64)
    frozen = expected.clone()
    expected[targets] = torch.stack(values)
    frozen[targets] = torch.stack(frozen_values).detach()
    return OracleGraph(
        active=active,
        activations=torch.stack([acts[n][p, f] for n, p, f in active.tolist()]) if n_active else torch.zeros(0),
        errors=torch.stack(errors),
        logit_tokens=logit_tokens,
        logit_probabilities=top,
        logits=clean.logits[-1],
        adjacency=adjacency,
        values=expected,
        frozen_values=frozen,
    )


class _Parts:
    """The modules of a Hugging Face causal language model, by the names that its family gives them."""

    def __init__(self, hf: nn.Module, writes: str) -> None:
        base: Any = cast(Any, hf).base_model
        base = getattr(base, "language_model", base)
        self.head: nn.Module = cast(Any, hf).get_output_embeddings()
        self.layers: list[Any] = list(base.h if hasattr(base, "h") else base.layers)
        gpt2, gemma = hasattr(base, "h"), hasattr(self.layers[0], "post_feedforward_layernorm")
        before_mlp = "ln_2" if gpt2 else "pre_feedforward_layernorm" if gemma else "post_attention_layernorm"
        after_mlp = "post_feedforward_layernorm" if gemma and writes == "hook_mlp_out" else "mlp"
        self.mlp_norms = [cast(nn.Module, getattr(layer, before_mlp)) for layer in self.layers]
        self.writers = [cast(nn.Module, getattr(layer, after_mlp)) for layer in self.layers]
        self.attentions = [cast(nn.Module, layer.attn if gpt2 else layer.self_attn) for layer in self.layers]
        self.learned_positions = gpt2
        self.token_embedding: nn.Module = cast(Any, hf).get_input_embeddings()
        inside = {id(module) for attention in self.attentions for module in attention.modules()}
        # norms inside attention (queries, keys) shape the pattern alone
        self.norms = [m for m in hf.modules() if type(m).__name__.endswith("Norm") and id(m) not in inside]


def _gain(norm: nn.Module) -> Tensor:
    weight = cast(Tensor, norm.weight).detach().double()
    return 1 + weight if type(norm).__name__.startswith("Gemma") else weight


def _centred(norm: nn.Module, x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True) if isinstance(norm, nn.LayerNorm) else x


def _denominator(norm: Any, x: Tensor) -> Tensor:
    epsilon = next(float(getattr(norm, name)) for name in ("eps", "variance_epsilon") if hasattr(norm, name))
    return (_centred(norm, x).square().mean(-1, keepdim=True) + epsilon).sqrt()


def _frozen_norm(norm: nn.Module, x: Tensor, denominator: Tensor) -> Tensor:
    out = _centred(norm, x) / denominator * _gain(norm)
    bias = getattr(norm, "bias", None)
    return out if bias is None else out + cast(Tensor, bias).detach().double()


def _read(norm: nn.Module, resid_mid: Tensor, point: str, denominator: Tensor | None = None) -> Tensor:
    if point == "hook_resid_mid":
        return resid_mid
    denominator = _denominator(norm, resid_mid) if denominator is None else denominator
    if point == "ln2.hook_normalized":
        return _centred(norm, resid_mid) / denominator
    assert point == "mlp.hook_in"
    return _frozen_norm(norm, resid_mid, denominator)


@dataclass(frozen=True, eq=False)
class _Clean:
    """Constants of the prompt: every tensor of one clean pass that the second one holds fixed."""

    patterns: list[Tensor]
    norm_inputs: dict[nn.Module, Tensor]
    written: list[Tensor]
    embedding: Tensor
    raw_logits: Tensor
    logits: Tensor


@torch.no_grad()
def _record(hf: nn.Module, parts: _Parts, tokens: Tensor) -> _Clean:
    inputs: dict[nn.Module, Tensor] = {}
    outputs: dict[nn.Module, Any] = {}

    def keep(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Any) -> None:
        inputs[module] = args[0] if args else kwargs["hidden_states"]
        outputs[module] = output

    watched = [*parts.norms, *parts.writers, *parts.attentions, parts.layers[0], parts.head, parts.token_embedding]
    with ExitStack() as stack:
        for module in {id(m): m for m in watched}.values():
            stack.enter_context(_removed(cast(Any, module).register_forward_hook(keep, with_kwargs=True)))
        result = cast(Any, hf)(input_ids=tokens[None], use_cache=False)
    patterns = [outputs[attention][1][0].double() for attention in parts.attentions]
    first = outputs[parts.token_embedding] if parts.learned_positions else inputs[parts.layers[0]]
    return _Clean(
        patterns=patterns,
        norm_inputs={norm: inputs[norm][0].double() for norm in parts.norms},
        written=[outputs[writer][0].double() for writer in parts.writers],
        embedding=first[0].double(),
        raw_logits=outputs[parts.head][0].double(),
        logits=result.logits[0].double(),
    )


@dataclass(frozen=True, eq=False)
class _Tape:
    """What the frozen pass leaves to differentiate; all `[n_targets, n_pos, ...]`."""

    embedding: Tensor
    written: list[Tensor]
    reads: list[Tensor]
    raw_logits: Tensor


def _frozen_pass(
    hf: nn.Module, parts: _Parts, transcoders: OracleTranscoders, clean: _Clean, tokens: Tensor, n_copies: int
) -> _Tape:
    embedding = clean.embedding.expand(n_copies, -1, -1).clone().requires_grad_()
    written = [m.expand(n_copies, -1, -1).clone().requires_grad_() for m in clean.written]
    reads: dict[int, Tensor] = {}
    heads: list[Tensor] = []

    def embed(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return embedding

    def enter(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (embedding, *args[1:])

    def write(n: int) -> Callable[..., Tensor]:
        def act(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            skip = transcoders.layers[n].skip
            if skip is None:
                return written[n]
            return written[n] + (reads[n] - reads[n].detach()) @ skip.T

        return act

    def normalise(norm: nn.Module) -> Callable[[Tensor], Tensor]:
        denominator = _denominator(norm, clean.norm_inputs[norm])

        def forward(x: Tensor) -> Tensor:
            for n, before_mlp in enumerate(parts.mlp_norms):
                if norm is before_mlp:
                    reads[n] = _read(norm, x, transcoders.reads, denominator)
            return _frozen_norm(norm, x, denominator)

        return forward

    with ExitStack() as stack:
        for norm in parts.norms:
            stack.enter_context(_replaced_forward(norm, normalise(norm)))
        for n, writer in enumerate(parts.writers):
            stack.enter_context(_removed(cast(Any, writer).register_forward_hook(write(n))))
        if parts.learned_positions:
            stack.enter_context(_removed(cast(Any, parts.token_embedding).register_forward_hook(embed)))
        else:
            stack.enter_context(_removed(parts.layers[0].register_forward_pre_hook(enter)))
        stack.enter_context(
            _removed(cast(Any, parts.head).register_forward_hook(lambda module, args, output: heads.append(output)))
        )
        stack.enter_context(_frozen_patterns(parts, clean.patterns))
        stack.enter_context(torch.enable_grad())
        cast(Any, hf)(input_ids=tokens.expand(n_copies, -1), use_cache=False)
    return _Tape(embedding, written, [reads[n] for n in range(len(parts.layers))], heads[0])


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _replaced_forward(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    own = module.__dict__.get("forward")
    cast(Any, module).forward = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own is not None:
            cast(Any, module).forward = own


@contextmanager
def _frozen_patterns(parts: _Parts, patterns: list[Tensor]) -> Iterator[None]:
    """Attention mixes its values by the recorded patterns; what it computes from queries and keys is dropped."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    by_module = dict(zip(parts.attentions, patterns, strict=True))

    def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> Any:
        pattern = by_module[module]  # [n_heads, n_query, n_key]
        serves = pattern.shape[0] // value.shape[1]
        mixed = [pattern[h] @ value[:, h // serves] for h in range(pattern.shape[0])]
        return torch.stack(mixed, dim=2), pattern

    registry: Any = ALL_ATTENTION_FUNCTIONS
    registry.register(FROZEN, attend)
    configs = {id(config): config for module in parts.attentions for config in [cast(Any, module).config]}
    before = {key: config._attn_implementation for key, config in configs.items()}
    try:
        for config in configs.values():
            config._attn_implementation = FROZEN
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]
