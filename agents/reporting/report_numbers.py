"""Numbers in the sentences of a report: each names the value that it tells, and nothing numeric stands beside them.

What counts as a number, outside quotations: every character that Unicode gives a numeric value (any script's digits,
superscripts, fractions, Roman and Chinese numerals), the signs `%`, `‰` and `∞`, and the number words of English, as
`half`, `twice`, `two` or `percent`. All of it must belong to a number that the sentence lists in `numbers`. A listed
number is written in ASCII digits (`.97`, `12`, `1,000`, `3e-04`, `40%`, `−.5`), stands alone in the text, and points by a
JSON Pointer (RFC 6901) at a value of the report. It must equal that value at the precision written: 100 times the value
where a per cent sign follows, the length where the pointer leads to an array.

A quotation is `'...'` around a text that the report holds: a label, a token, a prompt or a claim's statement. Its
contents are data of the case, not figures of an experiment.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from pydantic import Field

from tracescribe.agents.claims import Frozen

_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands million "
    "millions billion billions dozen dozens half halves halved third thirds quarter quarters fifth fifths sixth sixths "
    "seventh sevenths eighth eighths ninth ninths tenth tenths hundredth hundredths thousandth thousandths twice thrice "
    "double doubles doubled triple triples tripled quadruple quadrupled percent percentage pct nan infinite infinity "
    "second twofold threefold fourfold fivefold sixfold sevenfold eightfold ninefold tenfold hundredfold thousandfold"
)
NUMBER_WORDS = frozenset(_WORDS.split())
"""English words that say a number; a sentence writes numbers in digits, so that they can be checked."""
_SIGNS = frozenset("%‰‱٪％∞")
_WRITTEN = re.compile(r"([+\-−]?)(\d{1,3}(?:,\d{3})+|\d*)(\.\d+)?(?:[eE]([+\-−]?\d{1,3}))?( ?%)?", re.ASCII)
_JOINED_BEFORE = re.compile(r"[\w.,+\-−–±×·^/*]\Z")
_JOINED_AFTER = re.compile(r"[\w%‰^×·]|[.,/:+\-−–±]\d| ?[%‰×]")
_SLACK = Decimal("1e-9")
"""Share of half a unit of the last digit: a value that lies on the edge between two roundings may be written as either."""


class SourcedNumber(Frozen):
    """One number of a sentence and where the report holds its value.

    Attributes:
        text: as it stands in the sentence, with sign and per cent sign.
        source: JSON Pointer (RFC 6901) into this report: `/verdicts/3/q_value`; where it leads to an array, the number
            is the array's length.
    """

    text: str = Field(min_length=1, max_length=40)
    source: str = Field(pattern=r"^/")


def without_quotations(text: str, quotable: Collection[str]) -> str:
    """The text with every quotation emptied: `'...'` around one of `quotable`, the longest that fits, left to right."""
    longest_first = sorted(set(quotable), key=len, reverse=True)
    out: list[str] = []
    at = 0
    while at < len(text):
        found = None
        if text[at] == "'" and not (at and text[at - 1].isalnum()):
            found = next((q for q in longest_first if text.startswith(q + "'", at + 1)), None)
        if found is None:
            out.append(text[at])
            at += 1
        else:
            out.append("''")
            at += len(found) + 2
    return "".join(out)


def written_value(text: str) -> tuple[Decimal, Decimal, bool] | None:
    """A number as written: its value, half a unit of its last digit, and whether it is per cent; None if unreadable."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, exponent, percent = match.groups()
    digits = (whole or "").replace(",", "") + (fraction or "")
    if not any(character.isdigit() for character in digits):
        return None
    power = int((exponent or "0").replace("−", "-"))
    value = Decimal(digits) * Decimal(10) ** power
    last = Decimal(10) ** (power - (len(fraction) - 1 if fraction else 0))
    return (-value if sign in ("-", "−") else value), last / 2, percent is not None


def tells(text: str, value: float) -> bool:
    """Whether a number as written equals a value at the precision written."""
    read = written_value(text)
    if read is None:
        return False
    written, half_unit, percent = read
    exact = Decimal(value) * (100 if percent else 1)
    return exact.is_finite() and abs(exact - written) <= half_unit * (1 + _SLACK)


def value_at(document: object, pointer: str) -> float | None:
    """The number at a JSON Pointer in a document; an array's length; None where there is no number."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, Mapping) and name in document:
            document = document[name]
        elif (
            isinstance(document, list | tuple)
            and re.fullmatch(r"0|[1-9][0-9]{0,8}", name)
            and int(name) < len(document)
        ):
            document = document[int(name)]
        else:
            return None
    if isinstance(document, list | tuple):
        return float(len(document))
    if isinstance(document, bool) or not isinstance(document, int | float):
        return None
    return float(document)


def number_faults(
    text: str, numbers: Sequence[SourcedNumber], quotable: Collection[str], document: object
) -> list[str]:
    """What is wrong with the numbers of one sentence.

    Args:
        text: the sentence.
        numbers: those that it lists, in the order of the text.
        quotable: texts that may be quoted.
        document: the report as plain JSON values.
    """
    plain = without_quotations(text, quotable)
    faults: list[str] = []
    rest: list[str] = []
    at = 0
    for number in numbers:
        start = _standing_alone(plain, number.text, at)
        if start is None:
            faults.append(f"lists the number {number.text!r}, which the text does not hold at its place")
            continue
        rest.append(plain[at:start])
        at = start + len(number.text)
        value = value_at(document, number.source)
        if value is None:
            faults.append(f"takes {number.text!r} from {number.source}, where no number stands")
        elif not tells(number.text, value):
            faults.append(f"says {number.text!r}, but {number.source} is {value:.6g}")
    rest.append(plain[at:])
    faults += [f"says {found!r} without a source" for piece in rest for found in _numeric(piece)]
    return faults


def _standing_alone(text: str, number: str, start: int) -> int | None:
    """Where a number stands in a text from `start` on, joined to nothing that would change it; None if nowhere."""
    at = text.find(number, start)
    while at >= 0:
        before, after = text[:at], text[at + len(number) :]
        if not _JOINED_BEFORE.search(before[-1:]) and not _JOINED_AFTER.match(after):
            return at
        at = text.find(number, at + 1)
    return None


def _numeric(text: str) -> list[str]:
    """Every numeric sign and number word in a text."""
    shown = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    found = [word for word in re.findall(r"[^\W\d_]+", shown) if word.casefold() in NUMBER_WORDS]
    if "per cent" in " ".join(shown.casefold().split()):
        found.append("per cent")
    return found + [c for c in text if c in _SIGNS or unicodedata.numeric(c, None) is not None]
