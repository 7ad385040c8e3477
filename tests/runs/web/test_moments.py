"""Moments are told in one way, exactly, and none is made up."""

from __future__ import annotations

from tracescribe.runs.web.moments import moment_words, time_element


def test_a_moment_is_told_with_its_zone_and_exactly_behind() -> None:
    assert moment_words(1_795_312_980.25) == "22 Nov 2026, 02:03 UTC"
    assert moment_words("2026-11-22T03:03:07+01:00", seconds=True) == "22 Nov 2026, 02:03:07 UTC"
    exact = "2026-11-22T02:03:00.250Z"
    assert time_element(1_795_312_980.25) == f'<time datetime="{exact}" title="{exact}">22 Nov 2026, 02:03 UTC</time>'


def test_what_is_no_moment_stays_text() -> None:
    assert time_element("<b>yesterday</b>") == "<b>yesterday</b>"
    assert not hasattr(time_element("<b>yesterday</b>"), "__html__"), "and is escaped by the page"
    assert moment_words(1e300) == "1e+300"
