"""The two passes of the autograd oracle through Hugging Face's own modules: one recorded, one with constants of the first.

Norms and the softmax of attention, which `transformers` takes in float32 whatever the weights are, are float64 here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tests.tracer.oracle_transcoders import OracleTranscoders

ATTENTION = "tests_oracle"
"""Name under which the oracle's own attention functions are registered with `transformers`."""


def open_hugging_face(folder: Path) -> nn.Module:
    """A model folder as a `...ForCausalLM` module in float64, by `transformers` alone."""
    from transformers import AutoModelForCausalLM

    loaded: Any = cast(Any, AutoModelForCausalLM).from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float64, local_files_only=True
    )
    return cast(nn.Module, loaded.eval().requires_grad_(False))


class Parts:
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
        norms = [m for m in base.modules() if type(m).__name__.endswith("Norm")]
        self.norms = [norm for norm in norms if id(norm) not in inside]
        self.head_norms = [norm for norm in norms if id(norm) in inside]  # of queries and keys: shape the pattern alone


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


def _exact_norm(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        return _frozen_norm(norm, x, _denominator(norm, x))

    return forward


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Any,
    scaling: float = 1.0,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[Tensor, Tensor]:
    """Attention in float64 with a mask of its own: values `[1, n_pos, n_heads, d_head]` and the pattern."""
    n_heads, n_pos = query.shape[1:3]
    serves = n_heads // key.shape[1]
    distance = torch.arange(n_pos)[:, None] - torch.arange(n_pos)
    hidden = distance < 0 if sliding_window is None else (distance < 0) | (distance >= sliding_window)
    patterns, mixed = [], []
    for h in range(n_heads):
        scores = scaling * query[0, h] @ key[0, h // serves].T
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        patterns.append(scores.masked_fill(hidden, -torch.inf).softmax(-1))
        mixed.append(patterns[h] @ value[0, h // serves])
    return torch.stack(mixed, dim=1)[None], torch.stack(patterns)[None]


def read(norm: nn.Module, resid_mid: Tensor, point: str, denominator: Tensor | None = None) -> Tensor:
    if point == "hook_resid_mid":
        return resid_mid
    denominator = _denominator(norm, resid_mid) if denominator is None else denominator
    if point == "ln2.hook_normalized":
        return _centred(norm, resid_mid) / denominator
    assert point == "mlp.hook_in"
    return _frozen_norm(norm, resid_mid, denominator)


@dataclass(frozen=True, eq=False)
class CleanPass:
    """Constants of the prompt: every tensor of one clean pass that the second one holds fixed."""

    patterns: list[Tensor]
    norm_inputs: dict[nn.Module, Tensor]
    written: list[Tensor]
    embedding: Tensor
    raw_logits: Tensor
    logits: Tensor


@torch.no_grad()
def record(hf: nn.Module, parts: Parts, tokens: Tensor) -> CleanPass:
    inputs: dict[nn.Module, Tensor] = {}
    outputs: dict[nn.Module, Any] = {}

    def keep(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Any) -> None:
        inputs[module] = args[0] if args else kwargs["hidden_states"]
        outputs[module] = output

    watched = [*parts.norms, *parts.writers, *parts.attentions, parts.layers[0], parts.head, parts.token_embedding]
    with ExitStack() as stack:
        for norm in (*parts.norms, *parts.head_norms):
            stack.enter_context(_replaced_forward(norm, _exact_norm(norm)))
        stack.enter_context(_replaced_attention(parts, _attend))
        for module in {id(m): m for m in watched}.values():
            stack.enter_context(_removed(cast(Any, module).register_forward_hook(keep, with_kwargs=True)))
        result = cast(Any, hf)(input_ids=tokens[None], use_cache=False)
    patterns = [outputs[attention][1][0].double() for attention in parts.attentions]
    first = outputs[parts.token_embedding] if parts.learned_positions else inputs[parts.layers[0]]
    return CleanPass(
        patterns=patterns,
        norm_inputs={norm: inputs[norm][0].double() for norm in parts.norms},
        written=[outputs[writer][0].double() for writer in parts.writers],
        embedding=first[0].double(),
        raw_logits=outputs[parts.head][0].double(),
        logits=result.logits[0].double(),
    )


@dataclass(frozen=True, eq=False)
class Tape:
    """What the frozen pass leaves to differentiate; all `[n_targets, n_pos, ...]`."""

    embedding: Tensor
    written: list[Tensor]
    reads: list[Tensor]
    raw_logits: Tensor


def frozen_pass(
    hf: nn.Module, parts: Parts, transcoders: OracleTranscoders, clean: CleanPass, tokens: Tensor, n_copies: int
) -> Tape:
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
                    reads[n] = read(norm, x, transcoders.reads, denominator)
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
        stack.enter_context(_replaced_attention(parts, _frozen_patterns(parts, clean.patterns)))
        stack.enter_context(torch.enable_grad())
        cast(Any, hf)(input_ids=tokens.expand(n_copies, -1), use_cache=False)
    return Tape(embedding, written, [reads[n] for n in range(len(parts.layers))], heads[0])


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
def _replaced_attention(parts: Parts, attend: Callable[..., Any]) -> Iterator[None]:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    cast(Any, ALL_ATTENTION_FUNCTIONS).register(ATTENTION, attend)
    configs = {id(config): config for module in parts.attentions for config in [cast(Any, module).config]}
    before = {key: config._attn_implementation for key, config in configs.items()}
    try:
        for config in configs.values():
            config._attn_implementation = ATTENTION
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]


def _frozen_patterns(parts: Parts, patterns: list[Tensor]) -> Callable[..., Any]:
    """Attention that mixes its values by recorded patterns; what it computes from queries and keys is dropped."""
    by_module = dict(zip(parts.attentions, patterns, strict=True))

    def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> Any:
        pattern = by_module[module]  # [n_heads, n_query, n_key]
        serves = pattern.shape[0] // value.shape[1]
        mixed = [pattern[h] @ value[:, h // serves] for h in range(pattern.shape[0])]
        return torch.stack(mixed, dim=2), pattern

    return attend
