"""Moments as every page tells them: day and minute in UTC, with the exact moment behind."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup


def moment_words(at: float | str, *, seconds: bool = False) -> str:
    """Such as `22 Nov 2026, 01:03 UTC`; what is no moment stays as it is.

    Args:
        at: seconds since 1970, or ISO 8601.
        seconds: told too, where moments lie close.
    """
    found = _utc(at)
    if found is None:
        return str(at)
    return found.strftime("%-d %b %Y, %H:%M:%S UTC" if seconds else "%-d %b %Y, %H:%M UTC")


def time_element(at: float | str, *, seconds: bool = False) -> Markup | str:
    """The same as an element of a page."""
    found = _utc(at)
    if found is None:
        return str(at)
    exact = found.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(exact, moment_words(at, seconds=seconds))


def _utc(at: float | str) -> datetime | None:
    """None for what is no moment: somebody may have written into a damaged log."""
    try:
        found = datetime.fromisoformat(at) if isinstance(at, str) else datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
