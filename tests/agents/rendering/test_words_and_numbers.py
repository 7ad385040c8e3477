"""Numbers, texts and colours as people meet them."""

from __future__ import annotations

import math
import re
from importlib import resources

import pytest

from tracescribe.agents.claims import CLAIM_KINDS as ALL_KINDS
from tracescribe.agents.claims import Predicate
from tracescribe.agents.findings import DosePoint
from tracescribe.agents.rendering import claim_words, numbers
from tracescribe.agents.rendering.dose_plot import dose_plot
from tracescribe.agents.rendering.evidence_view import predicate_words
from tracescribe.agents.rendering.strip_plot import WIDTH, strip_plot
from tracescribe.agents.rendering.visible_text import shorten, text_width, visible_text, visible_token, wrap


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.98123, "0.981"), (0.0, "0"), (-0.0123456, "−0.0123"), (1234.5, "1230"), (99999.0, "100000"),
        (0.99999, "1.00"), (9.999, "10.0"), (1.16e-9, "1.16×10⁻⁹"), (-math.inf, "−∞"), (math.nan, "not known"), (None, "not known"),
    ],
)  # fmt: skip
def test_numbers_have_three_significant_digits(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.005, ".005"), (0.0004, "<.001"), (1.0, "1"), (0.05, ".050")])
def test_p_values_drop_their_zero(value: float, text: str) -> None:
    assert numbers.p_value(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.9731, "97.3 %"), (1.0, "100.0 %"), (0.99999, ">99.9 %"), (0.0, "0.0 %"), (0.0003, "<0.1 %"), (-0.2, "−20.0 %")],
)
def test_percentages_never_round_to_certainty(share: float, text: str) -> None:
    assert numbers.percent(share) == text


def test_effects_are_told_in_the_units_of_their_claim() -> None:
    kinds = claim_words.CLAIM_KINDS
    assert set(kinds) == set(ALL_KINDS)
    assert kinds["necessity"].measure(math.log(2)) == "0.693 nats (÷ 2.00)"
    assert kinds["necessity"].measure(-math.log(2)) == "−0.693 nats (× 2.00)"
    assert kinds["necessity"].measure(12.0) == "12.0 nats (÷ more than 1\u2009000)"
    assert kinds["swap"].measure(0.981) == "+98.1 points"
    assert [kinds["swap"].measure(v) for v in (4.1e-6, -4.1e-6, 0.0052)] == [
        "0.000 points",
        "0.000 points",
        "+0.520 points",
    ]
    assert kinds["edge"].measure(0.5) == "50.0 %"
    assert kinds["label"].measure(0.9) == "AUC 0.900"
    assert [numbers.between(kind.amount(0.3), kind.amount(0.4)) for kind in kinds.values()] == [
        "+30.0 to +40.0 points",
        "0.300 to 0.400 nats",
        "+0.300 to +0.400 nats",
        "30.0 to 40.0 %",
        "30.0 to 40.0 %",
        "AUC 0.300 to 0.400",
    ]


def test_predicates_are_told_in_words() -> None:
    assert predicate_words(Predicate(on="token", words=("a",))) == "fires on “a”"
    assert predicate_words(Predicate(on="next", words=("a", "b"))) == "fires where the model is about to say “a” or “b”"
    previous = Predicate(on="previous", words=("a",), window=3)
    assert predicate_words(previous) == "fires where “a” stands among the 3 tokens before"
    many = Predicate(on="token", words=tuple(f"w{i}" for i in range(40)))
    assert predicate_words(many).endswith("or 28 more words")


def test_invisible_characters_are_made_visible() -> None:
    assert visible_text("a\u202eb\x00c") == "a⟨U+202E⟩b⟨U+0000⟩c"
    assert visible_token(" Dallas") == "Dallas"
    assert visible_token("\n") == "⏎"
    assert visible_token("  ") == "␣␣"
    assert visible_text("שלום 👩‍👧") == "שלום 👩‍👧"


def test_long_texts_are_wrapped_and_cut() -> None:
    lines = wrap("a very long label " * 20 + "x" * 300, 128, 13, 3, bold=True)
    assert len(lines) == 3 and lines[-1].endswith("…")
    assert all(text_width(line, 13, bold=True) <= 128 for line in lines)
    assert wrap("Texas", 128, 13, 3) == ["Texas"]


@pytest.mark.parametrize("text", ["x" * 500_000, "e" + "\u0301" * 50_000 + "x" * 500_000, "a word " * 100_000])
def test_a_text_of_any_length_is_cut_in_one_pass(text: str) -> None:
    """As long as memory allows: each letter measured anew for every letter after it would take hours."""
    assert text_width(shorten(text, 100, 12), 12) <= 100
    lines = wrap(text, 128, 13, 3, bold=True)
    assert len(lines) == 3 and lines[-1].endswith("…")
    assert all(text_width(line, 13, bold=True) <= 128 for line in lines)


def test_strip_plot_places_everything_on_one_scale() -> None:
    plot = strip_plot(0.9, 0.5, [0.0, 0.01, 0.02, 0.95])
    assert plot is not None and plot.effect_x is not None and plot.threshold_x is not None
    assert plot.zero_x < plot.threshold_x < plot.effect_x < max(x for x, _ in plot.dots) <= WIDTH
    assert len(set(plot.dots)) == 4
    assert plot.description == "tested 0.900, needed 0.500; 1 of 4 control sets did as much or more"
    assert strip_plot(None, 0.5, []) is None
    same = strip_plot(0.0, 0.5, [0.0] * 199)
    assert same is not None and len(set(same.dots)) == 199


def test_dose_curve_runs_from_the_smallest_dose_to_the_largest() -> None:
    doses = [DosePoint(multiplier=m, effect=e, probability=0.5) for m, e in ((1.0, 0.0), (3.0, 0.9), (2.0, 0.4))]
    plot = dose_plot(doses, 4.0, 1.2, 0.693)
    assert plot is not None
    assert [x for x, _ in plot.points] == sorted(x for x, _ in plot.points) and len(plot.points) == 4
    assert [y for _, y in plot.points] == sorted((y for _, y in plot.points), reverse=True)
    assert plot.own == plot.points[-1] and plot.zero_y == plot.points[0][1]
    assert plot.points[2][1] < plot.threshold_y < plot.points[1][1]
    assert plot.description == "effect by dose: 0.000 at 1.00, 0.400 at 2.00, 0.900 at 3.00, 1.20 at 4.00; needed 0.693"
    assert [tick.text for tick in plot.ticks] == ["×1.00", "×2.00", "×3.00", "×4.00"]
    assert dose_plot([], 4.0, 1.2, 0.693) is None and dose_plot(doses, 4.0, None, 0.693) is None
    down = dose_plot(doses, -2.0, math.inf, 0.693), dose_plot(doses, -2.0, -0.5, 0.693)
    assert down[0] is None and down[1] is not None and down[1].own == down[1].points[0]


def test_strip_plot_of_random_circuits_needs_no_threshold() -> None:
    plot = strip_plot(0.9, None, [0.1, 0.95], one="random circuit")
    assert plot is not None and plot.threshold_x is None and not plot.passed
    assert plot.description == "tested 0.900; 1 of 2 random circuits did as much or more"


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _palettes() -> dict[str, dict[str, str]]:
    css = (resources.files("tracescribe.agents.rendering") / "templates" / "palette.css").read_text()
    light, dark = css.split("@media")
    first = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light))
    return {"light": first, "dark": {**first, **dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", dark))}}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(scheme: str) -> None:
    """Contrast of at least 4.5 for text and 3 for graphics, as the Web Content Accessibility Guidelines 2.2 ask."""
    palette = _palettes()[scheme]
    text_on = [
        (ink, ground) for ink in ("ink", "quiet", "accent") for ground in ("ground", "card", "soft", "accent-soft")
    ]
    text_on += [(o, f"{o}-soft") for o in ("supported", "refuted", "inconclusive", "untested")]
    text_on += [(o, "card") for o in ("supported", "refuted", "inconclusive", "untested")]
    text_on += [("ink", "inconclusive-soft"), ("sign", "supported"), ("sign", "refuted"), ("sign", "inconclusive")]
    text_on += [("quiet", "ground")]  # labels of rejected steps
    for ink, ground in text_on:
        assert _contrast(palette[ink], palette[ground]) >= 4.5, (ink, ground)
    for drawn in ("helps", "hinders", "input", "intermediate", "relation", "output", "suppressor", "other"):
        for ground in ("card", "soft"):
            assert _contrast(palette[drawn], palette[ground]) >= 3, (drawn, ground)
