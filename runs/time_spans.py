"""Spans of time and moments as people write them: `30d`, `12h`, `2026-11-21`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tracescribe.tracer.errors import SettingError

_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EXPECTED = "a number and s, m, h, d or w, such as 90m, 12h or 30d"


def parse_span(text: str) -> float:
    """Seconds of a span of time.

    Raises:
        SettingError: it is none, or nothing.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise SettingError(f"{text[:40]!r} is no span of time; expected {_EXPECTED}")
    return float(int(match[1]) * _SECONDS[match[2]])


def parse_moment(text: str) -> datetime:
    """A moment: a date, a date with time (UTC where no zone is named), or how long ago.

    Raises:
        SettingError: it is none of them.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except ValueError:
        pass  # perhaps how long ago
    except OverflowError as error:
        raise SettingError(f"{text[:40]!r} lies before the year 1 or after 9999 in UTC; leave the zone out") from error
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_span(text))
    except (SettingError, OverflowError) as error:
        raise SettingError(
            f"{text[:40]!r} is no moment; expected 2026-11-21, 2026-11-21T08:00, or {_EXPECTED}"
        ) from error
