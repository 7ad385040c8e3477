"""Tells from what a walk saw, and from signed heads, what was done to the log and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tracescribe.runs.audit.walk import Findings, Run

DamageKind = Literal[
    "edited", "moved", "inserted", "deleted", "rewritten", "truncated", "signature", "key", "origin", "anchor"
]
DAMAGE_KINDS: dict[DamageKind, str] = {
    "edited": "the content of entries was changed",
    "moved": "whole entries stand at other numbers than those they were written with",
    "inserted": "entries were slipped in",
    "deleted": "entries are missing between others",
    "rewritten": "entries were replaced and chained anew: a signed head or an anchor knows others",
    "truncated": "the end is missing: a signed head or an anchor lies beyond it",
    "signature": "a signed head was changed, or is missing though an anchor knows it",
    "key": "a head is signed with a key that nobody here vouches for, or a stored key was changed",
    "origin": "the first entry does not begin the log of this store, or another store was at its place before",
    "anchor": "the anchor that this machine keeps was changed",
}
"""What each kind means, as `docs/audit.md` has it."""


@dataclass(frozen=True)
class Damage:
    """One place where the log is not what it was.

    Attributes:
        first, last: sequence numbers; for `moved` and `inserted` those that the entries have now, for `deleted` and
            `truncated` those that they had.
        message: what is wrong, for people.
    """

    kind: DamageKind
    first: int
    last: int
    message: str


@dataclass(frozen=True)
class Mark:
    """What somebody vouches for: the chain hash of one entry.

    Attributes:
        by: `signed head` or `anchor`.
    """

    sequence: int
    chain: str
    by: str


@dataclass(frozen=True)
class Assessment:
    """Damages in the order of their places, and how far somebody vouches for the log.

    Attributes:
        vouched: number of the last entry below a mark that fits; -1 for none.
    """

    damages: tuple[Damage, ...]
    vouched: int


def assess(findings: Findings, marks: Sequence[Mark]) -> Assessment:
    """Tell what was done.

    Args:
        marks: heads whose signature holds, and anchors.
    """
    damages, blamed = _of_entries(findings)
    by_marks, vouched = _of_marks(findings, marks, blamed)
    damages += by_marks
    return Assessment(tuple(sorted(damages, key=lambda damage: (damage.first, damage.last))), vouched)


def _of_entries(findings: Findings) -> tuple[list[Damage], set[int]]:
    """What the entries alone show; and the numbers of single entries that are known to be replaced."""
    damages: list[Damage] = []
    inserted, copies = _twice(findings)
    replaced, origin = _replaced(findings.broken)
    replaced -= _numbers(inserted)
    edited = _join([*_without(findings.edited, inserted), *(Run(n, n) for n in sorted(replaced))])
    moved = _moved_without(findings.moved, copies)
    home = _join([*findings.in_place, *findings.edited, *(_home(run) for run in findings.moved)])
    deleted = _gaps(home)
    for run in edited:
        damages.append(Damage("edited", run.first, run.last, f"{_entries(run)} changed after being written"))
    for run in inserted + copies:
        damages.append(Damage("inserted", run.first, run.last, f"{_entries(run)} slipped in"))
    for run in deleted:
        damages.append(Damage("deleted", run.first, run.last, f"{_entries(run)} removed"))
    for run in moved:
        there = _home(run)
        was = f"{there.first}" if there.first == there.last else f"{there.first} to {there.last}"
        damages.append(Damage("moved", run.first, run.last, f"{_entries(run)} moved here from {was}"))
    for what in findings.impossible:
        damages.append(Damage("inserted", -1, -1, f"an entry with the number {what} was slipped in"))
    if origin:
        damages.append(
            Damage("origin", 0, 0, "entry 0 does not begin the log of this store: it, or the store's id, was replaced")
        )
    return damages, replaced | {n for n in findings.chains if _holds(edited, n)}


def _of_marks(findings: Findings, marks: Sequence[Mark], blamed: set[int]) -> tuple[list[Damage], int]:
    damages: list[Damage] = []
    end = max([run.last for run in findings.in_place + findings.edited], default=-1)
    end = max([end, *(_home(run).last for run in findings.moved)])
    vouched, rewritten = -1, list[Run]()
    beyond: Mark | None = None
    broken = False
    for mark in sorted(marks, key=lambda mark: mark.sequence):
        found = findings.chains.get(mark.sequence)
        if found is None:
            beyond = mark if mark.sequence > end else beyond
            continue
        if any(chain == mark.chain for chain, _ in found):
            vouched, broken = mark.sequence, False
        elif any(whole for _, whole in found) and mark.sequence not in blamed:
            if broken:
                rewritten[-1].last = mark.sequence
            else:
                rewritten.append(Run(vouched + 1, mark.sequence))
            broken = True
    for run in rewritten:
        names = [mark.by for mark in marks if mark.sequence == run.last]
        message = f"{_entries(run)} not those that the {names[0]} at {run.last} vouches for"
        damages.append(Damage("rewritten", run.first, run.last, message))
    if beyond is not None:
        message = f"the log ends at {end}, but the {beyond.by} at {beyond.sequence} knows more"
        damages.append(Damage("truncated", end + 1, beyond.sequence, message))
    return damages, vouched


def _replaced(broken: Sequence[int]) -> tuple[set[int], bool]:
    """Entries that no longer are what the next one follows; and whether the first one begins another log.

    One link that does not hold blames the entry before it, which the next one does not know. Where links before and
    after an entry do not hold, it is that entry that is strange.
    """
    replaced: set[int] = set()
    origin = False
    for run in _join([Run(n, n) for n in broken]):
        if run.first == run.last:
            replaced |= {run.first - 1} if run.first > 0 else set()
            origin |= run.first == 0
        else:
            replaced |= set(range(run.first, run.last))
    return replaced, origin


def _twice(findings: Findings) -> tuple[list[Run], list[Run]]:
    """Numbers that two entries claim: those slipped in before the rightful ones, and mere copies put elsewhere."""
    inserted: list[Run] = []
    copies: list[Run] = []
    broken = set(findings.broken)
    for moved in findings.moved:
        home = _home(moved)
        for run in findings.in_place + findings.edited:
            first, last = max(run.first, home.first), min(run.last, home.last)
            if first > last:
                continue
            follower = last + 1
            followed = follower not in broken and _holds(findings.in_place, follower)
            if followed and _holds(findings.in_place, last):
                copies.append(Run(first - moved.shift, last - moved.shift))
            else:
                inserted.append(Run(first, last))
    return _join(inserted), _join(copies)


def _home(run: Run) -> Run:
    """The numbers with which moved entries were written."""
    return Run(run.first + run.shift, run.last + run.shift)


def _moved_without(moved: Iterable[Run], copies: Sequence[Run]) -> list[Run]:
    return [Run(piece.first, piece.last, run.shift) for run in moved for piece in _without([run], copies)]


def _without(runs: Iterable[Run], others: Sequence[Run]) -> list[Run]:
    """Runs less the numbers of others."""
    left = [Run(run.first, run.last) for run in runs]
    for other in others:
        pieces = []
        for run in left:
            pieces.append(Run(run.first, min(run.last, other.first - 1)))
            pieces.append(Run(max(run.first, other.last + 1), run.last))
        left = [run for run in pieces if run.first <= run.last]
    return left


def _gaps(runs: Sequence[Run]) -> list[Run]:
    """What is missing from 0 to the last number."""
    gaps, following = [], 0
    for run in runs:
        if run.first > following:
            gaps.append(Run(following, run.first - 1))
        following = max(following, run.last + 1)
    return gaps


def _join(runs: Iterable[Run]) -> list[Run]:
    """Runs in order, those that touch or overlap as one."""
    joined: list[Run] = []
    for run in sorted(runs, key=lambda run: (run.first, run.last)):
        if joined and run.first <= joined[-1].last + 1:
            joined[-1].last = max(joined[-1].last, run.last)
        else:
            joined.append(Run(run.first, run.last))
    return joined


def _holds(runs: Iterable[Run], number: int) -> bool:
    return any(run.first <= number <= run.last for run in runs)


def _numbers(runs: Iterable[Run]) -> set[int]:
    return {number for run in runs for number in range(run.first, run.last + 1)}


def _entries(run: Run) -> str:
    return f"entry {run.first} was" if run.first == run.last else f"entries {run.first} to {run.last} were"
