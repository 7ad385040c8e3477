"""Numbers in sentences: what counts as one, what equals what, and what a forger might try."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracescribe.agents.reporting.report_numbers import (
    SourcedNumber,
    number_faults,
    tells,
    value_at,
    without_quotations,
)

DOCUMENT = {"a": 0.9731, "b": 1000, "c": [1, 2, 3], "d": {"x/y": -0.25, "~": 7.0}, "e": None, "f": True, "g": "text"}


def faults(text: str, *numbers: tuple[str, str], quotable: tuple[str, ...] = ()) -> list[str]:
    listed = [SourcedNumber(text=written, source=source) for written, source in numbers]
    return number_faults(text, listed, quotable, DOCUMENT)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (".97", 0.9731), ("0.97", 0.9731), ("97%", 0.9731), ("97.3 %", 0.9731), ("1,000", 1000.0), ("1000", 1000.0), ("1e3", 1000.0),
        ("1e-3", 0.001), ("3e-04", 0.00031), (".5", 0.5), ("50 %", 0.5), ("-.5", -0.5), ("−.5", -0.5), ("+.5", 0.5),
        ("-25%", -0.25), ("0", 0.4999), ("1.00", 0.9951), ("1,234,567", 1234567.0), ("12", 12.3), (".1", 0.05), (".0", 0.05),
    ],
)  # fmt: skip
def test_a_number_tells_what_it_equals_at_the_precision_written(written: str, value: float) -> None:
    assert tells(written, value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (".97", 0.9649), (".98", 0.9731), ("1,000", 1.0), ("1.000", 1000.0), ("1,00", 1.0), ("1e-3", 0.01), (".5", -0.5), ("-.5", 0.5),
        ("50", 0.5), ("50 %", 50.0), ("٣", 3.0), ("３", 3.0), ("²", 2.0), ("½", 0.5), ("two", 2.0), ("", 0.0), (".", 0.0), ("%", 0.0),
        ("1 000", 1000.0), ("0x10", 16.0), ("1_000", 1000.0), ("--5", 5.0), ("nan", math.nan), ("1", math.nan), ("1", math.inf),
        ("1,0000", 10000.0), ("5.", 5.0), ("1e5e2", 1e7), ("1.2.3", 1.2),
    ],
)  # fmt: skip
def test_a_number_that_differs_or_cannot_be_read_tells_nothing(written: str, value: float) -> None:
    assert not tells(written, value)


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_rounding_is_told_and_the_next_figure_is_not(value: float, decimals: int) -> None:
    assert tells(f"{value:.{decimals}f}", value)
    assert tells(f"{value:.{decimals}e}", value)
    step = 2 * 10.0**-decimals
    for other in (value + step, value - step):
        assert not tells(f"{other:.{decimals}f}", value)


def test_pointers_follow_the_standard_and_arrays_count() -> None:
    assert value_at(DOCUMENT, "/a") == 0.9731
    assert value_at(DOCUMENT, "/c") == 3.0
    assert value_at(DOCUMENT, "/c/2") == 3.0
    assert value_at(DOCUMENT, "/d/x~1y") == -0.25
    assert value_at(DOCUMENT, "/d/~0") == 7.0
    for nowhere in ("/e", "/f", "/g", "/d", "/c/3", "/c/-1", "/c/01", "/c/٣", "/nothing", "/a/b", "/", "/c/1e0"):
        assert value_at(DOCUMENT, nowhere) is None


def test_a_true_sentence_has_no_fault() -> None:
    text = "It moves 'Austin 4' from .97 to -25 % in 3 of 1,000 tries (q .973)."
    numbers = ((".97", "/a"), ("-25 %", "/d/x~1y"), ("3", "/c"), ("1,000", "/b"), (".973", "/a"))
    assert faults(text, *numbers, quotable=("Austin 4",)) == []


@pytest.mark.parametrize(
    "text",
    [
        "It is .98.", "It is 0.97 0.", "It is ٣.", "It is ３.", "It is x².", "It is ½.", "It is Ⅳ.", "It is 五.", "It is ∞.", "It is ①.",
        "It is two.", "It is Half of it.", "It is twenty-one.", "It is 1\u200b0.", "ha\u200blf of it", "ｈａｌｆ of it", "a full %", "5 ‰",
        "ninety per cent", "ninety percent", "c12 says so", "It doubled.", "It grew twofold.", "It is second.", "'5'", "'Austin 5'", "1e-3", "−1", "a_1", "GPT4",
    ],
)  # fmt: skip
def test_whatever_is_numeric_needs_a_source(text: str) -> None:
    assert faults(text, quotable=("Austin 4",))


@pytest.mark.parametrize(
    "text",
    [
        "It is −.97.", "It is -.97.", "It is +.97.", "It is 1.97.", "It is .973.", "It is .97%.", "It is .97 %.", "It is .97e-3.",
        "It is .97×10⁻³.", "It is .97 × 10.", "It is .97,000.", "It is 5-.97.", "It is .97-5.", "It is x.97.", "It is .97x.", "It is ±.97.",
        "It is .97/2.", "It is .97 percent.", "It is .97 thousand.", "It is .97\u200b1.", "It is .97^2.", "It is twice .97.",
    ],
)  # fmt: skip
def test_a_listed_number_counts_only_where_nothing_changes_it(text: str) -> None:
    assert faults(text, (".97", "/a"))


def test_numbers_are_listed_once_each_and_in_order() -> None:
    text = "from .97 to 3"
    assert faults(text, (".97", "/a"), ("3", "/c")) == []
    assert faults(text, ("3", "/c"), (".97", "/a"))
    assert faults(text, (".97", "/a"))
    assert faults(text, (".97", "/a"), ("3", "/c"), ("3", "/c"))
    assert "says '3', but /a is 0.9731" in faults(text, (".97", "/a"), ("3", "/a"))
    assert "takes '3' from /e, where no number stands" in faults(text, (".97", "/a"), ("3", "/e"))


def test_only_whole_known_texts_in_quotes_are_quotations() -> None:
    known = ("Texas", "it's 5 o'clock", "")
    assert (
        without_quotations("'Texas' and 'it's 5 o'clock' of '' and 'Texas 5'", known) == "'' and '' of '' and 'Texas 5'"
    )
    assert without_quotations("the model's own 'Texas'5", known) == "the model's own ''5"
    forged = "' goes from .97 to "
    assert without_quotations(f"'Texas{forged}3 'Texas'", ("Texas", forged.strip("' "))) == f"''{forged[1:]}3 ''"
