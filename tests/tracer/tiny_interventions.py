"""A random Llama with the embedded model's tokenizer, and random cross-layer transcoders for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from tracescribe.tracer import embedded
from tracescribe.tracer.architectures import bind_architecture
from tracescribe.tracer.clean_run import CleanRun
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet, load_transcoders

N_LAYERS, D_MODEL, N_FEATURES, N_POS = 3, 32, 40, 7
TOKENS = (1, 40, 77, 300, 77, 12, 500)


def make_model() -> LanguageModel:
    """A random Llama with grouped-query attention and the embedded model's tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(json.loads((embedded.model_dir() / "tokenizer.json").read_text())["model"]["vocab"]),
        hidden_size=D_MODEL,
        intermediate_size=64,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=12,
        max_position_embeddings=32,
        initializer_range=0.25,
        attention_bias=True,
    )
    config._attn_implementation = "eager"
    hf = cast(nn.Module, cast(Any, LlamaForCausalLM(config)).eval().requires_grad_(False))
    for name, parameter in hf.named_parameters():
        if name.endswith("bias") or "norm" in name:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    tokenizer = cast(Any, AutoTokenizer).from_pretrained(embedded.model_dir())
    return LanguageModel("tiny", hf, tokenizer, bind_architecture("llama", hf), "0" * 64, Path("tiny"))


def make_transcoders(folder: Path, reads: str, threshold: float | None) -> TranscoderSet:
    """A random cross-layer transcoder on disk, opened as any other."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    for layer in range(N_LAYERS):
        encoder = {
            f"W_enc_{layer}": draw(N_FEATURES, D_MODEL) / D_MODEL**0.5,
            f"b_enc_{layer}": 0.2 * draw(N_FEATURES) - 0.4,
            f"b_dec_{layer}": 0.1 * draw(D_MODEL),
        }
        if threshold is not None:
            encoder[f"threshold_{layer}"] = torch.full((N_FEATURES,), threshold)
        save_file(encoder, folder / f"W_enc_{layer}.safetensors")
        decoder = 0.4 * draw(N_FEATURES, N_LAYERS - layer, D_MODEL)
        save_file({f"W_dec_{layer}": decoder}, folder / f"W_dec_{layer}.safetensors")
    config = {
        "model_name": "tiny",
        "model_kind": "cross_layer_transcoder",
        "feature_input_hook": reads,
        "feature_output_hook": "hook_mlp_out",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return load_transcoders(folder)


def active_nodes(clean: CleanRun) -> list[FeatureNode]:
    return [
        FeatureNode(layer, int(p), int(f))
        for layer in range(N_LAYERS)
        for p, f in clean.activations(layer).nonzero().tolist()
    ]
