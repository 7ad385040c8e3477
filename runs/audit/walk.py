"""Walks the log entry by entry and notes where it is not what it must be; little is held in memory.

An entry in place costs one hash. For one that does not fit, the walk asks whether it was changed, or stood at another
number before: its hash covers the number it was written with, so the right number can be found by trying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracescribe.runs.audit.chain import chain_sha256

Row = Sequence[Any]
"""Columns of one entry as `chain.COLUMNS` has them; of any type, for whoever tampers may write anything."""

NEAR = 40
"""Numbers to either side that an entry is tried with."""
MAX_TRIES = 500_000
"""Numbers tried in all; what is damaged beyond is told as changed, not as moved."""
MAX_SEARCHES = 60
"""Searches through the whole log for the neighbours of an entry."""
MAX_WIDE = 1_500_000
"""Numbers tried in all, over the whole log, where entries one after another do not fit and no number nearby explains it."""
ROTATED = "key rotated"
RESTORED = "log restored"


@dataclass
class Run:
    """Entries one after another: numbers `first` to `last`, which stood `shift` further on when they were written."""

    first: int
    last: int
    shift: int = 0


@dataclass
class Findings:
    """What the walk saw.

    Attributes:
        n_entries: read.
        edited: numbers of entries whose content does not fit their hash, nor any other number's.
        moved: entries that are whole, but were written with another number.
        broken: numbers of entries that are whole and in place, but follow another entry than the one before them.
        absent: numbers below the last one that no entry has.
        impossible: what stands in place of a number, as text.
        in_place: entries that are whole and have their number.
        chains: chain hashes of entries that have, or were written with, the number of a signed head; with whether the
            entry is whole.
        last: highest number; -1 for an empty log.
        rotations: details of `key rotated` entries.
        restored: numbers and details of `log restored` entries.
    """

    n_entries: int = 0
    edited: list[Run] = field(default_factory=list)
    moved: list[Run] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    absent: list[Run] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)
    in_place: list[Run] = field(default_factory=list)
    chains: dict[int, list[tuple[str, bool]]] = field(default_factory=dict)
    last: int = -1
    rotations: list[str] = field(default_factory=list)
    restored: list[tuple[int, str]] = field(default_factory=list)


class Walk:
    """Reads entries in the order of their numbers."""

    def __init__(
        self,
        first_previous: str,
        heads: Iterable[int],
        find: Callable[[str, str], int | None],
        reach: int,
    ) -> None:
        """Prepare a walk.

        Args:
            first_previous: what the first entry must name as its predecessor.
            heads: sequence numbers of signed heads and anchors.
            find: the number of some entry whose column (`chain` or `previous`) has a value.
            reach: largest number that an entry may have been written with.
        """
        self.findings = Findings()
        self._heads = frozenset(heads)
        self._find = find
        self._previous: set[str] | None = {first_previous}  # what the next entry may name; None if that is unknown
        self._expected = 0
        self._shift = 0
        self._tries = 0
        self._searches = 0
        self._wide = 0
        self._reach = reach
        self._edited: list[Row] = []  # the last entries that nothing explained, one after another

    def read(self, rows: Iterable[Row]) -> None:
        """Read on."""
        findings, heads = self.findings, self._heads
        expected, whole_from = self._expected, self._expected
        previous = next(iter(self._previous)) if self._previous is not None and len(self._previous) == 1 else None
        for row in rows:
            findings.n_entries += 1
            number, at, actor, act, subject, details, named, chain = row
            try:
                fits = (
                    number == expected
                    and named == previous
                    and type(number) is int
                    and chain == chain_sha256(number, at, actor, act, subject, details, named)
                )
            except (TypeError, ValueError):
                fits = False
            if fits:
                if number in heads:
                    self._note_head(number, chain, True)
                if act == ROTATED:
                    findings.rotations.append(details)
                elif act == RESTORED:
                    findings.restored.append((number, details))
                previous = chain
                expected += 1
                continue
            if expected > whole_from:
                _extend(findings.in_place, whole_from, expected - 1)
                self._shift = 0
                self._previous = {previous} if previous is not None else None
            self._expected = expected
            self._look_at(row)
            expected = whole_from = self._expected
            previous = next(iter(self._previous)) if self._previous is not None and len(self._previous) == 1 else None
        if expected > whole_from:
            _extend(findings.in_place, whole_from, expected - 1)
            self._shift = 0
            self._previous = {previous} if previous is not None else None
        self._expected = expected
        findings.last = max(findings.last, expected - 1)

    def _look_at(self, row: Row) -> None:
        """An entry that does not simply follow the one before."""
        findings = self.findings
        number, chain = row[0], row[7]
        if type(number) is not int or number < self._expected:
            findings.impossible.append(str(number)[:40])
            return
        if number > self._expected:
            _extend(findings.absent, self._expected, number - 1)
            self._previous = None
        self._expected = number + 1
        computed = _hash(row, number)
        if row[3] == ROTATED and isinstance(row[5], str):
            findings.rotations.append(row[5])
        if computed == chain:
            self._note_head(number, chain, True)
            _extend(findings.in_place, number, number)
            if self._previous is not None and row[6] not in self._previous:
                findings.broken.append(number)
            self._shift = 0
            self._previous = {chain}
            return
        self._previous = None  # after an entry that is not itself nothing can be said about what the next one follows
        if self._edited and self._edited[-1][0] != number - 1:
            self._edited.clear()
        original = self._original(row)
        if original is None:
            self._note_head(number, str(chain), False)
            _extend(findings.edited, number, number)
            self._edited = [*self._edited[-NEAR:], row]
            return
        self._moved_from(row, original)

    def end(self) -> Findings:
        """What was seen, once all is read."""
        if self._edited and self._edited[-1][0] == self._expected - 1:
            row = self._edited.pop()
            original = self._anywhere(row)  # what comes last has none after it that would make us look further
            if original is not None:
                _shorten(self.findings.edited)
                self._moved_from(row, original)
        return self.findings

    def _moved_from(self, row: Row, original: int) -> None:
        findings = self.findings
        self._shift = original - int(row[0])
        together = [*self._moved_too(), row]
        for _ in together[1:]:
            _shorten(findings.edited)
        for moved in together:
            _extend(findings.moved, moved[0], moved[0], self._shift)
            self._note_head(moved[0] + self._shift, moved[7], True)
        self._edited.clear()

    def _moved_too(self) -> list[Row]:
        """Entries just before that nothing explained until this one's new place was found: they moved with it."""
        found: list[Row] = []
        for row in reversed(self._edited):
            if _hash(row, int(row[0]) + self._shift) != row[7]:
                break
            found.insert(0, row)
        return found

    def _note_head(self, number: int, chain: str, whole: bool) -> None:
        if number in self._heads:
            self.findings.chains.setdefault(number, []).append((chain, whole))

    def _original(self, row: Row) -> int | None:
        """The number with which an entry was written; None if its content was changed."""
        number = int(row[0])
        near = [number + self._shift] if self._shift else []
        if self._tries < MAX_TRIES:
            near += [number + sign * distance for distance in range(1, NEAR + 1) for sign in (1, -1)]
        for candidate in near:
            self._tries += 1
            if candidate >= 0 and _hash(row, candidate) == row[7]:
                return candidate
        found = self._by_neighbours(row)
        return found if found is not None or not self._edited else self._anywhere(row)

    def _by_neighbours(self, row: Row) -> int | None:
        if self._searches >= MAX_SEARCHES:
            return None
        for column, value, step in (("chain", row[6], 1), ("previous", row[7], -1)):
            if not isinstance(value, str):
                continue
            self._searches += 1
            found = self._find(column, value)
            if found is not None and _hash(row, found + step) == row[7]:
                return found + step
        return None

    def _anywhere(self, row: Row) -> int | None:
        """Tries all numbers, those nearby first: for a whole stretch that was moved far."""
        number = int(row[0])
        for distance in range(NEAR + 1, self._reach + 1):
            for candidate in (number + distance, number - distance):
                if 0 <= candidate <= self._reach:
                    self._wide += 1
                    if _hash(row, candidate) == row[7]:
                        return candidate
            if self._wide >= MAX_WIDE:
                return None
        return None


def _hash(row: Row, number: int) -> str | None:
    """The chain hash of an entry if it has this number; None where its content is nothing that was ever hashed."""
    try:
        return chain_sha256(number, row[1], row[2], row[3], row[4], row[5], row[6])
    except (TypeError, ValueError):
        return None


def _shorten(runs: list[Run]) -> None:
    """Take the last number out of the last run."""
    runs[-1].last -= 1
    if runs[-1].last < runs[-1].first:
        runs.pop()


def _extend(runs: list[Run], first: int, last: int, shift: int = 0) -> None:
    """Add numbers to the last run, or begin another."""
    if runs and runs[-1].last == first - 1 and runs[-1].shift == shift:
        runs[-1].last = last
    else:
        runs.append(Run(first, last, shift))
