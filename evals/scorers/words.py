"""How many words two short texts share."""

from __future__ import annotations

import re
from collections import Counter


def word_f1(first: str, second: str) -> float:
    """F1 over the words of two texts, 0 to 1; repeated words count as often as they stand. Two wordless texts agree.

    Source: token F1 as in Rajpurkar et al. 2016 (SQuAD).
    """
    a, b = _words(first), _words(second)
    if not a or not b:
        return float(a == b)
    return 2.0 * sum((a & b).values()) / (sum(a.values()) + sum(b.values()))


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))
