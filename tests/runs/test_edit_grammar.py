"""How edits are written: numbers, negative positions, words; and what is told when they are written wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracescribe.runs.edit_grammar import (
    Place,
    Site,
    StreamSite,
    parse_layer_site,
    parse_node,
    parse_place,
    parse_position,
    parse_ref,
    parse_setting,
    parse_sites,
    parse_span,
    parse_stream_site,
)
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
    assert parse_setting(f"1/34@Dallas={value!r}", TOKENS) == ((Site(1, 34, 7),), value)


@pytest.mark.parametrize("text", ["1/34@7", "1/34@7=", "1/34@7=x", "1/34@7=nan", "1/34@7=inf"])
def test_a_setting_needs_a_finite_number(text: str) -> None:
    with pytest.raises(InputError, match="gives no number; write LAYER/FEATURE@POSITION=NUMBER"):
        parse_setting(text, TOKENS)


def test_several_features_make_a_supernode() -> None:
    assert parse_sites("1/34@7,0/2@Dallas,0/3@2:", TOKENS) == (
        Site(1, 34, 7),
        Site(0, 2, 7),
        Site(0, 3, slice(2, None)),
    )
    assert parse_setting("1/34@7,0/2@-1=-2", TOKENS) == ((Site(1, 34, 7), Site(0, 2, 8)), -2.0)
    assert parse_sites("1/34@,", ("a", ",")) == (Site(1, 34, 1),), "a word may be a comma"


def test_a_span_is_a_start_and_perhaps_a_stop() -> None:
    assert (parse_span("3:", TOKENS), parse_span("3:5", TOKENS)) == (slice(3, None), slice(3, 5))
    assert parse_span("9:", TOKENS) == slice(9, None), "generated tokens alone"
    assert parse_span("1:", ("a", "1:x")) == slice(1, None)
    for text in ("10:", "5:3", "4:4", "2:10"):
        with pytest.raises(InputError, match=f"positions {text} do not lie in the prompt; it has positions 0 to 8"):
            parse_span(text, TOKENS)


def test_errors_and_streams_have_places() -> None:
    assert parse_layer_site("2@Dallas", TOKENS) == (2, 7)
    assert parse_stream_site("1/resid_mid@3:", TOKENS) == StreamSite(1, "resid_mid", slice(3, None))
    with pytest.raises(InputError, match="write LAYER@POSITION, for example 1@7"):
        parse_layer_site("1/3@7", TOKENS)
    with pytest.raises(InputError, match="with the point resid_pre, resid_mid or resid_post"):
        parse_stream_site("1/mlp@7", TOKENS)
