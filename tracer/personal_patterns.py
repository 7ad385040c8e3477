"""What personal data looks like: addresses, numbers of phones, machines, accounts, cards and persons.

Candidates are found by an expression that costs time linear in the text; whether one is meant is then reckoned, by check
digits where there are any.
"""

from __future__ import annotations

import re
from typing import Final

from tracescribe.tracer.pattern_rules import Pattern

_MAIL_CHAR = r"[\w.+\-'%]"
_MAIL = re.compile(
    # A run begins where no such character stands before it; the `u` of a JSON escape begins none.
    # A quoted name begins with a word: what stands between two strings of a JSON document does not.
    rf"(?:(?<!{_MAIL_CHAR})(?!(?<=\\)u[0-9a-fA-F]{{4}})"
    r"(?:[\w.+\-']|%(?!40)|\\u(?!0040|ff20)[0-9a-fA-F]{4})++|(?<=\")\w[^\"\\\n\r@]{0,63}\")"
    r"(?:[@\uff20]|%40|&#64;|&commat;|\\u(?:0040|ff20))"
    r"(?=((?:\w|\\u[0-9a-fA-F]{4})(?:[\w.\-]|\\u[0-9a-fA-F]{4})*+|\[[0-9A-Fa-f:.]{3,60}\]))"
)


def _mail(match: re.Match[str]) -> tuple[int, int] | None:
    host = match.group(1)
    end = match.end(1)
    if not host.startswith("["):
        kept = host.rstrip(".-_")
        end -= len(host) - len(kept)
        if "." not in kept or kept.rpartition(".")[2].isdigit():
            return None
    start = match.start()
    return (start - 1 if '"' in match.group() else start), end  # a quoted name loses both its quotes


_PHONE = re.compile(r"(?<![\w.+])(?:\+|\(\+?)?\d(?:[ .\-/()\u00a0\u2011]{0,3}\d){6,16}(?![\w])")
_NORTH_AMERICAN = re.compile(r"(?:1[ .\-])?\(?[2-9]\d\d\)?[ .\-/]{1,2}[2-9]\d\d[ .\-]\d{4}\Z")
_NATIONAL = re.compile(r"\(?0[1-9]\d{0,3}\)?(?:[ ./\-]{1,3}\d{2,8}){1,5}\Z")
_ABROAD = re.compile(r"00[1-9]")
_DECIMAL = re.compile(r"\+(?:0|\d{1,3}\.(?:\d{0,8}|\d{13,})(?!\d)(?![ .\-/()\u00a0\u2011]{1,3}\d(?!\d{0,2}\.\d)))")
"""A signed number with a fraction, as effects are written, with other such numbers behind it at most. No country's code
begins with 0; registers of domains write phones as `+1.4155552671`: more digits than a rounded number has, and fewer
than a float in full."""
_DATE = re.compile(r"\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{4}")


def _phone(match: re.Match[str]) -> tuple[int, int] | None:
    text = match.group()
    digits = sum(char.isdigit() for char in text)
    if _DECIMAL.match(match.string, match.start()):
        return None
    if text.lstrip("(").startswith("+") or _ABROAD.match(text):
        return match.span() if 8 <= digits <= 17 else None
    if _DATE.match(text):
        return None
    national = 9 <= digits <= 13 and _NATIONAL.match(text)
    return match.span() if _NORTH_AMERICAN.match(text.replace("\u00a0", " ")) or national else None


_IPV4 = re.compile(r"(?<![\w.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w]|\.\d)")


def _ipv4(match: re.Match[str]) -> tuple[int, int] | None:
    return match.span() if all(int(part) <= 255 for part in match.group().split(".")) else None


_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ \u00a0\-]?[A-Za-z0-9]){11,30}+")
_IBAN_CHARS: Final = {
    n: length
    for length, names in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for n in names.split()
}  # fmt: skip
"""Characters of an account number by country (ISO 13616 registry)."""


def _iban(match: re.Match[str]) -> tuple[int, int] | None:
    text = match.group()
    length = _IBAN_CHARS.get(text[:2].upper())
    places = [place for place, char in enumerate(text) if char.isalnum()]
    if length is None or len(places) < length:
        return None
    number = "".join(text[place] for place in places[:length]).upper()
    if not number.isascii() or int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 != 1:
        return None
    return match.start(), match.start() + places[length - 1] + 1


_CARD = re.compile(r"(?<![\w.])[2-6]\d{3}(?:[ \-]?\d){8,15}(?!\d)")


_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}|"
    r"3(?:0[0-5]|[689]\d)\d{11}|(?:6011|65\d\d|64[4-9]\d|62\d\d|35\d\d|81\d\d)\d{12,15}|(?:50|5[6-9]|6\d)\d{14}"
)
"""Lengths and first digits that issuers use."""


def _card(match: re.Match[str]) -> tuple[int, int] | None:
    text = match.group()
    ends = [len(text), *(place for place in range(len(text) - 1, 11, -1) if text[place] in " -")]
    for end in ends:
        digits = [int(char) for char in text[:end] if char.isdigit()]
        number = "".join(map(str, digits))
        if _ISSUED.fullmatch(number) and _luhn(digits):
            return match.start(), match.start() + end
    return None


def _luhn(digits: list[int]) -> bool:
    doubled = [2 * digit - (9 if digit > 4 else 0) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


_SSN = re.compile(r"(?<![\w\-])(?!000|666|9)\d{3}(?:-(?!00)\d{2}-| (?!00)\d{2} )(?!0000)\d{4}(?![\w\-])")

_DIGITS = tuple("0123456789")
PERSONAL: Final[dict[str, Pattern]] = {
    pattern.name: pattern
    for pattern in (
        Pattern("email", _MAIL, _mail, needs=("@", "\uff20", "%40", "&#64;", "&commat;", "\\u0040", "\\uff20")),
        Pattern("iban", _IBAN, _iban, needs=_DIGITS),
        Pattern("credit_card", _CARD, _card, needs=_DIGITS),
        Pattern("us_ssn", _SSN, needs=("-", " ")),
        Pattern("phone", _PHONE, _phone),
        Pattern("ipv4", _IPV4, _ipv4, needs=(".",)),
    )
}
"""Built-in patterns by name, in the order in which they name what several of them match."""
