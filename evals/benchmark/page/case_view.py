"""What the page shows of single cases: the worst ones with links to their reports, and those that failed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tracescribe.evals.benchmark.results import FAILURE_KINDS, CaseResult

N_WORST = 8
"""Cases shown of each agent: enough to see a pattern, few enough to open."""
N_MESSAGES = 40
"""Messages of failures shown of each agent; the case files hold all."""
LONGEST_MESSAGE = 400
"""Characters of one message that are shown."""


@dataclass(frozen=True)
class WorstCase:
    """A case that an agent did badly on.

    Attributes:
        score: as text.
        links: (what, relative address) of the files that exist.
    """

    gold_id: str
    family: str
    seed: int
    score: str
    cut_short: str
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FailedCase:
    """A case that an agent lost."""

    gold_id: str
    seed: int
    kind: str
    message: str


@dataclass(frozen=True)
class AgentCases:
    """One agent's worst and lost cases.

    Attributes:
        kinds: (kind, number of cases), those that occur.
        unseen: failures whose messages are not shown.
    """

    agent: str
    worst: tuple[WorstCase, ...]
    failed: tuple[FailedCase, ...]
    kinds: tuple[tuple[str, int], ...]
    unseen: int


def agent_cases(
    results: Sequence[CaseResult], agent: str, metric: str, folder: Path, base: Path, higher_is_better: bool = True
) -> AgentCases:
    """Worst and lost cases of one agent.

    Args:
        results: of one suite; those of other agents are passed over.
        metric: what cases are ordered by; cases without it are not among the worst.
        folder: the benchmark's folder, which reports are relative to.
        base: the folder that the page is written to, which links are relative to.
    """
    own = [result for result in results if result.agent == agent]
    scored = [(value, one) for one in own if (value := _value(one, metric)) is not None]
    scored.sort(key=lambda pair: (pair[0] if higher_is_better else -pair[0], pair[1].gold_id, pair[1].seed))
    lost = [one for one in own if one.failure is not None]
    counts = Counter(one.failure.kind for one in lost if one.failure is not None)
    return AgentCases(
        agent=agent,
        worst=tuple(_worst(value, one, folder, base) for value, one in scored[:N_WORST]),
        failed=tuple(_failed(one) for one in lost[:N_MESSAGES]),
        kinds=tuple((kind, counts[kind]) for kind in FAILURE_KINDS if counts[kind]),
        unseen=max(0, len(lost) - N_MESSAGES),
    )


def report_links(name: str | None, folder: Path, base: Path) -> tuple[tuple[str, str], ...]:
    """Relative addresses of a report's files that exist; none for a path that leads out of the folder.

    Args:
        name: the report's JSON, relative to the folder. A page of the same stem beside it is linked first.
    """
    if name is None:
        return ()
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        return ()
    pages = (file.with_suffix(".html"), file.with_name("report.html"))
    found = [("page", path) for path in dict.fromkeys(pages) if path.is_file()][:1]
    found += [("data", file)] if file.is_file() else []
    return tuple((what, _address(path, base)) for what, path in found)


def _address(path: Path, base: Path) -> str:
    relative = Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()
    return quote(relative if relative.startswith(".") else f"./{relative}")


def _value(result: CaseResult, metric: str) -> float | None:
    found = result.scores.values.get(metric) if result.scores is not None else None
    return None if found is None else found.value


def _worst(value: float, result: CaseResult, folder: Path, base: Path) -> WorstCase:
    return WorstCase(
        gold_id=result.gold_id,
        family=result.family,
        seed=result.seed,
        score=f"{value:.3f}",
        cut_short=result.cut_short or "",
        links=report_links(result.report, folder, base),
    )


def _failed(result: CaseResult) -> FailedCase:
    assert result.failure is not None, "chosen for it"
    message = result.failure.message
    short = message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "…"
    return FailedCase(result.gold_id, result.seed, result.failure.kind, short)
