"""Random models with random transcoders, of any shape, on disk: what speed and memory are measured on.

Nothing is trained. Weights are normal with the scale that keeps the residual stream near unit size, and encoder biases are
set from a few random prompts so that a chosen number of features fires in each layer at each position. The cost of a
trace depends on these numbers and not on what features mean. One seed gives one pair, byte for byte.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.provenance import write_text_atomic

SyntheticKind = Literal["clt", "plt"]
"""A cross-layer transcoder, or one transcoder per layer."""

SYNTHETIC_FAMILIES = ("gemma2", "gemma3_text", "gpt2", "llama", "mistral", "qwen2", "qwen3")
"""Families of which a random model can be written, by `model_type`."""

N_SPECIAL = 3
"""`<bos>`, `<eos>` and `<unk>` have the first ids."""

_CALIBRATION_PROMPTS = 8
_CALIBRATION_LENGTH = 64
_CALIBRATION_VALUES = 1 << 22  # pre-activations that a bias is set from: enough for three digits, and bounded
_EMBEDDING_SCALE = 1.0
_POSITION_SCALE = 0.1  # learned positions tell positions apart without drowning the words
_GAIN_SPREAD = 0.1
_BIAS_SCALE = 0.02


@dataclass(frozen=True)
class SyntheticShape:
    """What a random pair looks like.

    Attributes:
        family: `model_type`, one of `SYNTHETIC_FAMILIES`.
        kind: of the transcoders.
        n_layers, d_model, n_heads, n_kv_heads, d_mlp, vocab_size, max_positions: of the model. GPT-2 has as many
            key/value heads as query heads, whatever `n_kv_heads` says.
        n_features: per layer.
        n_active: features that fire per layer and position, on average.
        skip: whether each layer has a skip path (per-layer transcoders only).
        jump: whether features have a threshold (JumpReLU) and not ReLU alone.
        seed: of every draw.
    """

    family: str = "llama"
    kind: SyntheticKind = "clt"
    n_layers: int = 8
    d_model: int = 256
    n_heads: int = 8
    n_kv_heads: int = 4
    d_mlp: int = 512
    vocab_size: int = 512
    max_positions: int = 4096
    n_features: int = 2000
    n_active: float = 16.0
    skip: bool = False
    jump: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        faults: list[str] = []
        if self.family not in SYNTHETIC_FAMILIES:
            faults.append(f"family is {self.family!r}, expected one of {', '.join(SYNTHETIC_FAMILIES)}")
        if self.kind not in ("clt", "plt"):
            faults.append(f"kind is {self.kind!r}, expected clt or plt")
        for name in ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_mlp", "n_features"):
            if getattr(self, name) < 1:
                faults.append(f"{name} is {getattr(self, name)}, expected 1 or more")
        if self.vocab_size <= N_SPECIAL:
            faults.append(f"vocab_size is {self.vocab_size}, expected more than {N_SPECIAL}")
        if not faults and (self.d_model % (2 * self.n_heads) or self.n_heads % self.n_kv_heads):
            faults.append(
                f"d_model {self.d_model}, n_heads {self.n_heads} and n_kv_heads {self.n_kv_heads}: each head needs an "
                "even width, and query heads must divide among key/value heads"
            )
        if not 0 < self.n_active < self.n_features:
            faults.append(f"n_active is {self.n_active}, expected above 0 and below n_features ({self.n_features})")
        if self.skip and self.kind == "clt":
            faults.append("skip paths are written for per-layer transcoders only")
        if faults:
            raise SettingError(f"synthetic pair: {'; '.join(faults)}")


@dataclass(frozen=True)
class SyntheticPair:
    """Folders of a random pair, as `load_model` and `load_transcoders` take them."""

    model: Path
    transcoders: Path


def write_synthetic(folder: Path, shape: SyntheticShape) -> SyntheticPair:
    """Write a random model and its transcoders to `folder/model` and `folder/transcoders`.

    Raises:
        OutputError: the folder cannot be written to.
    """
    pair = SyntheticPair(folder / "model", folder / "transcoders")
    hf = random_model(shape)
    for path in (pair.model, pair.transcoders):
        path.mkdir(parents=True, exist_ok=True)
    _save_model(pair.model, hf)
    write_word_tokenizer(pair.model, shape.vocab_size)
    write_random_transcoders(pair.transcoders, hf, shape)
    return pair


def _save_model(folder: Path, hf: nn.Module) -> None:
    """As `save_pretrained` does it, without its progress bar."""
    from safetensors.torch import save_file

    config = cast(Any, hf).config
    config.architectures = [type(hf).__name__]
    config.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in hf.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def random_tokens(n_pos: int, shape: SyntheticShape, seed: int = 0) -> Tensor:
    """BOS and random words, `[n_pos]` int64."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(N_SPECIAL, shape.vocab_size, (n_pos - 1,), generator=generator)
    return torch.cat([torch.zeros(1, dtype=torch.int64), words])


def random_model(shape: SyntheticShape) -> nn.Module:
    """A random `...ForCausalLM` in float32, in evaluation mode, without gradients."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = cast(Any, AutoConfig).for_model(shape.family, **_config(shape))
    hf = cast(nn.Module, cast(Any, AutoModelForCausalLM).from_config(config, attn_implementation="eager"))
    generator = torch.Generator().manual_seed(shape.seed)
    for name, module in hf.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if own:
            _fill(name, module, own, shape, generator)
    return hf.float().eval().requires_grad_(False)


def _config(shape: SyntheticShape) -> dict[str, Any]:
    """Arguments of the family's configuration. Embeddings are untied, so that logits are spread and ten are nodes."""
    common: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": None,
        "tie_word_embeddings": False,
    }
    if shape.family == "gpt2":
        return common | {
            "n_embd": shape.d_model,
            "n_layer": shape.n_layers,
            "n_head": shape.n_heads,
            "n_inner": shape.d_mlp,
            "n_positions": shape.max_positions,
        }
    d_head = shape.d_model // shape.n_heads
    gemma = {"query_pre_attn_scalar": d_head} if shape.family.startswith("gemma") else {}
    return (
        common
        | gemma
        | {
            "hidden_size": shape.d_model,
            "intermediate_size": shape.d_mlp,
            "num_hidden_layers": shape.n_layers,
            "num_attention_heads": shape.n_heads,
            "num_key_value_heads": shape.n_kv_heads,
            "head_dim": d_head,
            "max_position_embeddings": shape.max_positions,
        }
    )


def _fill(
    name: str, module: nn.Module, own: dict[str, nn.Parameter], shape: SyntheticShape, generator: torch.Generator
) -> None:
    """Draw the parameters that belong to one module itself."""
    gemma = shape.family.startswith("gemma")
    for key, parameter in own.items():
        draw = torch.randn(parameter.shape, generator=generator)
        if key == "bias":
            parameter.data = _BIAS_SCALE * draw
        elif isinstance(module, nn.Embedding):
            scale = _POSITION_SCALE if name.endswith("wpe") else _EMBEDDING_SCALE
            # Gemma multiplies by sqrt(d_model) on the way into the residual stream
            parameter.data = draw * (scale / shape.d_model**0.5 if gemma else scale)
        elif parameter.dim() > 1:
            n_in = parameter.shape[0] if type(module).__name__ == "Conv1D" else parameter.shape[1]
            parameter.data = draw / n_in**0.5
        else:  # a norm's gain, which Gemma stores less one
            parameter.data = _GAIN_SPREAD * draw + (0.0 if gemma else 1.0)


def write_word_tokenizer(folder: Path, vocab_size: int) -> None:
    """A tokenizer of the words `w3`, `w4`, ... after `<bos>`, `<eos>` and `<unk>`; BOS leads every prompt."""
    special_tokens = ("<bos>", "<eos>", "<unk>")
    words = {word: i for i, word in enumerate(special_tokens)} | {f"w{i}": i for i in range(N_SPECIAL, vocab_size)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    pieces: list[dict[str, Any]] = [
        {"SpecialToken": {"id": "<bos>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": words[word], "content": word, **flags} for word in special_tokens],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": pieces,
            "pair": [*pieces, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [0], "tokens": ["<bos>"]}},
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
    }
    write_text_atomic(folder / "tokenizer.json", json.dumps(document))
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    write_text_atomic(
        folder / "tokenizer_config.json", json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **names})
    )


def write_random_transcoders(folder: Path, hf: nn.Module, shape: SyntheticShape) -> None:
    """Write random transcoders in circuit-tracer's format; they read `mlp.hook_in` and write `hook_mlp_out`."""
    import yaml

    calls = _mlp_calls(hf, shape)
    generator = torch.Generator().manual_seed(shape.seed + 1)
    for layer, (x, out) in enumerate(calls):
        weight = torch.randn(shape.n_features, shape.d_model, generator=generator) / x.pow(2).sum(-1).mean().sqrt()
        pre = x @ weight.T
        cut = _quantile(pre, shape.n_active / shape.n_features)
        active = pre[pre > cut] - (0.0 if shape.jump else cut)
        n_written = shape.n_layers - layer if shape.kind == "clt" else 1
        # so that together all features that write to a layer write about as much as its MLP does
        n_writers = shape.n_active * (layer + 1 if shape.kind == "clt" else 1)
        scale = out.pow(2).mean().sqrt() / (n_writers**0.5 * active.pow(2).mean().sqrt())
        decoder = float(scale) * torch.randn(shape.n_features, n_written, shape.d_model, generator=generator)
        tensors = {
            "W_enc": weight,
            "b_enc": torch.full((shape.n_features,), 0.0 if shape.jump else -cut),
            "b_dec": 0.1 * float(scale) * torch.randn(shape.d_model, generator=generator),
        }
        if shape.jump:
            tensors["threshold"] = torch.full((shape.n_features,), cut)
        if shape.skip:
            tensors["W_skip"] = torch.randn(shape.d_model, shape.d_model, generator=generator) / (
                2 * shape.d_model**0.5
            )
        _save_layer(folder, layer, tensors, decoder, shape.kind)
    config = {
        "model_name": f"synthetic-{shape.family}",
        "model_kind": "cross_layer_transcoder" if shape.kind == "clt" else "transcoder_set",
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "hook_mlp_out",
    }
    write_text_atomic(folder / "config.yaml", yaml.safe_dump(config))


def _save_layer(folder: Path, layer: int, tensors: dict[str, Tensor], decoder: Tensor, kind: SyntheticKind) -> None:
    from safetensors.torch import save_file

    if kind == "clt":
        save_file({f"{key}_{layer}": value for key, value in tensors.items()}, folder / f"W_enc_{layer}.safetensors")
        save_file({f"W_dec_{layer}": decoder}, folder / f"W_dec_{layer}.safetensors")
        return
    names = {"threshold": "activation_function.threshold"}
    renamed = {names.get(key, key): value for key, value in tensors.items()}
    save_file(renamed | {"W_dec": decoder[:, 0].contiguous()}, folder / f"layer_{layer}.safetensors")


@torch.no_grad()
def _mlp_calls(hf: nn.Module, shape: SyntheticShape) -> list[tuple[Tensor, Tensor]]:
    """Inputs and outputs of every MLP on random prompts, BOS left out: a pair of `[n, d_model]` per layer."""
    n_pos = min(_CALIBRATION_LENGTH, shape.max_positions)
    prompts = torch.stack([random_tokens(n_pos, shape, seed) for seed in range(_CALIBRATION_PROMPTS)])
    modules = [module for name, module in hf.named_modules() if name.rpartition(".")[2] == "mlp"]
    seen: dict[int, tuple[Tensor, Tensor]] = {}

    def keep(index: int) -> Any:
        def hook(_module: nn.Module, arguments: tuple[Tensor, ...], out: Tensor) -> None:
            seen[index] = (arguments[0][:, 1:].flatten(0, 1), out[:, 1:].flatten(0, 1))

        return hook

    handles = [module.register_forward_hook(keep(index)) for index, module in enumerate(modules)]
    try:
        hf(prompts, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [seen[index] for index in range(len(modules))]


def _quantile(values: Tensor, above: float) -> float:
    """The number that a share `above` of the values exceeds; rows are thinned out where there are very many."""
    step = -(-values.numel() // _CALIBRATION_VALUES)
    flat = values[::step].flatten()
    return float(flat.kthvalue(max(1, min(len(flat), round((1 - above) * len(flat))))).values)
