"""Short words for amounts that people read: seconds, money, moments, shares of cases."""

from __future__ import annotations

from collections.abc import Mapping

from tracescribe.runs.jobs.listing import JobRow

NOTHING = "–"
"""What stands where there is nothing to tell."""


def span(seconds: float | None) -> str:
    """A span of time: `0.4 s`, `12 s`, `3 min`, `5.2 h`, `4 d`."""
    if seconds is None:
        return NOTHING
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def ago(moment: float | None, now: float) -> str:
    """How long ago a moment was; another machine's clock may be ahead of ours."""
    if moment is None:
        return NOTHING
    return "just now" if now - moment < 1 else f"{span(now - moment)} ago"


def money(usd: float | None) -> str:
    """US dollars, with more digits where they are few."""
    if usd is None:
        return NOTHING
    return f"${usd:.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def cost(row: JobRow) -> str:
    """What was paid, against the limit where there is one."""
    return money(row.paid_usd) + (f" of {money(row.usd_limit)}" if row.usd_limit is not None else "")


def counted(counts: Mapping[str, int]) -> str:
    """`180 done, 3 failed`; a count of 0 is not told."""
    return ", ".join(f"{n:,} {name}" for name, n in counts.items() if n) or "none"


def share(part: int, whole: int) -> str:
    """A percentage that says 100 % only when nothing is left."""
    return f"{100 * part // whole} %" if whole else NOTHING
