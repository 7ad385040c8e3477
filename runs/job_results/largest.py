"""Keeps the few cases with the largest keys of however many."""

from __future__ import annotations

import heapq

from tracescribe.runs.job_results.case_rows import CaseRecord
from tracescribe.runs.job_results.summary import ListedCase

N_LISTED = 20
"""Worst, slowest and dearest cases that are named."""


class Largest:
    """The cases with the largest keys, the earliest first among equals."""

    def __init__(self, n: int = N_LISTED) -> None:
        self._n = n
        self._heap: list[tuple[float, int, ListedCase]] = []

    def add(self, key: float, case: CaseRecord, value: float, note: str = "") -> None:
        """Consider one case."""
        if len(self._heap) == self._n and (key, -case.position) <= self._heap[0][:2]:
            return
        entry = (key, -case.position, ListedCase(case.case_id, case.title, case.seed, value, note))
        (heapq.heappushpop if len(self._heap) == self._n else heapq.heappush)(self._heap, entry)

    def cases(self) -> tuple[ListedCase, ...]:
        """Those that were kept, the largest key first."""
        return tuple(case for _, _, case in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1])))
