"""Tiny random Llamas with random cross-layer transcoders on disk: every prompt position is alive, and nothing was trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.synthetic import write_word_tokenizer
from tracescribe.tracer.transcoders import TranscoderSet, load_transcoders


@dataclass(frozen=True)
class TinyShape:
    """What a random pair looks like.

    Attributes:
        n_features: per layer; its length is the number of layers.
        n_heads, n_kv_heads, d_head: attention; `n_heads * d_head` may differ from `d_model`.
        jump: whether thresholds are stored (JumpReLU).
        silent: whether no feature ever fires.
    """

    seed: int = 0
    n_features: tuple[int, ...] = (24, 32, 16)
    d_model: int = 16
    n_heads: int = 4
    n_kv_heads: int = 2
    d_head: int = 6
    vocab_size: int = 40
    reads: str = "mlp.hook_in"
    writes: str = "hook_mlp_out"
    jump: bool = False
    attention_bias: bool = False
    tied: bool = False
    silent: bool = False
    config: dict[str, Any] = field(default_factory=dict)


def write_model(folder: Path, shape: TinyShape) -> None:
    """A random `LlamaForCausalLM` and a word-level tokenizer, as `transformers` saves them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = cast(Any, LlamaConfig)(
        vocab_size=shape.vocab_size,
        hidden_size=shape.d_model,
        intermediate_size=32,
        num_hidden_layers=len(shape.n_features),
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        head_dim=shape.d_head,
        max_position_embeddings=32,
        attention_bias=shape.attention_bias,
        tie_word_embeddings=shape.tied,
        bos_token_id=0,
        eos_token_id=1,
        **shape.config,
    )
    generator = torch.Generator().manual_seed(shape.seed)
    hf = cast(nn.Module, LlamaForCausalLM(config))
    for name, parameter in hf.named_parameters():
        scale = 0.3 if parameter.dim() > 1 else 0.2
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            parameter.data += 1
    cast(Any, hf).save_pretrained(folder)
    write_word_tokenizer(folder, shape.vocab_size)


def write_transcoders(folder: Path, shape: TinyShape) -> None:
    """A random CLT in circuit-tracer's format, ragged where `shape.n_features` is."""
    generator = torch.Generator().manual_seed(shape.seed + 1)

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    n_layers, d_model = len(shape.n_features), shape.d_model
    for layer, width in enumerate(shape.n_features):
        encoder = {
            f"W_enc_{layer}": draw(width, d_model) / d_model**0.5,
            f"b_enc_{layer}": 0.2 * draw(width) - (100.0 if shape.silent else 0.3),
            f"b_dec_{layer}": 0.2 * draw(d_model),
        }
        if shape.jump:
            encoder[f"threshold_{layer}"] = 0.5 * torch.rand(width, generator=generator)
        save_file(encoder, folder / f"W_enc_{layer}.safetensors")
        save_file(
            {f"W_dec_{layer}": 0.4 * draw(width, n_layers - layer, d_model)}, folder / f"W_dec_{layer}.safetensors"
        )
    config = {
        "model_name": "tiny",
        "model_kind": "cross_layer_transcoder",
        "feature_input_hook": shape.reads,
        "feature_output_hook": shape.writes,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def make_pair(folder: Path, shape: TinyShape) -> tuple[LanguageModel, TranscoderSet]:
    """Write a random pair below a folder and open it like any other."""
    for name in ("model", "transcoder"):
        (folder / name).mkdir()
    write_model(folder / "model", shape)
    write_transcoders(folder / "transcoder", shape)
    return load_model(folder / "model"), load_transcoders(folder / "transcoder")


def random_tokens(n_pos: int, shape: TinyShape, seed: int = 0) -> Tensor:
    """BOS and random words, `[n_pos]`."""
    words = torch.randint(3, shape.vocab_size, (n_pos - 1,), generator=torch.Generator().manual_seed(seed))
    return torch.cat([torch.zeros(1, dtype=torch.int64), words])
