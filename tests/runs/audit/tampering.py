"""Ways to tamper with a log, and what a verification must say about each: what was done, and where."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tracescribe.runs.audit.chain import COLUMNS, chain_sha256
from tracescribe.runs.audit.heads import Head
from tracescribe.runs.audit.keys import PublicKey

Place = tuple[str, int, int]
"""Kind of damage, first and last number."""
_NAMES = ", ".join(COLUMNS)


@dataclass
class Tampered:
    """What a tampering was, and what must be found.

    Attributes:
        places: exactly those of the entries, whatever else is said about signatures and keys.
        beside: kinds of damage that must be told too.
        instead: places that say as much, where two entries cannot be told apart.
    """

    what: str
    places: set[Place]
    beside: set[str] = field(default_factory=set)
    instead: set[Place] | None = None


class Tamperer:
    """Somebody who can write to the database, and draws at random what to do."""

    def __init__(self, connection: sqlite3.Connection, store_id: str, draw: random.Random) -> None:
        self.connection = connection
        self.store_id = store_id
        self.draw = draw
        self.last = int(connection.execute("SELECT max(sequence) FROM audit_entries").fetchone()[0])
        self.beginning = self._row(0)[6]
        self.heads = [int(row[0]) for row in connection.execute("SELECT sequence FROM audit_heads ORDER BY sequence")]

    def tamper(self) -> Tampered:
        """Do one thing."""
        ways: tuple[Callable[[], Tampered], ...] = (
            self.edit,
            self.edit_and_rehash,
            self.edit_and_rechain,
            self.edit_number,
            self.make_negative,
            self.delete,
            self.delete_and_renumber,
            self.delete_and_rechain,
            self.insert,
            self.insert_well_chained,
            self.insert_and_rechain,
            self.duplicate,
            self.swap,
            self.swap_content,
            self.rotate_stretch,
            self.truncate,
            self.truncate_with_heads,
            self.truncate_and_append,
            self.change_head,
            self.drop_last_head,
            self.change_key,
            self.rewrite_with_own_key,
            self.rewrite_everything,
        )
        done = self.draw.choice(ways)()
        self.connection.commit()
        return done

    def edit(self) -> Tampered:
        """One column of one entry."""
        number, column = self._any(), self.draw.choice(COLUMNS[1:])
        old = self._row(number)[COLUMNS.index(column)]
        new = self._other(str(old))
        self._run(f"UPDATE audit_entries SET {column} = ? WHERE sequence = ?", new, number)
        return Tampered(f"{column} of {number} edited", {("edited", number, number)})

    def edit_and_rehash(self) -> Tampered:
        """One entry, with a hash that fits it again."""
        number = self._any()
        row = self._row(number)
        row[4] = self._other(str(row[4]))
        self._put(self._hashed(row))
        places = {("edited", number, number)}
        if number == self.last:  # nothing follows it that would know better; its head does
            places = {("rewritten", self._signed_before(number) + 1, number)}
        return Tampered(f"{number} edited and hashed anew", places)

    def edit_and_rechain(self) -> Tampered:
        """One entry, and all hashes after it."""
        number = self._any()
        row = self._row(number)
        row[5] = '{"outcome":"supported"}' if row[5] != '{"outcome":"supported"}' else "{}"
        self._put(row)
        self._rechain(number)
        return Tampered(
            f"{number} edited, all chained anew", {("rewritten", self._signed_before(number) + 1, self.last)}
        )

    def edit_number(self) -> Tampered:
        """One entry goes far away."""
        number, far = self._any(), self.last + self.draw.randint(2, 500)
        self._run("UPDATE audit_entries SET sequence = ? WHERE sequence = ?", far, number)
        return Tampered(f"{number} renumbered {far}", {("moved", far, far)})

    def make_negative(self) -> Tampered:
        """One entry gets a number that there cannot be."""
        number = self.draw.randrange(self.last)
        self._run("UPDATE audit_entries SET sequence = ? WHERE sequence = ?", -number - 1, number)
        return Tampered(f"{number} made negative", {("deleted", number, number), ("inserted", -1, -1)})

    def delete(self) -> Tampered:
        """A stretch, not at the end."""
        first, last = self._stretch(self.last - 1)
        self._run("DELETE FROM audit_entries WHERE sequence BETWEEN ? AND ?", first, last)
        return Tampered(f"{first}-{last} deleted", {("deleted", first, last)})

    def delete_and_renumber(self) -> Tampered:
        """A stretch, and the gap closed."""
        first, last = self._stretch(self.last - 1)
        self._run("DELETE FROM audit_entries WHERE sequence BETWEEN ? AND ?", first, last)
        gone = last - first + 1
        self._shift(last + 1, -gone)
        places = {("deleted", first, last), ("moved", first, self.last - gone)}
        return Tampered(f"{first}-{last} deleted, gap closed", places)

    def delete_and_rechain(self) -> Tampered:
        """A stretch, the gap closed, all hashes after it made anew."""
        first, last = self._stretch(self.last - 1)
        self._run("DELETE FROM audit_entries WHERE sequence BETWEEN ? AND ?", first, last)
        gone = last - first + 1
        self._shift(last + 1, -gone)
        self._rechain(first)
        before, end = self._signed_before(first), self.last - gone
        reached = [head for head in self.heads if first <= head <= end]
        places = {("truncated", end + 1, self.last)}
        if reached:
            places.add(("rewritten", before + 1, reached[-1]))
        return Tampered(f"{first}-{last} deleted, all chained anew", places)

    def insert(self) -> Tampered:
        """An entry with a hash out of thin air; the others make room."""
        number = self._any()
        self._shift(number, 1)
        self._put([number, *self._made_up(), self._digits(), self._digits()])
        places = {("inserted", number, number), ("moved", number + 1, self.last + 1)}
        return Tampered(f"inserted at {number}", places)

    def insert_well_chained(self) -> Tampered:
        """An entry that follows the one before as it should; the others make room."""
        number = self.draw.randint(1, self.last)
        previous = self._row(number - 1)[7]
        self._shift(number, 1)
        self._put(self._hashed([number, *self._made_up(), previous, ""]))
        places = {("inserted", number, number), ("moved", number + 1, self.last + 1)}
        return Tampered(f"well chained, inserted at {number}", places)

    def insert_and_rechain(self) -> Tampered:
        """An entry, and all hashes after it."""
        number = self._any()
        previous = self._row(number)[6]
        self._shift(number, 1)
        self._put([number, *self._made_up(), previous, ""])
        self._rechain(number)
        places = {("rewritten", self._signed_before(number) + 1, self.last)}
        return Tampered(f"inserted at {number}, all chained anew", places)

    def duplicate(self) -> Tampered:
        """A copy of an entry at the end."""
        number = self._any()
        self._put([self.last + 1, *self._row(number)[1:]])
        here = ("inserted", self.last + 1, self.last + 1)
        instead = {("inserted", self.last, self.last), ("moved", self.last + 1, self.last + 1)}
        return Tampered(f"{number} copied to the end", {here}, instead=instead if number == self.last else None)

    def swap(self) -> Tampered:
        """Two entries change places."""
        one, two = sorted(self.draw.sample(range(self.last + 1), 2))
        for old, new in ((one, -1), (two, one), (-1, two)):
            self._run("UPDATE audit_entries SET sequence = ? WHERE sequence = ?", new, old)
        return Tampered(f"{one} and {two} swapped", {("moved", one, one), ("moved", two, two)})

    def swap_content(self) -> Tampered:
        """Two entries change content, but keep number and hashes."""
        one, two = sorted(self.draw.sample(range(self.last + 1), 2))
        first, second = self._row(one), self._row(two)
        self._put([one, *second[1:6], *first[6:]])
        self._put([two, *first[1:6], *second[6:]])
        places = {("edited", one, one), ("edited", two, two)}
        if two == one + 1:
            places = {("edited", one, two)}
        return Tampered(f"content of {one} and {two} swapped", places)

    def rotate_stretch(self) -> Tampered:
        """The first of a stretch becomes its last."""
        first = self.draw.randrange(self.last - 3)
        last = first + self.draw.randint(2, min(30, self.last - first))
        self._run("UPDATE audit_entries SET sequence = -1 WHERE sequence = ?", first)
        for number in range(first + 1, last + 1):
            self._run("UPDATE audit_entries SET sequence = ? WHERE sequence = ?", number - 1, number)
        self._run("UPDATE audit_entries SET sequence = ? WHERE sequence = -1", last)
        return Tampered(f"{first} put behind {last}", {("moved", first, last - 1), ("moved", last, last)})

    def truncate(self) -> Tampered:
        """The end is cut off; signatures stay."""
        end = self.draw.randrange(-1, self.last)
        self._run("DELETE FROM audit_entries WHERE sequence > ?", end)
        return Tampered(f"cut off after {end}", {("truncated", end + 1, self.last)})

    def truncate_with_heads(self) -> Tampered:
        """The end is cut off with its signatures: only the anchor knows."""
        end = self.draw.randrange(-1, self.last)
        self._run("DELETE FROM audit_entries WHERE sequence > ?", end)
        self._run("DELETE FROM audit_heads WHERE sequence > ?", end)
        return Tampered(f"cut off after {end}, heads too", {("truncated", end + 1, self.last)}, {"signature"})

    def truncate_and_append(self) -> Tampered:
        """The end is cut off with its signatures, and as much made up in its place."""
        end = self.draw.randrange(0, self.last)
        self._run("DELETE FROM audit_entries WHERE sequence > ?", end)
        self._run("DELETE FROM audit_heads WHERE sequence > ?", end)
        previous = self._row(end)[7]
        for number in range(end + 1, self.last + 3):
            row = self._hashed([number, *self._made_up(), previous, ""])
            self._put(row)
            previous = row[7]
        before = self._signed_before(end + 1)
        return Tampered(f"made up after {end}", {("rewritten", before + 1, self.last)}, {"signature"})

    def change_head(self) -> Tampered:
        """One column of a signed head."""
        head = self.draw.choice(self.heads)
        column = self.draw.choice(("chain", "at", "signature"))
        old = self.connection.execute(f"SELECT {column} FROM audit_heads WHERE sequence = ?", (head,)).fetchone()[0]
        self._run(f"UPDATE audit_heads SET {column} = ? WHERE sequence = ?", self._other(old), head)
        return Tampered(f"{column} of the head at {head} changed", {("signature", head, head)})

    def drop_last_head(self) -> Tampered:
        """The last signature, without which the end would be nobody's."""
        self._run("DELETE FROM audit_heads WHERE sequence = ?", self.last)
        return Tampered("last head dropped", {("signature", self.last, self.last)})

    def change_key(self) -> Tampered:
        """The stored public key becomes the tamperer's."""
        self._run("UPDATE audit_keys SET public_key = ?", _own_key()[1].text)
        places = {("key", head, head) for head in self.heads}
        return Tampered("key replaced", places, {"key"})

    def rewrite_with_own_key(self) -> Tampered:
        """An entry edited, all hashes and signatures after it made anew with a key of one's own."""
        number = self._any()
        row = self._row(number)
        row[2] = self._other(str(row[2]))
        self._put(row)
        self._rechain(number)
        heads = [head for head in self.heads if head >= number]
        self._sign(heads)
        places = {("rewritten", self._signed_before(number) + 1, self.last)}
        return Tampered(f"{number} edited, signed by another", places | {("key", h, h) for h in heads}, {"key"})

    def rewrite_everything(self) -> Tampered:
        """Another log altogether, with another key and no trace of the first."""
        previous = self._row(0)[6]
        for number in range(self.last + 1):
            row = self._hashed([number, *self._made_up(), previous, ""])
            self._put(row)
            previous = row[7]
        self._run("DELETE FROM audit_keys")
        self._sign(self.heads)
        places = {("rewritten", 0, self.last)} | {("key", head, head) for head in self.heads}
        return Tampered("all rewritten", places, {"key"})

    def _any(self) -> int:
        return self.draw.randint(0, self.last)

    def _stretch(self, end: int) -> tuple[int, int]:
        first = self.draw.randint(0, end)
        return first, min(end, first + self.draw.choice((0, 0, 1, 5, 60)))

    def _signed_before(self, number: int) -> int:
        return max([head for head in self.heads if head < number], default=-1)

    def _row(self, number: int) -> list[object]:
        query = f"SELECT {_NAMES} FROM audit_entries WHERE sequence = ?"
        return list(self.connection.execute(query, (number,)).fetchone())

    def _put(self, row: list[object]) -> None:
        self._run(f"INSERT OR REPLACE INTO audit_entries ({_NAMES}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)

    def _hashed(self, row: list[object]) -> list[object]:
        return [*row[:7], chain_sha256(*row[:7])]  # type: ignore[arg-type]

    def _rechain(self, number: int) -> None:
        """Hashes from a number on, as if nothing had happened."""
        end = int(self.connection.execute("SELECT max(sequence) FROM audit_entries").fetchone()[0])
        previous = self._row(number - 1)[7] if number > 0 else self.beginning
        for each in range(number, end + 1):
            row = self._hashed([*self._row(each)[:6], previous])
            self._put(row)
            previous = row[7]

    def _shift(self, first: int, by: int) -> None:
        """Renumber all from `first` on."""
        self._run("UPDATE audit_entries SET sequence = -sequence - 1000 WHERE sequence >= ?", first)
        self._run("UPDATE audit_entries SET sequence = -sequence - 1000 + ? WHERE sequence < 0", by)

    def _sign(self, heads: list[int]) -> None:
        private, public = _own_key()
        self._run("INSERT INTO audit_keys VALUES (?, ?, 0.0)", public.key_id, public.text)
        for number in heads:
            head = Head(number, str(self._row(number)[7]), "2026-01-01T00:00:00.000000Z", public.key_id, "")
            signature = private.sign(head.message(self.store_id)).hex()
            self._run("DELETE FROM audit_heads WHERE sequence = ?", number)
            self._run(
                "INSERT INTO audit_heads (sequence, chain, at, key_id, signature) VALUES (?, ?, ?, ?, ?)",
                *(number, head.chain, head.at, head.key_id, signature),
            )

    def _made_up(self) -> list[object]:
        details = f'{{"case":"{self.draw.randrange(10**6)}"}}'
        return ["2026-11-21T00:00:00.000000Z", "worker:w", "verdict", f"job.{self.draw.randrange(100)}", details]

    def _digits(self) -> str:
        return f"{self.draw.getrandbits(256):064x}"

    def _other(self, text: str) -> str:
        """The text with one character changed, added or dropped."""
        place = self.draw.randrange(len(text)) if text else 0
        way = self.draw.randrange(3)
        if way == 0 and len(text) > 1:
            return text[:place] + text[place + 1 :]
        new = self.draw.choice([c for c in "0123456789abcdef" if c != text[place : place + 1]])
        return text[:place] + new + text[place + (way == 1) :]

    def _run(self, statement: str, *values: object) -> None:
        self.connection.execute(statement, values)


def _own_key() -> tuple[Ed25519PrivateKey, PublicKey]:
    private = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    return private, PublicKey(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
