"""Models: what opens, and one line with cause and cure for what does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tracer.tiny_pair import TinyShape, write_model
from tracescribe.tracer.architectures import bind_architecture, supported_families
from tracescribe.tracer.errors import PromptError, SettingError, UnknownIdError, UnknownModelError
from tracescribe.tracer.models import UNLIMITED_POSITIONS, LanguageModel, load_model

SHAPE = TinyShape(seed=5)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good model."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    folder.mkdir()
    write_model(folder, SHAPE)
    return folder


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(source, tmp_path / "tiny-llama"))


@pytest.fixture(scope="module")
def tiny(source: Path) -> LanguageModel:
    return load_model(source)


def test_a_folder_opens_ready_to_be_traced(tiny: LanguageModel, source: Path) -> None:
    assert tiny.model_id == "tiny-llama"
    assert (tiny.n_layers, tiny.d_model, tiny.vocab_size, tiny.max_positions) == (3, 16, 40, 32)
    assert not tiny.hf.training
    assert not any(p.requires_grad for p in tiny.hf.parameters())
    assert {p.dtype for p in tiny.hf.parameters()} == {torch.float32}
    assert cast(Any, tiny.hf).config._attn_implementation == "eager"
    assert load_model(str(source)).weights_sha256 == tiny.weights_sha256


def test_the_hash_follows_the_weights_and_not_the_place(tiny: LanguageModel, folder: Path) -> None:
    assert load_model(folder).weights_sha256 == tiny.weights_sha256
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] + 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_model(folder).weights_sha256 != tiny.weights_sha256


def test_the_adapter_describes_the_whole_model(tiny: LanguageModel) -> None:
    """A forward pass from the adapter's parts alone gives the logits of the Hugging Face model."""
    parts, tokens = tiny.architecture, torch.tensor([0, 5, 9, 30])
    with torch.no_grad():
        out = cast(Any, tiny.hf)(tokens[None], output_attentions=True, output_hidden_states=True)
        stream = out.hidden_states[0][0]
        for block, pattern in zip(parts.blocks, out.attentions, strict=True):
            x = stream / block.attention_norm.denominator(stream) * block.attention_norm.gain
            values = (x @ block.v_weight.T).view(len(tokens), parts.n_kv_heads, -1)
            values = values.repeat_interleave(parts.n_heads // parts.n_kv_heads, 1)
            stream = stream + torch.einsum("hqk,khe->qhe", pattern[0], values).flatten(1) @ block.o_weight.T
            stream = stream + cast(Any, block.mlp)(block.read("mlp.hook_in", stream))
        final = stream / parts.final_norm.denominator(stream) * parts.final_norm.gain
    assert torch.allclose(final @ parts.unembedding.T, out.logits[0], atol=1e-4)
    assert [block.attention.layer_idx for block in parts.blocks] == [0, 1, 2]


def test_bos_leads_exactly_once(tiny: LanguageModel) -> None:
    assert tiny.encode("w5 w9").tolist() == [0, 5, 9]
    assert tiny.encode("<bos> w5 w9").tolist() == [0, 5, 9]
    assert tiny.encode("  w5\n w9 ").tolist() == [0, 5, 9]
    assert tiny.vocabulary.check(torch.tensor([5, 9])).tolist() == [0, 5, 9]
    assert tiny.vocabulary.check(torch.tensor([0, 5])).tolist() == [0, 5]
    assert tiny.vocabulary.check(torch.tensor([1, 5])).tolist() == [1, 5], "any special token may lead"


def test_every_unknown_word_is_named_with_near_words(embedded_model: LanguageModel) -> None:
    with pytest.raises(PromptError) as caught:
        embedded_model.encode("the capitol of the state containing dallas is qqqqqqqq")
    message = str(caught.value)
    assert "'capitol' (near: capital" in message
    assert "'dallas' (near: Dallas" in message
    assert "'qqqqqqqq' (no word is near)" in message
    assert "'the'" not in message and "\n" not in message


def test_long_unknown_words_are_cut(tiny: LanguageModel) -> None:
    with pytest.raises(PromptError) as caught:
        tiny.encode("x" * 100_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("prompt", ["", " ", "\n\t"])
def test_an_empty_prompt_is_refused(tiny: LanguageModel, prompt: str) -> None:
    with pytest.raises(PromptError, match="the prompt is empty; give at least one word"):
        tiny.encode(prompt)


def test_an_over_long_prompt_is_refused_with_both_numbers(tiny: LanguageModel) -> None:
    assert len(tiny.encode(" ".join(["w7"] * 31))) == 32
    with pytest.raises(PromptError, match="33 tokens, but model tiny-llama reads at most 32"):
        tiny.encode(" ".join(["w7"] * 32))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(0, dtype=torch.int64), "no tokens"),
        (torch.zeros(1, 3, dtype=torch.int64), r"expected|must be integers \[n_pos\]"),
        (torch.tensor([0.0, 1.0]), "must be integers"),
        (torch.tensor([0, 40]), r"token id 40 is not in 0\.\.39"),
        (torch.tensor([0, -1]), r"token id -1 is not in 0\.\.39"),
    ],
)
def test_token_ids_that_cannot_be_run_are_refused(tiny: LanguageModel, tokens: torch.Tensor, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        tiny.vocabulary.check(tokens)


def test_tokens_and_text_translate_both_ways(embedded_model: LanguageModel) -> None:
    for word in ("Dallas", "the", "."):
        assert embedded_model.token_text(embedded_model.token_id(word)) == word
    with pytest.raises(UnknownIdError, match=r"'Dalas' is not a token of model embedded \(near: Dallas"):
        embedded_model.token_id("Dalas")
    with pytest.raises(UnknownIdError, match="'the capital' is 2 tokens"):
        embedded_model.token_id("the capital")
    with pytest.raises(UnknownIdError, match="is not a token"):
        embedded_model.token_id("")
    for wrong in (-1, embedded_model.vocab_size):
        with pytest.raises(UnknownIdError, match=f"token id {wrong} is not in"):
            embedded_model.token_text(wrong)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="no model 'embeded': neither 'embedded' nor a folder nor a hub id"):
        load_model("embeded")


def test_a_hub_id_that_nobody_has_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def offline(*args: object, **options: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UnknownModelError, match="no model 'no-one/nothing': .*LocalEntryNotFoundError: no network"):
        load_model("no-one/nothing")


def rewrite_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def drop_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def spoil_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), "cannot read .*config.json"),
    "unknown family": (lambda f: rewrite_config(f, model_type="mamba"), "architecture 'mamba'.*supported: gemma2, .*"),
    "family is no word": (
        lambda f: rewrite_config(f, model_type=["llama"]),
        r"architecture \"\['llama'\]\", for which",
    ),
    "no family": (lambda f: (f / "config.json").write_text("{}"), "cannot read .*KeyError: 'model_type'"),
    "config is a list": (lambda f: (f / "config.json").write_text("[1]"), "cannot read .*expected a JSON object"),
    "config is deep": (lambda f: (f / "config.json").write_text("[" * 10**5), "cannot read .*expected a JSON object"),
    "no width": (lambda f: rewrite_config(f, hidden_size="wide"), "cannot read .*config.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "cannot read the llama weights"),
    "truncated weights": (lambda f: truncate(f / "model.safetensors"), "cannot read the llama weights"),
    "another width": (lambda f: rewrite_config(f, hidden_size=24), "cannot read the llama weights"),
    "more layers": (lambda f: rewrite_config(f, num_hidden_layers=4), "damaged: no model.layers.3"),
    "fewer layers": (lambda f: rewrite_config(f, num_hidden_layers=2), "damaged: unexpected model.layers.2"),
    "a tensor is missing": (drop_tensor, "damaged: no model.layers.1.mlp.up_proj.weight"),
    "a number is missing": (spoil_tensor, "model.layers.1.mlp.up_proj.weight is not finite"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "cannot read the tokenizer"),
    "tokenizer is no JSON": (lambda f: (f / "tokenizer.json").write_text("["), "cannot read the tokenizer"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
@pytest.mark.filterwarnings("ignore")  # transformers warns of some damages before it fails
def test_a_damaged_folder_is_refused_in_one_line(folder: Path, damage: str) -> None:
    spoil, message = DAMAGES[damage]
    spoil(folder)
    with pytest.raises(UnknownModelError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt", "weights.pth"])
def test_pickled_weights_are_not_opened(folder: Path, name: str) -> None:
    """Whatever is inside: unpickling this file would write another."""
    (folder / "model.safetensors").unlink()
    trap = folder / "opened"
    torch.save(_Trap(str(trap)), folder / name)
    with pytest.raises(UnknownModelError, match=f"has its weights only as {name}, a pickle, which is never opened"):
        load_model(folder)
    assert not trap.exists()


class _Trap:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return open, (self.path, "w")


def test_pickles_beside_safetensors_are_left_alone(folder: Path, tiny: LanguageModel) -> None:
    torch.save(_Trap(str(folder / "opened")), folder / "pytorch_model.bin")
    assert load_model(folder).weights_sha256 == tiny.weights_sha256
    assert not (folder / "opened").exists()


def test_code_in_a_folder_is_not_run(folder: Path, tiny: LanguageModel) -> None:
    (folder / "evil.py").write_text(f"open({str(folder / 'opened')!r}, 'w')\nclass Evil: pass\n")
    rewrite_config(folder, auto_map={"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"})
    assert load_model(folder).n_layers == tiny.n_layers
    assert not (folder / "opened").exists()


def test_an_architecture_without_adapter_names_those_that_have_one() -> None:
    with pytest.raises(UnknownModelError, match="architecture 'mamba' has no adapter; supported: gemma2, gemma3, "):
        bind_architecture("mamba", torch.nn.Linear(1, 1))
    assert supported_families() == tuple(sorted(supported_families()))


@pytest.mark.parametrize("dtype", ["float16", "int8", "", "Float32"])
def test_an_unknown_dtype_is_refused_before_anything_is_read(dtype: str) -> None:
    with pytest.raises(SettingError, match=f"dtype must be one of float32, bfloat16, float64, found {dtype!r}"):
        load_model("no such folder", dtype=dtype)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:x", "mps", "", "cuda:0\n"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(SettingError, match="device must be cpu, cuda or cuda:N, found "):
        load_model("no such folder", device=device)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingError, match="device 'cuda' is not there: .* sees no CUDA device; use device 'cpu'"):
        load_model(source, device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SettingError, match="device 'cuda:2' is not there: .* sees 2 CUDA devices"):
        load_model(source, device="cuda:2")


def test_a_device_that_is_too_small_is_refused(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    def full(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(SettingError, match="model tiny-llama takes 0.0 GiB, more than is free on cpu; use dtype 'bfl"):
        load_model(source)


def test_dtype_and_device_are_those_that_were_asked_for(tiny: LanguageModel, source: Path) -> None:
    assert (tiny.dtype, tiny.compute_dtype, tiny.device) == (torch.float32, torch.float32, torch.device("cpu"))
    wide = load_model(source, dtype="float64", device="cpu")
    assert (wide.dtype, wide.compute_dtype) == (torch.float64, torch.float64)
    assert wide.weights_sha256 == tiny.weights_sha256
    assert tiny.encode("w5").device == torch.device("cpu")


def test_a_model_without_a_limit_of_positions_takes_any_number(tiny: LanguageModel) -> None:
    class Endless(torch.nn.Module):
        class config:
            @staticmethod
            def get_text_config() -> object:
                return object()

    assert replace(tiny, hf=Endless()).max_positions == UNLIMITED_POSITIONS
