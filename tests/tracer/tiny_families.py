"""Tiny random models of every family on disk: every part that a family has is there, random, and makes a difference.

Heads share keys and values where the family can, heads times width differ from the residual stream's width where it
can, windows are shorter than a prompt, soft-caps bite, and every bias and gain is random.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.synthetic import write_word_tokenizer

FAMILIES: tuple[str, ...] = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "gemma3", "gpt2")
"""`model_type` of every supported family."""

N_LAYERS = 3
VOCAB_SIZE = 40

_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
    "tie_word_embeddings": False,
}
_HEAD_WIDTH = {"head_dim": 6}  # 4 heads of 6 are not the 16 of the residual stream
_WINDOW = {"sliding_window": 4}
_GPT2_NAMES = {
    "hidden_size": "n_embd",
    "intermediate_size": "n_inner",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}


def make_family(
    folder: Path, family: str, *, dtype: str = "float64", seed: int = 0, device: str = "cpu", **config: Any
) -> LanguageModel:
    """Write a random model of one family and open it like any other.

    Args:
        folder: where it goes; made if it is not there.
        family: one of `FAMILIES`.
        dtype: in which it is opened; the file holds float64.
        seed: of the weights.
        device: where it is opened.
        config: changes to its configuration, under the names that `transformers` gives most families
            (`num_hidden_layers`, `tie_word_embeddings`, ...); translated for GPT-2.
    """
    write_family(folder, family, seed=seed, **config)
    return load_model(folder, dtype=dtype, device=device)


def write_family(folder: Path, family: str, *, seed: int = 0, **config: Any) -> None:
    """A random model of one family and a word-level tokenizer, as `transformers` saves them; see `make_family`."""
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = _COMMON | _SETTINGS[family] | config
    if family.startswith("gemma"):
        kinds = ["sliding_attention", "full_attention"]
        settings = {"layer_types": [kinds[n % 2] for n in range(settings["num_hidden_layers"])]} | settings
    hf = cast(nn.Module, _BUILDERS[family](settings)).to(torch.float64)
    randomize(hf, seed, gain=0.0 if family.startswith("gemma") else 1.0)
    cast(Any, hf).save_pretrained(folder)
    write_word_tokenizer(folder, settings["vocab_size"])


def randomize(hf: nn.Module, seed: int, gain: float) -> None:
    """Draw every weight anew; the weights of norms lie around `gain`."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in hf.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = (0.3 if parameter.dim() > 1 else 0.2) * drawn
        is_norm = "norm" in name or ".ln_" in name
        if is_norm and name.endswith("weight"):
            parameter.data += gain


def _llama(settings: dict[str, Any]) -> object:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(cast(Any, LlamaConfig)(**settings))


def _mistral(settings: dict[str, Any]) -> object:
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(cast(Any, MistralConfig)(**settings))


def _qwen2(settings: dict[str, Any]) -> object:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(cast(Any, Qwen2Config)(**settings))


def _qwen3(settings: dict[str, Any]) -> object:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(cast(Any, Qwen3Config)(**settings))


def _gemma2(settings: dict[str, Any]) -> object:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    return Gemma2ForCausalLM(cast(Any, Gemma2Config)(**settings))


def _gemma3_text(settings: dict[str, Any]) -> object:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    return Gemma3ForCausalLM(cast(Any, Gemma3TextConfig)(**settings))


def _gemma3(settings: dict[str, Any]) -> object:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vision = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
    }
    tied = settings.pop("tie_word_embeddings")
    config = cast(Any, Gemma3Config)(
        text_config=settings, vision_config=vision, mm_tokens_per_image=4, tie_word_embeddings=tied
    )
    return Gemma3ForConditionalGeneration(config)


def _gpt2(settings: dict[str, Any]) -> object:
    from transformers import GPT2Config, GPT2LMHeadModel

    translated = {_GPT2_NAMES.get(key, key): value for key, value in settings.items()}
    del translated["num_key_value_heads"]
    return GPT2LMHeadModel(cast(Any, GPT2Config)(**translated))


_BUILDERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3_text,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "llama": {
        **_HEAD_WIDTH,
        "attention_bias": True,
        "mlp_bias": True,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    },
    "mistral": _HEAD_WIDTH | _WINDOW,
    "qwen2": {},
    "qwen3": {**_HEAD_WIDTH, "attention_bias": True},
    "gemma2": {
        **_HEAD_WIDTH,
        **_WINDOW,
        "query_pre_attn_scalar": 9,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
        "tie_word_embeddings": True,
    },
    "gemma3_text": {**_HEAD_WIDTH, **_WINDOW, "query_pre_attn_scalar": 9, "tie_word_embeddings": True},
    "gemma3": {**_HEAD_WIDTH, **_WINDOW, "query_pre_attn_scalar": 9, "tie_word_embeddings": True},
    "gpt2": {"tie_word_embeddings": True},
}
