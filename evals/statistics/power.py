"""Power: how large a difference between two agents a suite can see.

Source: paired t test; Cohen 1988, "Statistical Power Analysis", chapter 2.
"""

from __future__ import annotations

import math
from functools import lru_cache

from tracescribe.tracer.errors import SettingError

ALPHA = 0.05
POWER = 0.8


def detectable_difference(spread: float, n_cases: int, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Smallest true difference that a paired two-sided test finds with the given power.

    Args:
        spread: standard deviation of the paired differences over cases.
        n_cases: cases that both agents answered.

    Returns:
        In units of the score; None with fewer than two cases, from which no spread can be told.
    """
    if n_cases < 2:
        return None
    return spread * _standardised(n_cases, alpha, power)


@lru_cache(maxsize=512)
def _standardised(n_cases: int, alpha: float, power: float) -> float:
    """The same in standard deviations.

    Raises:
        SettingError: level or power do not lie where they must.
    """
    from scipy.optimize import root_scalar
    from scipy.stats import nct, t

    if not 0.0 < alpha < power < 1.0:
        raise SettingError(f"a test needs 0 < alpha < power < 1, found alpha {alpha} and power {power}")
    df = n_cases - 1
    critical = float(t.ppf(1.0 - alpha / 2.0, df))

    def missing(shift: float) -> float:
        # the other tail is left out: with any power worth having it holds nothing
        return float(nct.sf(critical, df, shift)) - power

    shift = float(root_scalar(missing, bracket=(0.0, critical + 20.0), method="brentq").root)
    return shift / math.sqrt(n_cases)
