"""Every family: its adapter's parts give the model's own forward pass, to 1e-9 in float64, and nothing less passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.tracer.tiny_families import FAMILIES, make_family, write_family
from tracescribe.tracer.architectures import supported_families
from tracescribe.tracer.architectures.base import LN2_NORMALIZED, MLP_IN, READ_POINTS, RESID_MID, Architecture, Block
from tracescribe.tracer.errors import UnknownModelError
from tracescribe.tracer.float64_modules import ATTENTION
from tracescribe.tracer.models import LanguageModel, load_model

EXACT = 1e-9
"""Error in float64, relative to the largest value: sums in another order give 1e-15."""

ROUNDING = 3e-6
"""Error where one side keeps norms and softmax in float32."""

WINDOW = 4
N_TOKENS = 13

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{family: (family, {}) for family in FAMILIES},
    "llama, no biases, tied": ("llama", {"attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True}),
    "llama, one key head": ("llama", {"num_key_value_heads": 1, "num_hidden_layers": 2}),
    "mistral, no window": ("mistral", {"sliding_window": None, "num_key_value_heads": 4}),
    "qwen2, tied": ("qwen2", {"tie_word_embeddings": True, "num_hidden_layers": 2}),
    "gemma2, no caps": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "gemma3_text, untied": ("gemma3_text", {"tie_word_embeddings": False, "num_hidden_layers": 4}),
    "gpt2, scores scaled by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False}),
}


@dataclass(frozen=True)
class Passed:
    """What one forward pass of the Hugging Face module showed.

    Attributes:
        inputs, outputs: by module, of the first row: `[n_pos, ...]`.
        patterns: by attention module, `[n_heads, n_pos, n_pos]`.
        logits: `[n_pos, vocab_size]`.
    """

    inputs: dict[nn.Module, Tensor]
    outputs: dict[nn.Module, Tensor]
    patterns: dict[nn.Module, Tensor]
    logits: Tensor


def run(model: LanguageModel) -> Passed:
    """Run a fixed prompt and keep what goes through the modules that the adapter names."""
    inputs, outputs, patterns = dict[nn.Module, Tensor](), dict[nn.Module, Tensor](), dict[nn.Module, Tensor]()
    architecture = model.architecture

    def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if args:
            inputs[module] = args[0][0]
        if isinstance(output, tuple):
            patterns[module] = output[1][0]
        outputs[module] = (output[0] if isinstance(output, tuple) else output)[0]

    modules = {architecture.final_norm.module, *([architecture.embedding] if architecture.embedding else [])}
    for block in architecture.blocks:
        norms = (block.attention_norm, block.mlp_norm, block.attention_post_norm, block.mlp_post_norm)
        modules |= {norm.module for norm in (*norms, *block.head_norms) if norm is not None}
        modules |= {block.module, block.attention, block.mlp, *block.write_modules.values()}
    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        with torch.no_grad():
            output = cast(Any, model.hf)(tokens()[None], use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return Passed(inputs, outputs, patterns, output.logits[0])


def tokens() -> Tensor:
    """`[n_pos]`: longer than every window."""
    drawn = torch.randint(3, 40, (N_TOKENS - 1,), generator=torch.Generator().manual_seed(7))
    return torch.cat([torch.zeros(1, dtype=torch.int64), drawn])


def gap(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def attention_write(architecture: Architecture, block: Block, resid_pre: Tensor, pattern: Tensor) -> Tensor:
    """What attention adds to the residual stream, from the adapter's parts and a pattern."""
    wide = resid_pre.dtype
    values = block.attention_norm.apply(resid_pre) @ block.v_weight.to(wide).T
    if block.v_bias is not None:
        values = values + block.v_bias
    group = architecture.n_heads // architecture.n_kv_heads
    heads = torch.unflatten(values, 1, (architecture.n_kv_heads, -1)).repeat_interleave(group, 1)
    written = torch.einsum("hqk,khe->qhe", pattern.to(wide), heads).flatten(1) @ block.o_weight.to(wide).T
    if block.o_bias is not None:
        written = written + block.o_bias
    return written if block.attention_post_norm is None else block.attention_post_norm.apply(written)


def worst_gap(architecture: Architecture, passed: Passed) -> float:
    """Worst error of the residual stream after attention and after the MLP, and of the logits."""
    stream = passed.inputs[architecture.blocks[0].attention_norm.module]
    gaps = []
    for block in architecture.blocks:
        pre, mid = passed.inputs[block.attention_norm.module], passed.inputs[block.mlp_norm.module]
        gaps.append(gap(stream, pre))
        stream = pre + attention_write(architecture, block, pre, passed.patterns[block.attention])
        gaps.append(gap(stream, mid))
        for point, module in block.write_modules.items():
            written, norm = passed.outputs[module], block.write_norm(point)
            stream = mid + (written if norm is None else norm.apply(written))
            gaps.append(gap(stream, passed.outputs[block.module]))
    final = passed.inputs[architecture.final_norm.module]
    gaps.append(gap(stream, final))
    logits = architecture.final_norm.apply(final) @ architecture.unembedding.to(final.dtype).T
    if architecture.logit_softcap is not None:
        logits = architecture.logit_softcap * torch.tanh(logits / architecture.logit_softcap)
    return max(*gaps, gap(logits, passed.logits))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[LanguageModel, Passed]]:
    """A variant's model in float64 with its forward pass, each made once."""
    made: dict[str, tuple[LanguageModel, Passed]] = {}

    def open_variant(name: str) -> tuple[LanguageModel, Passed]:
        if name not in made:
            family, config = VARIANTS[name]
            model = make_family(tmp_path_factory.mktemp("family") / "tiny", family, seed=len(name), **config)
            made[name] = model, run(model)
        return made[name]

    return open_variant


def stock(model: LanguageModel) -> Any:
    """The same folder opened by `transformers` alone: nothing of ours stands in its norms or its attention."""
    from transformers import AutoModelForCausalLM

    loaded = cast(Any, AutoModelForCausalLM).from_pretrained(
        model.path, attn_implementation="eager", dtype=torch.float64
    )
    return loaded.eval()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_parts_give_the_forward_pass(opened: Callable[[str], tuple[LanguageModel, Passed]], name: str) -> None:
    model, passed = opened(name)
    assert model.architecture.family == VARIANTS[name][0]
    assert worst_gap(model.architecture, passed) < EXACT


@pytest.mark.parametrize("name", VARIANTS)
def test_float64_models_are_those_of_transformers(
    opened: Callable[[str], tuple[LanguageModel, Passed]], name: str
) -> None:
    """Logits, and patterns with their masks, windows, soft-caps and head norms, but for float32 inside `transformers`."""
    model, passed = opened(name)
    with torch.no_grad():
        output = stock(model)(tokens()[None], output_attentions=True)
    assert gap(passed.logits, output.logits[0]) < ROUNDING
    for block, pattern in zip(model.architecture.blocks, output.attentions, strict=True):
        assert gap(passed.patterns[block.attention], pattern[0]) < ROUNDING


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_models_give_the_forward_pass_with_modules_of_transformers(family: str, tmp_path: Path) -> None:
    model = make_family(tmp_path, family, dtype="float32", seed=3)
    assert cast(Any, model.hf).config._attn_implementation == "eager"
    assert worst_gap(model.architecture, run(model)) < ROUNDING


@pytest.mark.parametrize("name", VARIANTS)
def test_float64_models_compute_in_float64(opened: Callable[[str], tuple[LanguageModel, Passed]], name: str) -> None:
    """Norms, those of heads included, and softmax; by formulas that do not come from the adapter."""
    model, passed = opened(name)
    assert {p.dtype for p in model.hf.parameters()} == {torch.float64}
    family = model.architecture.family
    for block in model.architecture.blocks:
        assert len(block.head_norms) == (2 if family in {"qwen3", "gemma3", "gemma3_text"} else 0)
        sums = passed.patterns[block.attention].sum(-1)
        assert float((sums - 1).abs().max()) < 1e-14
        for norm in (block.attention_norm, block.mlp_norm, *block.head_norms):
            x, weight = passed.inputs[norm.module], cast(Tensor, norm.module.weight)
            if family == "gpt2":
                expected = nn.functional.layer_norm(x, x.shape[-1:], weight, cast(Tensor, norm.module.bias), 1e-5)
            else:
                shift = 1.0 if family.startswith("gemma") else 0.0
                expected = (shift + weight) * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
            assert gap(passed.outputs[norm.module], expected) < 1e-14


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3_text", "gemma3"])
def test_windows_are_in_the_patterns(opened: Callable[[str], tuple[LanguageModel, Passed]], family: str) -> None:
    """A query sees the last keys of the window, itself included, in every layer of mistral and every other of gemma."""
    model, passed = opened(family)
    query, key = torch.arange(N_TOKENS)[:, None], torch.arange(N_TOKENS)
    causal, near = key <= query, key > query - WINDOW
    for layer, block in enumerate(model.architecture.blocks):
        slides = family == "mistral" or layer % 2 == 0
        seen = (passed.patterns[block.attention] > 0).all(0)
        assert torch.equal(seen, causal & near if slides else causal)


@pytest.mark.parametrize("family", FAMILIES)
def test_token_vectors_are_the_embeddings_as_they_enter_the_stream(
    opened: Callable[[str], tuple[LanguageModel, Passed]], family: str
) -> None:
    model, passed = opened(family)
    parts = model.architecture
    source = (
        passed.outputs[parts.embedding] if parts.embedding else passed.inputs[parts.blocks[0].attention_norm.module]
    )
    embedding = cast(Any, model.hf).get_input_embeddings().weight[tokens()]
    scale = model.d_model**0.5 if family.startswith("gemma") else 1.0
    assert gap(source, scale * embedding) < 1e-7, "transformers keeps the scale in float32"
    enters = passed.inputs[parts.blocks[0].attention_norm.module]
    assert (gap(source, enters) > 0.1) == (family == "gpt2"), "learned positions are added behind GPT-2's embedding"


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_is_linear_and_the_covector_is_its_transpose(
    opened: Callable[[str], tuple[LanguageModel, Passed]], family: str
) -> None:
    model, passed = opened(family)
    generator = torch.Generator().manual_seed(1)
    for block in model.architecture.blocks:
        mid = passed.inputs[block.mlp_norm.module]
        denominator = block.mlp_norm.denominator(mid)
        assert gap(block.read(MLP_IN, mid), passed.inputs[block.mlp]) < 1e-14
        assert torch.equal(block.read(RESID_MID, mid), mid)
        assert gap(block.read(LN2_NORMALIZED, mid).square().mean(-1), torch.ones(N_TOKENS)) < 1e-4
        for point in READ_POINTS:
            covector = torch.randn(mid.shape, generator=generator, dtype=mid.dtype)
            step = torch.randn(mid.shape, generator=generator, dtype=mid.dtype)
            moved = block.read(point, mid + step, denominator) - block.read(point, mid, denominator)
            pulled = block.read_covector(point, covector, denominator)
            assert gap((moved * covector).sum(-1), (step * pulled).sum(-1)) < 1e-12
            assert gap(block.read(point, mid), block.read(point, mid, denominator)) < 1e-14


def with_block(architecture: Architecture, change: Callable[[Block], Block]) -> Architecture:
    """The same parts with the middle block changed."""
    blocks = list(architecture.blocks)
    blocks[1] = change(blocks[1])
    return replace(architecture, blocks=tuple(blocks))


def interleaved(block: Block) -> Block:
    """Value heads in the order that another layout of grouped heads would give."""
    heads = torch.unflatten(block.v_weight, 0, (2, -1))
    return replace(block, v_weight=heads.flip(0).flatten(0, 1))


MISTAKES: dict[str, tuple[str, Callable[[Architecture], Architecture]]] = {
    "gain without the one": (
        "gemma2",
        lambda a: with_block(
            a, lambda b: replace(b, attention_norm=replace(b.attention_norm, gain=b.attention_norm.gain - 1))
        ),
    ),
    "no norm behind attention": ("gemma3", lambda a: with_block(a, lambda b: replace(b, attention_post_norm=None))),
    "no norm behind the MLP": ("gemma3_text", lambda a: with_block(a, lambda b: replace(b, mlp_post_norm=None))),
    "norms behind attention and MLP exchanged": (
        "gemma2",
        lambda a: with_block(
            a, lambda b: replace(b, attention_post_norm=b.mlp_post_norm, mlp_post_norm=b.attention_post_norm)
        ),
    ),
    "write points exchanged": (
        "gemma2",
        lambda a: with_block(
            a,
            lambda b: replace(
                b, write_modules=dict(zip(b.write_modules, reversed(list(b.write_modules.values())), strict=True))
            ),
        ),
    ),
    "no soft-cap of the logits": ("gemma2", lambda a: replace(a, logit_softcap=None)),
    "value heads in another order": ("qwen3", lambda a: with_block(a, interleaved)),
    "no bias of the values": ("qwen2", lambda a: with_block(a, lambda b: replace(b, v_bias=None))),
    "no bias of the output": ("llama", lambda a: with_block(a, lambda b: replace(b, o_bias=None))),
    "no centring": (
        "gpt2",
        lambda a: with_block(a, lambda b: replace(b, attention_norm=replace(b.attention_norm, centred=False))),
    ),
    "no bias of the norm": (
        "gpt2",
        lambda a: with_block(a, lambda b: replace(b, attention_norm=replace(b.attention_norm, bias=None))),
    ),
    "output weight not transposed": ("gpt2", lambda a: with_block(a, lambda b: replace(b, o_weight=b.o_weight.T))),
    "final norm of a layer": ("mistral", lambda a: replace(a, final_norm=a.blocks[0].mlp_norm)),
    "a large epsilon": (
        "mistral",
        lambda a: with_block(a, lambda b: replace(b, attention_norm=replace(b.attention_norm, epsilon=1e-3))),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistaken_adapter_is_found(opened: Callable[[str], tuple[LanguageModel, Passed]], mistake: str) -> None:
    """The law that the adapters pass to 1e-9 fails for each of these by far."""
    family, spoil = MISTAKES[mistake]
    model, passed = opened(family)
    spoiled = spoil(model.architecture)
    if spoiled.final_norm is not model.architecture.final_norm:  # it is hooked under its own module
        spoiled = replace(spoiled, final_norm=replace(spoiled.final_norm, module=model.architecture.final_norm.module))
    assert worst_gap(spoiled, passed) > 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_models_keep_their_dtype_and_nearly_their_logits(family: str, tmp_path: Path) -> None:
    wide = make_family(tmp_path, family, dtype="float32")
    narrow = load_model(tmp_path, dtype="bfloat16")
    assert (narrow.dtype, narrow.compute_dtype) == (torch.bfloat16, torch.float32)
    assert (wide.dtype, wide.compute_dtype) == (torch.float32, torch.float32)
    assert {p.dtype for p in narrow.hf.parameters()} == {torch.bfloat16}
    assert narrow.architecture.mean_unembedding.dtype == torch.float32
    assert narrow.weights_sha256 == wide.weights_sha256
    assert gap(run(narrow).logits.float(), run(wide).logits) < 0.1
    for block in narrow.architecture.blocks:
        weight = cast(Tensor, block.mlp_norm.module.weight)
        expected = weight.float() + 1 if family.startswith("gemma") else weight.float()
        assert torch.equal(block.mlp_norm.gain.float(), expected), "1 + weight is not rounded to bfloat16"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tokenizer_is_the_one_in_the_folder(
    opened: Callable[[str], tuple[LanguageModel, Passed]], family: str
) -> None:
    """Words, as the file says, and not the pieces that are usual for the family."""
    model, _ = opened(family)
    assert model.encode("w5 w30  w9").tolist() == [0, 5, 30, 9]
    assert model.encode("<bos> w5").tolist() == [0, 5]
    assert [model.token_text(i) for i in (0, 5, 30)] == ["<bos>", "w5", "w30"]


@pytest.mark.parametrize("family", FAMILIES)
def test_sharded_weights_are_the_same_model(family: str, tmp_path: Path) -> None:
    whole = make_family(tmp_path / "whole", family, seed=2)
    cast(Any, stock(whole)).save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "parts" / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    assert torch.equal(run(load_model(tmp_path / "parts", dtype="float64")).logits, run(whole).logits)
    min((tmp_path / "parts").glob("*.safetensors")).unlink()
    with pytest.raises(UnknownModelError, match=f"cannot read the {family} weights"):
        load_model(tmp_path / "parts")


def gpt2_as_released(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """No prefix, no unembedding, and the causal masks among the weights."""
    renamed = {key.removeprefix("transformer."): value for key, value in weights.items() if key != "lm_head.weight"}
    return renamed | {f"h.{layer}.attn.bias": torch.ones(1, 1, 64, 64).tril() for layer in range(3)}


def gemma3_as_newly_converted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Everything under `model`, as the module has it; released files have the text layers in `language_model.model`."""
    return {f"model.{key.replace('language_model.model.', 'language_model.')}": value for key, value in weights.items()}


def with_unembedding(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tied unembedding written out once more."""
    return weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()}


def with_rotary_tables(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tables that old checkpoints carry along."""
    return weights | {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.ones(3) for n in range(3)}


@pytest.mark.parametrize(
    ("family", "rewrite"),
    [
        ("gpt2", gpt2_as_released),
        ("gemma3", gemma3_as_newly_converted),
        ("gemma2", with_unembedding),
        ("llama", with_rotary_tables),
    ],
)
def test_weights_in_other_layouts_are_the_same_model(
    family: str, rewrite: Callable[[dict[str, Tensor]], dict[str, Tensor]], tmp_path: Path
) -> None:
    expected = run(make_family(tmp_path, family)).logits
    file = tmp_path / "model.safetensors"
    before = load_file(file)
    after = rewrite(before)
    assert set(after) != set(before)
    save_file(after, file, metadata={"format": "pt"})
    assert torch.equal(run(load_model(tmp_path, dtype="float64")).logits, expected)


def test_image_parts_are_dropped(opened: Callable[[str], tuple[LanguageModel, Passed]]) -> None:
    model, _ = opened("gemma3")
    text, _ = opened("gemma3_text")
    assert sum(p.numel() for p in model.hf.parameters()) == sum(p.numel() for p in text.hf.parameters())
    assert not [name for name, _ in model.hf.named_parameters() if "vision" in name or "projector" in name]


def test_every_supported_family_is_tested_here() -> None:
    assert set(FAMILIES) == set(supported_families())


def test_the_float64_attention_is_registered_under_one_name(
    opened: Callable[[str], tuple[LanguageModel, Passed]],
) -> None:
    for family in FAMILIES:
        config = cast(Any, opened(family)[0].hf).config.get_text_config()
        assert config._attn_implementation == ATTENTION


def rewrite_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    write_family(tmp_path, "gemma3_text")
    rewrite_config(tmp_path, use_bidirectional_attention=True)
    with pytest.raises(UnknownModelError, match="attends in both directions .*only causal language models"):
        load_model(tmp_path)


def test_quantized_weights_are_refused(tmp_path: Path) -> None:
    write_family(tmp_path, "llama")
    rewrite_config(tmp_path, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(UnknownModelError, match="holds quantized weights.*take the unquantized model"):
        load_model(tmp_path)
