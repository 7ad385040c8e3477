"""How edits are written: numbers, negative positions, words; and what is told when they are written wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracescribe.runs.edit_grammar import Place, parse_node, parse_place, parse_position, parse_ref, parse_setting
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.graph import FeatureNode, FeatureRef

TOKENS = ("<bos>", "the", "capital", "of", "the", "state", "containing", "Dallas", "is")


def test_a_feature_is_layer_and_index() -> None:
    assert parse_ref(" 1/34 ") == FeatureRef(1, 34)


@pytest.mark.parametrize("text", ["", "1", "1/", "/3", "1/34@7", "a/b", "-1/3", "1/3.5", "1/٣x", "9" * 30 + "/1"])
def test_what_is_no_feature_is_told(text: str) -> None:
    with pytest.raises(InputError, match="names no feature; write LAYER/FEATURE, for example 1/34"):
        parse_ref(text)


@pytest.mark.parametrize(("text", "position"), [("7", 7), ("0", 0), ("-1", 8), ("-9", 0), ("Dallas", 7)])
def test_a_position_is_a_number_or_a_word(text: str, position: int) -> None:
    assert parse_position(text, TOKENS) == position
    assert parse_node(f"0/100@{text}", TOKENS) == FeatureNode(0, position, 100)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("9", "position 9 is outside the prompt; it has positions 0 to 8"),
        ("-10", "position -10 is outside the prompt"),
        ("Houston", "the word 'Houston' stands nowhere in the prompt; give the position as a number"),
        ("the", r"the word 'the' stands more than once in the prompt \(positions 1, 4\)"),
    ],
)
def test_a_position_that_is_none_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_position(text, TOKENS)


def test_a_place_may_be_a_layer_or_a_position() -> None:
    assert parse_place("2@Dallas", TOKENS) == Place(2, None, 7)
    assert parse_place("@-1", TOKENS) == Place(None, None, 8)


@pytest.mark.parametrize("text", ["2@Dallas", "@Dallas"])
def test_an_ablation_needs_one_feature(text: str) -> None:
    with pytest.raises(InputError, match="names no single feature"):
        parse_node(text, TOKENS)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_finite_number_can_be_set(value: float) -> None:
    assert parse_setting(f"1/34@Dallas={value!r}", TOKENS) == (FeatureNode(1, 7, 34), value)


@pytest.mark.parametrize("text", ["1/34@7", "1/34@7=", "1/34@7=x", "1/34@7=nan", "1/34@7=inf"])
def test_a_setting_needs_a_finite_number(text: str) -> None:
    with pytest.raises(InputError, match="gives no number; write LAYER/FEATURE@POSITION=NUMBER"):
        parse_setting(text, TOKENS)
