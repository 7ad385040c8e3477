"""The start of a prompt: which token leads it, which positions have no features, and what chat models ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tracer.tiny_families import make_family, write_family
from tracescribe.tracer.errors import PromptError, SettingError
from tracescribe.tracer.models import load_model
from tracescribe.tracer.position_rule import GEMMA3_TURN, PositionRule, position_rule
from tracescribe.tracer.vocabulary import GPT2_BOS, Vocabulary

TUNED = (
    "google/gemma-3-4b-it",
    "gemma-3-1b-it",
    "Gemma-3-27B-IT",
    "models--google--gemma-3-1b-it",
    "gemma-3-12b-it-qat-q4_0-unquantized",
    "gemma3_it",
)
NOT_TUNED = ("google/gemma-3-1b-pt", "gemma-3-270m", "gemma-3-4b-italian", "my-it-model", "gemma-2-2b-it", "")


@pytest.mark.parametrize("family", ["gemma3", "gemma3_text"])
def test_the_name_of_a_tuned_gemma_3_is_known_in_any_spelling(family: str) -> None:
    for name in TUNED:
        rule = position_rule(family, (name,))
        assert (rule.zero_positions, rule.required_prefix) == (4, GEMMA3_TURN), name
        assert repr(name) in rule.reason
    for name in NOT_TUNED:
        rule = position_rule(family, (name,))
        assert (rule.zero_positions, rule.required_prefix) == (1, ()), name


def test_names_decide_for_gemma_3_alone() -> None:
    for family in ("llama", "gemma2", "gpt2"):
        assert position_rule(family, TUNED) == PositionRule()


@pytest.mark.parametrize(
    ("file", "config", "zero_positions"),
    [
        ("config.json", {"eos_token_id": [1, 106]}, 4),
        ("config.json", {"eos_token_id": 1}, 1),
        ("config.json", {"_name_or_path": "google/gemma-3-4b-it"}, 4),
        ("config.json", {"_name_or_path": "google/gemma-3-4b-pt", "eos_token_id": [1, 106]}, 1),
        ("generation_config.json", {"eos_token_id": [1, 106]}, 4),
        ("generation_config.json", {"eos_token_id": 106}, 4),
        ("generation_config.json", {"eos_token_id": None}, 1),
        ("generation_config.json", [106], 1),
    ],
)
def test_a_renamed_folder_keeps_its_rule(tmp_path: Path, file: str, config: Any, zero_positions: int) -> None:
    (tmp_path / file).write_text(json.dumps(config))
    assert position_rule("gemma3_text", ("renamed",), tmp_path).zero_positions == zero_positions


def test_a_number_that_is_given_wins_and_asks_for_no_prefix() -> None:
    rule = position_rule("gemma3", ("gemma-3-4b-it",), zero_positions=0)
    assert (rule.zero_positions, rule.required_prefix, rule.optional_prefix) == (0, (), ())
    assert rule.positions_of(GEMMA3_TURN) == 0
    bad: list[Any] = [-1, 1.0, True, "1"]
    for number in bad:
        with pytest.raises(SettingError, match="zero_positions must be an integer from 0 up, or None, found"):
            position_rule("llama", zero_positions=number)


def test_a_prompt_that_opens_a_turn_loses_the_whole_opening() -> None:
    rule = position_rule("gemma3_text", ("gemma-3-1b",))
    assert rule.positions_of([*GEMMA3_TURN, 9, 9]) == 4
    assert rule.positions_of([2, 105, 2364]) == 1
    assert rule.positions_of([2, 9, 9, 9, 9]) == 1
    assert position_rule("gemma2").positions_of([*GEMMA3_TURN, 9]) == 1


def test_a_tuned_model_asks_for_its_turn(tmp_path: Path) -> None:
    """As text or as ids; the way out is a number of positions. The tiny tokenizer's BOS is not Gemma's."""
    folder = tmp_path / "Gemma-3-tiny-IT"
    model = make_family(folder, "gemma3_text", vocab_size=2400, num_hidden_layers=2)
    assert (model.zero_positions, model.position_rule.required_prefix) == (4, GEMMA3_TURN)
    good = torch.tensor([*GEMMA3_TURN, 7])
    assert model.vocabulary.check(good).tolist() == good.tolist()
    wanted = r"instruction-tuned: its prompts must begin with .* \(ids \[2, 105, 2364, 107\]\), found ids \["
    for tokens in ([2, 105, 2364, 7, 107], [2, 105], [2], [7, 8, 9]):
        with pytest.raises(PromptError, match=wanted):
            model.vocabulary.check(torch.tensor(tokens))
    with pytest.raises(PromptError, match=wanted):
        model.encode("w7 w8")
    free = load_model(folder, zero_positions=1)
    assert free.zero_positions == free.zero_positions_of(good) == 1
    assert free.encode("w7 w8").tolist() == [0, 7, 8]


def test_an_untuned_model_has_the_rule_of_each_prompt(tmp_path: Path) -> None:
    model = make_family(tmp_path, "gemma3_text", vocab_size=2400, num_hidden_layers=2)
    assert model.zero_positions == 1
    assert model.zero_positions_of(torch.tensor([*GEMMA3_TURN, 7])) == 4
    assert model.zero_positions_of(torch.tensor([2, 7])) == 1


def test_a_snapshot_in_the_cache_is_called_by_its_repository(tmp_path: Path) -> None:
    folder = tmp_path / "models--google--gemma-3-1b-it" / "snapshots" / "0123abcd"
    write_family(folder, "gemma3_text", num_hidden_layers=2)
    assert load_model(folder).zero_positions == 4


class FakeTokenizer:
    """A tokenizer that calls chosen tokens special."""

    def __init__(self, *, bos: int | None = None, pad: int | None = None, eos: int | None = None, **words: int) -> None:
        self.bos_token_id, self.pad_token_id, self.eos_token_id = bos, pad, eos
        self.unk_token_id = None
        self.all_special_ids = [i for i in (bos, pad, eos) if i is not None]
        self.words = words

    def get_vocab(self) -> dict[str, int]:
        return self.words


@pytest.mark.parametrize(
    ("named", "leading"),
    [
        ({"bos": 3, "pad": 4, "eos": 5}, 3),
        ({"pad": 4, "eos": 5}, 4),
        ({"eos": 5}, 5),
        ({"bos": 0, "eos": 5}, 0),
        ({"pad": 0, "eos": 5}, 0),
        ({}, None),
    ],
)
def test_the_leading_token_is_bos_else_pad_else_eos(named: dict[str, int], leading: int | None) -> None:
    """The id 0 counts: circuit-tracer passes it over."""
    vocabulary = Vocabulary(FakeTokenizer(**named), 50, 50, "fake")
    expected = [9] if leading is None else [leading, 9]
    assert vocabulary.check(torch.tensor([9])).tolist() == expected
    for special in named.values():
        assert vocabulary.check(torch.tensor([special, 9])).tolist() == [special, 9]


def test_any_special_token_leads_where_none_is_named() -> None:
    tokenizer = FakeTokenizer()
    tokenizer.all_special_ids = [8, 6]
    assert Vocabulary(tokenizer, 50, 50, "fake").check(torch.tensor([9])).tolist() == [6, 9]


def write_gpt2_tokenizer(folder: Path, named: dict[str, str]) -> None:
    """A byte-level tokenizer as GPT-2's: no merges, 256 bytes and `<|endoftext|>`, which is added by nobody."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: i for i, letter in enumerate(letters)} | {GPT2_BOS: len(letters)}
    tokenizer: Any = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([GPT2_BOS])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(named))


@pytest.mark.parametrize("names", [(), ("bos_token", "eos_token", "unk_token")])
def test_gpt2_prompts_are_led_by_end_of_text(tmp_path: Path, names: tuple[str, ...]) -> None:
    """With the tokens named, as some copies have them (where it is the unknown token too), and without."""
    write_family(tmp_path, "gpt2", vocab_size=257)
    write_gpt2_tokenizer(tmp_path, dict.fromkeys(names, GPT2_BOS))
    model = load_model(tmp_path)
    assert model.encode("ab").tolist()[:1] == [256]
    assert len(model.encode("ab")) == 3
    assert model.encode(f"{GPT2_BOS}ab").tolist() == model.encode("ab").tolist()
    assert model.encode(f"a {GPT2_BOS}b").tolist()[0] == 256
    assert model.token_text(int(model.encode("ab")[1])) == "a"
    assert len(model.encode("é")) == 3, "two bytes, both known"
    assert model.zero_positions == 1
    assert model.max_positions == 64
