"""Numbers as people read them: three significant digits, p values without the leading zero, real minus signs."""

from __future__ import annotations

import math

MINUS = "\u2212"
NOT_KNOWN = "not known"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SMALLEST_P = 0.001
"""Below this a p value is written `<.001`: further digits mean nothing with a few hundred controls."""


def _signed(text: str) -> str:
    return text.replace("-", MINUS)


def number(value: float | None) -> str:
    """Three significant digits; large and tiny numbers as powers of ten; `not known` for None and NaN."""
    if value is None or math.isnan(value):
        return NOT_KNOWN
    if math.isinf(value):
        return _signed("-∞" if value < 0 else "∞")
    if value == 0:
        return "0"
    mantissa, power = f"{value:.2e}".split("e")
    exponent = int(power)
    if exponent < -4 or exponent > 5:
        return _signed(f"{mantissa}×10") + power_text(exponent)
    return _signed(f"{round(value, 2 - exponent):.{max(0, 2 - exponent)}f}")


def power_text(exponent: int) -> str:
    """An exponent in raised digits."""
    return str(exponent).translate(_RAISED)


def effect(value: float | None) -> str:
    """`number`, but in thousandths below a hundredth: an effect's further digits mean nothing to readers."""
    if value is None or math.isnan(value) or abs(value) >= 0.01:
        return number(value)
    return _signed(f"{value:.3f}").replace(f"{MINUS}0.000", "0.000")


def signed(value: float | None) -> str:
    """`effect` with a plus sign in front of positive values."""
    text = effect(value)
    return f"+{text}" if value is not None and value > 0 and text != "0.000" else text


def percent(share: float | None) -> str:
    """A share from 0 to 1 as a percentage: three significant digits, but never 100 % or 0 % for what is not quite."""
    if share is None or math.isnan(share):
        return NOT_KNOWN
    value = 100 * share
    if 0 < value < 0.1:
        return "<0.1 %"
    if 99.9 < value < 100:
        return ">99.9 %"
    return _signed(f"{value:.1f} %")


def between(low: str, high: str) -> str:
    """A range of two amounts in words, a unit that both have said once: `6.38 to 6.39 nats`."""
    if low == high:
        return high
    before, shared, after = low.split(" "), high.split(" "), f"{low} to {high}"
    if len(before) != 2 or len(shared) != 2:
        return after
    if before[1] == shared[1]:
        return f"{before[0]} to {high}"
    return f"{low} to {shared[1]}" if before[0] == shared[0] else after


def p_value(value: float | None) -> str:
    """A p or q value as text: `.005`, `<.001`, `1`."""
    if value is None or math.isnan(value):
        return NOT_KNOWN
    if value < _SMALLEST_P:
        return f"<{_SMALLEST_P:.3f}".replace("0.", ".")
    text = f"{value:.3f}".removeprefix("0")
    return "1" if text == "1.000" else text


def count(value: int) -> str:
    """A whole number with thousands apart."""
    return f"{value:,}".replace(",", "\u2009")


def counted(value: int, noun: str, plural: str | None = None) -> str:
    """`1 feature`, `2 features`."""
    return f"{count(value)} {noun if value == 1 else plural or noun + 's'}"


def seconds(value: float) -> str:
    """A duration: `0.42 s`, `12.3 s`, `3 min 5 s`."""
    if value < 120:
        return f"{number(value)} s"
    return f"{int(value) // 60} min {int(value) % 60} s"


def short_hash(digest: str | None) -> str:
    """The first twelve digits of a hash; the whole is in the JSON."""
    return digest[:12] if digest else NOT_KNOWN
