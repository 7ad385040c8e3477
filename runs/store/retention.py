"""Retention: how long results of each kind are kept once their cases are finished; for ever unless somebody said so."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

from sqlalchemy import select

from tracescribe.runs.store.artefacts import ARTEFACT_KINDS
from tracescribe.runs.store.statements import insert_or_update
from tracescribe.runs.store.tables import settings
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.provenance import canonical_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

ANSWERS = "answers"
"""Recorded answers of language models; a request whose answer is gone is paid for again when a case asks it again."""
KINDS = (*ARTEFACT_KINDS, ANSWERS)
_SETTING = "retention"
_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_PERIOD = re.compile(r"(\d{1,5})([hdw])")


def read_period(text: str) -> int:
    """Seconds of a period such as `12h`, `30d` or `8w`.

    Raises:
        SettingError: it is none.
    """
    found = _PERIOD.fullmatch(text.strip().lower())
    if found is None:
        raise SettingError(f"{text!r} is no period; write hours, days or weeks, such as 12h, 30d or 8w")
    return int(found[1]) * _UNITS[found[2]]


def show_period(seconds: int) -> str:
    """A period as `read_period` takes it, in the largest unit that has no remainder."""
    for unit in ("w", "d", "h"):
        if seconds % _UNITS[unit] == 0 and seconds:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{math.ceil(seconds / _UNITS['h'])}h"


def rules(connection: Connection) -> dict[str, int]:
    """Seconds by kind; a kind that is not named is kept for ever."""
    found = connection.scalar(select(settings.c.value).where(settings.c.name == _SETTING))
    return {} if found is None else {str(kind): int(seconds) for kind, seconds in json.loads(found).items()}


def set_rule(store: Store, kind: str, seconds: int | None) -> dict[str, int]:
    """Set or (None) clear the rule of a kind, and say so in the audit log; returns all rules.

    Raises:
        SettingError: there is no such kind.
    """
    from tracescribe.runs.audit import append

    if kind not in KINDS:
        raise SettingError(f"there is no kind {kind!r}; choose among {', '.join(KINDS)}")

    def work(connection: Connection) -> dict[str, int]:
        held = rules(connection)
        before = held.get(kind)
        if seconds is None:
            held.pop(kind, None)
        else:
            held[kind] = seconds
        row = {"name": _SETTING, "value": canonical_json(held)}
        insert_or_update(connection, settings, [row], ("value",))
        if before != seconds:
            append(connection, act="retention changed", subject=kind, details={"before": before, "after": seconds})
        return held

    return store.write(work)
