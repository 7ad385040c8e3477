"""Corrections of p values for many comparisons; Benjamini and Hochberg's is in `tracer.statistics`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Corrected p values, `[n]`, in input order: where none is below alpha by chance, in all but alpha of tables.

    Source: Holm 1979, Scand. J. Statist. 6, 65-70.
    """
    p = np.asarray(p_values, dtype=np.float64).reshape(-1)
    order = np.argsort(p, kind="stable")
    found = np.empty_like(p)
    found[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return found
