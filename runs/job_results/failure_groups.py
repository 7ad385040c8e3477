"""Groups failures by what is wrong rather than by where: messages are compared without their numbers, ids and names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tracescribe.runs.job_results.summary import FailureGroup

MAX_GROUPS = 50
"""Groups with a line of their own; whatever else fails is counted by kind."""
MAX_EXAMPLES = 3
LONGEST = 240
"""Characters of a message that are shown."""
ADVICE: dict[str, str] = {
    "input": "The case itself cannot be interpreted: correct its prompt or graph and submit it in a new job.",
    "weights": "A worker has other weights than the job: see docs/runbooks/, then 'tracescribe jobs resume {job}'.",
    "provider": "The language model failed after all retries: once it answers again, 'tracescribe jobs retry {job} "
    "--failed-kind provider' and 'tracescribe jobs resume {job}'; answered requests are not paid for again.",
    "budget": "The budget of a case does not allow its first step: submit the job with a larger budget.case.",
    "timeout": "The case was ended after its seconds: raise budget.case.seconds or kill_after, or try it again.",
    "crash": "Its worker died again and again: look for short memory, lower executor.workers, then 'tracescribe jobs "
    "retry {job} --failed-kind crash'.",
    "scoring": "The report is there, its scores are not: check the gold, then 'tracescribe jobs retry {job} "
    "--failed-kind scoring'; recorded answers are used again.",
    "error": "Read the message; 'tracescribe jobs show {job} CASE' tells more. 'tracescribe jobs retry {job}' tries it again.",
}
"""What to do by kind of failure; `{job}` stands for its id."""
LIMITS_OF_ASKING = ("usd", "tokens", "llm_calls")
"""Limits of a budget that end asking, and nothing else."""
_LIMIT = re.compile(r"budget for ([a-z_]+) is used up")
_REST = "other messages"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<!\w)'[^']{0,2000}'(?!\w)|\"[^\"]{0,2000}\"",  # what is quoted is of the case
        r"(?<!\S)(?:[a-z]+://|[./~])\S+",  # addresses and paths
        r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b",  # hashes and ids
        r"(?<![A-Za-z])[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?",
    )
)


def normalised(message: str) -> str:
    """A message on one line, `…` in place of quotations, addresses, hashes and numbers."""
    text = " ".join(message.split())[: 4 * LONGEST]
    for pattern in _PATTERNS:
        text = pattern.sub("…", text)
    return text[:LONGEST]


def limit_of(reason: str) -> str:
    """Which budget ended a report early, from the report's sentence on it, whose figures differ from case to case."""
    found = _LIMIT.match(reason)
    return found.group(1) if found else normalised(reason)


class FailureGroups:
    """Collects failures; holds a bounded number of messages however many cases fail."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._groups: dict[tuple[str, str], tuple[int, list[tuple[str, str]]]] = {}

    def add(self, case_id: str, kind: str, message: str) -> None:
        """Count one failure."""
        key = kind, normalised(message)
        if key not in self._groups and len(self._groups) >= MAX_GROUPS:
            key = kind, _REST
        n, examples = self._groups.get(key, (0, []))
        if len(examples) < MAX_EXAMPLES:
            examples.append((case_id, " ".join(message.split())[:LONGEST]))
        self._groups[key] = n + 1, examples

    def groups(self) -> tuple[FailureGroup, ...]:
        """Largest first."""
        return tuple(_sorted(self._group(key, *found) for key, found in self._groups.items()))

    def _group(self, key: tuple[str, str], n: int, examples: list[tuple[str, str]]) -> FailureGroup:
        kind, message = key
        advice = ADVICE.get(kind, ADVICE["error"]).replace("{job}", self._job_id)
        return FailureGroup(kind, message, n, advice, tuple(examples))


def _sorted(groups: Iterable[FailureGroup]) -> list[FailureGroup]:
    return sorted(groups, key=lambda one: (-one.n_cases, one.kind, one.message))
