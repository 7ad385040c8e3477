"""YAML and JSON text as values that know where they stand. Nothing of the text is run, expanded or guessed at.

Of YAML: one document, plain scalars as the core schema of YAML 1.2 reads them (`yes` is text, `010` is ten), no anchors,
aliases or tags, so that a small file cannot stand for an enormous value or for a Python object.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

import yaml

from tracescribe.runs.jobs.faults import Fault, Place, SpecificationError, shown

MAX_DEPTH = 20
"""Deepest nesting; a specification needs four."""
MAX_VALUES = 1_000_000
"""Most values of one file; more prompts than this belong into a file of prompts."""

Scalar = str | int | float | bool | None
_Events = Iterator[Any]
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_JSON_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_JSON_SPACE = re.compile(r"[ \t\r\n]*")
_HALF = re.compile("[\ud800-\udfff]")
_DECODER = json.JSONDecoder()
_JSON_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None}


@dataclass(eq=False)
class Part:
    """A value with its place.

    Attributes:
        value: a scalar, a list of parts, or parts by key.
        place: where it begins.
        keys: where each key of a mapping stands.
    """

    value: Scalar | list[Part] | dict[str, Part]
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, list):
            return [part.plain() for part in self.value]
        if isinstance(self.value, dict):
            return {key: part.plain() for key, part in self.value.items()}
        return self.value

    def at(self, path: tuple[str | int, ...], *, key: bool = False) -> Place:
        """Where the value at a path stands, or the nearest value around it that is there.

        Args:
            path: keys and positions; those that are not there are passed over.
            key: the place of the last key instead of its value.
        """
        part, place = self, self.place
        for step in path:
            if isinstance(part.value, dict) and step in part.value:
                place = part.keys[str(step)] if key else part.value[str(step)].place
                part = part.value[str(step)]
            elif isinstance(part.value, list) and isinstance(step, int) and step < len(part.value):
                part = part.value[step]
                place = part.place
        return place


def parse_document(text: str, name: str, *, as_json: bool) -> tuple[Part, list[Fault]]:
    """Read a document; beside it every key that stands twice, of which the first is taken.

    Args:
        name: of the file, for places.

    Raises:
        SpecificationError: it is malformed, too deep or too large.
    """
    reader = _Json(text, name) if as_json else _Yaml(text, name)
    return reader.read(), reader.faults


def parse_value(text: str, place: Place) -> Part:
    """One value as it would stand in YAML, for options such as `--set seeds=[1,2]`.

    Raises:
        SpecificationError: it is malformed.
    """
    if not text.strip():
        return Part("", place)
    part, faults = parse_document(text, place.file, as_json=False)
    if faults:
        raise SpecificationError(faults)
    return _all_at(part, place)


def _all_at(part: Part, place: Place) -> Part:
    if isinstance(part.value, list):
        return Part([_all_at(one, place) for one in part.value], place)
    if isinstance(part.value, dict):
        return Part(
            {key: _all_at(one, place) for key, one in part.value.items()}, place, dict.fromkeys(part.value, place)
        )
    return Part(part.value, place)


def plain_scalar(text: str) -> Scalar:
    """What an unquoted scalar means in the core schema of YAML 1.2."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INTEGER.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return text


class _Reader:
    """What both readers share: bounds, and mappings whose keys stand once."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.faults: list[Fault] = []
        self._n_values = 0

    def fail(self, place: Place, problem: str, hint: str = "") -> NoReturn:
        raise SpecificationError([*self.faults, Fault(place, "", problem, hint)])

    def count(self, depth: int, place: Place) -> None:
        self._n_values += 1
        if depth > MAX_DEPTH:
            self.fail(place, f"nested more than {MAX_DEPTH} deep; a job needs no more than four levels")
        if self._n_values > MAX_VALUES:
            self.fail(place, f"more than {MAX_VALUES} values", "give prompts in a file of their own with prompts.file")

    def add(self, mapping: Part, key: str, at: Place, value: Part, path: tuple[str, ...]) -> None:
        entries = cast("dict[str, Part]", mapping.value)
        if key in entries:
            first = mapping.keys[key]
            told = f"found the key twice, first in line {first.line}; expected it once"
            self.faults.append(Fault(at, ".".join([*path, shown_key(key)]), told))
            return
        entries[key], mapping.keys[key] = value, at


def shown_key(key: str) -> str:
    """A key as messages repeat it."""
    return key if key.isidentifier() and len(key) <= 60 else shown(key).removeprefix("text ")


class _Yaml(_Reader):
    def read(self) -> Part:
        # libyaml where it is there: ten times as fast, and as strict
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            events = iter(yaml.parse(self.text, Loader=loader))
            next(events)  # start of the stream
            if isinstance(next(events), yaml.StreamEndEvent):
                return Part(None, Place(self.name, 1, 1))
            part = self._part(next(events), events, 1, ())
            next(events)  # end of the document
            if not isinstance(after := next(events), yaml.StreamEndEvent):
                self.fail(self._place(after), "found a second document; expected one job in a file")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(self.name) if mark is None else Place(self.name, mark.line + 1, mark.column + 1)
            self.fail(place, f"not YAML: {error.problem or error.context}")
        except yaml.YAMLError as error:
            self.fail(Place(self.name), f"not YAML: {' '.join(str(error).split())[:200]}")
        return part

    def _place(self, event: Any) -> Place:
        return Place(self.name, event.start_mark.line + 1, event.start_mark.column + 1)

    def _part(self, event: Any, events: _Events, depth: int, path: tuple[str, ...]) -> Part:
        place = self._place(event)
        self.count(depth, place)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self.fail(place, "anchors and aliases (& and *) are not taken; write the value out, or put it into quotes")
        if event.tag is not None and event.tag != "!":
            self.fail(
                place, f"tags are not taken, found {event.tag[:60]!r}; leave it out, or put the value into quotes"
            )
        if isinstance(event, yaml.ScalarEvent):
            return Part(plain_scalar(event.value) if event.implicit[0] else event.value, place)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Part] = []
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                items.append(self._part(event, events, depth + 1, (*path, str(len(items)))))
            return Part(items, place)
        mapping = Part({}, place)
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            at = self._place(event)
            key = self._part(event, events, depth + 1, path).value
            if not isinstance(key, str):
                if isinstance(key, list | dict):
                    self.fail(at, f"found {shown(key)} as a key; expected the name of a field")
                key = event.value  # a number or a word such as `true`: told as an unknown field, as it stands
            self.add(mapping, key, at, self._part(next(events), events, depth + 1, (*path, key)), path)
        return mapping


class _Json(_Reader):
    """Reads what `json` has found to be well-formed, for the sake of places."""

    def read(self) -> Part:
        try:
            json.loads(self.text)
        except json.JSONDecodeError as error:
            self.fail(Place(self.name, error.lineno, error.colno), f"not JSON: {error.msg}")
        except (RecursionError, ValueError) as error:
            self.fail(Place(self.name), f"not JSON that can be used: {str(error)[:100] or 'too deep'}")
        self._lines = [0, *(match.end() for match in re.finditer("\n", self.text))]
        return self._part(self._skip(0), 1, ())[0]

    def _place(self, offset: int) -> Place:
        line = bisect.bisect_right(self._lines, offset)
        return Place(self.name, line, offset - self._lines[line - 1] + 1)

    def _skip(self, offset: int) -> int:
        match = _JSON_SPACE.match(self.text, offset)
        assert match is not None, "the pattern matches the empty text"
        return match.end()

    def _part(self, offset: int, depth: int, path: tuple[str, ...]) -> tuple[Part, int]:
        """A value, and where it ends."""
        place, first = self._place(offset), self.text[offset]
        self.count(depth, place)
        if first == '"':
            text, end = _DECODER.raw_decode(self.text, offset)
            if _HALF.search(text):
                self.fail(place, "half of a surrogate pair is no character; write the character itself")
            return Part(text, place), end
        if first == "[":
            return self._list(offset, place, depth, path)
        if first == "{":
            return self._mapping(offset, place, depth, path)
        if match := _JSON_NUMBER.match(self.text, offset):
            return Part(plain_scalar(match.group()), place), match.end()
        for word, value in _JSON_WORDS.items():
            if self.text.startswith(word, offset):
                return Part(value, place), offset + len(word)
        self.fail(place, "not JSON: NaN and infinities are no numbers of JSON")

    def _list(self, offset: int, place: Place, depth: int, path: tuple[str, ...]) -> tuple[Part, int]:
        items: list[Part] = []
        offset = self._skip(offset + 1)
        while self.text[offset] != "]":
            part, offset = self._part(offset, depth + 1, (*path, str(len(items))))
            items.append(part)
            offset = self._next(offset)
        return Part(items, place), offset + 1

    def _mapping(self, offset: int, place: Place, depth: int, path: tuple[str, ...]) -> tuple[Part, int]:
        mapping = Part({}, place)
        offset = self._skip(offset + 1)
        while self.text[offset] != "}":
            at = self._place(offset)
            key, offset = _DECODER.raw_decode(self.text, offset)
            part, offset = self._part(self._skip(self._skip(offset) + 1), depth + 1, (*path, key))
            self.add(mapping, key, at, part, path)
            offset = self._next(offset)
        return mapping, offset + 1

    def _next(self, offset: int) -> int:
        """Past spaces and a comma."""
        offset = self._skip(offset)
        return self._skip(offset + 1) if self.text[offset] == "," else offset
