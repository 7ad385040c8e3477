"""Documents with places: whatever is read is what was written, stands where it is said to, and stays small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.runs.jobs.documents import MAX_DEPTH, Part, parse_document, parse_value, plain_scalar
from tracescribe.runs.jobs.faults import Place, SpecificationError

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_DOCUMENTS = st.dictionaries(_TEXT, _VALUES, min_size=1, max_size=4)


def _parts(part: Part) -> Iterator[Part]:
    yield part
    for inner in (
        part.value.values() if isinstance(part.value, dict) else part.value if isinstance(part.value, list) else ()
    ):
        yield from _parts(inner)


def _tail(text: str, place: Place) -> str:
    """What stands at a place."""
    return text.split("\n")[place.line - 1][place.column - 1 :]


@settings(max_examples=40, deadline=None)
@given(_DOCUMENTS, st.sampled_from([None, 2, "\t"]), st.booleans())
def test_json_is_read_as_json_reads_it_and_every_value_stands_where_it_is_said_to(
    document: dict[str, Any], indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    part, faults = parse_document(text, "job.json", as_json=True)
    assert part.plain() == document and not faults
    for inner in _parts(part):
        found = json.JSONDecoder().raw_decode(_rest(text, inner.place))[0]
        assert found == inner.plain()
        for key, place in inner.keys.items():
            assert json.JSONDecoder().raw_decode(_rest(text, place))[0] == key


def _rest(text: str, place: Place) -> str:
    """The document from a place on."""
    lines = text.split("\n")
    return "\n".join([lines[place.line - 1][place.column - 1 :], *lines[place.line :]])


@settings(max_examples=40, deadline=None)
@given(_DOCUMENTS)
def test_yaml_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    # quoted scalars, so that the dumper's older rules for words such as `yes` do not matter
    text = yaml.safe_dump(document, allow_unicode=True, default_style=None)
    part, faults = parse_document(text, "job.yaml", as_json=False)
    assert not faults
    assert _comparable(part.plain()) == _comparable(document)


def _comparable(value: Any) -> Any:
    """Without the difference between 1 and 1.0, which YAML keeps and which means nothing here."""
    if isinstance(value, dict):
        return {key: _comparable(inner) for key, inner in value.items()}
    return [_comparable(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("010", 10),
        ("0o7", "0o7"),
        ("1e-3", 0.001),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("~", None),
        ("True", True),
        ("-7", -7),
    ],
)
def test_plain_scalars_mean_what_the_core_schema_says(text: str, value: object) -> None:
    assert plain_scalar(text) == value
    assert type(plain_scalar(text)) is type(value)
    assert parse_document(f"a: {text}", "j", as_json=False)[0].plain() == {"a": value}
    assert parse_document(f"a: '{text}'", "j", as_json=False)[0].plain() == {"a": text}


_BILLION = "a: &a [x]\n" + "\n".join(f"b{i}: &b{i} [*a, *a]" for i in range(30))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_BILLION, "job.yaml:1:4: anchors and aliases (& and *) are not taken"),
        ("a: *b", "anchors and aliases"),
        ("a: !!python/object/apply:os.system ['true']", "job.yaml:1:4: tags are not taken"),
        ("a: !!binary aGk=", "tags are not taken"),
        ("a: 1\n---\nb: 2", "found a second document"),
        ("a: [1, 2", "not YAML"),
        ("a: 1\n\tb: 2", "job.yaml:2"),
        ("? [1]\n: 2", "found a list of 1 as a key"),
        ("a: " + "[" * 10_000, f"nested more than {MAX_DEPTH} deep"),
        ("a: \x07", "not YAML"),
    ],
)
def test_hostile_yaml_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(SpecificationError) as caught:
        parse_document(text, "job.yaml", as_json=False)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1,}', "job.json:1:9: not JSON"),
        ('{"a":\n NaN}', "job.json:2:2: not JSON: NaN and infinities"),
        ('{"a": "\\ud800"}', "job.json:1:7: half of a surrogate pair"),
        ("[" * 100_000, "not JSON that can be used"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", "nested more than"),
        ("", "job.json:1:1: not JSON"),
    ],
)
def test_hostile_json_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(SpecificationError) as caught:
        parse_document(text, "job.json", as_json=True)
    assert told in str(caught.value)


@pytest.mark.parametrize("as_json", [True, False])
def test_keys_that_stand_twice_are_all_told(as_json: bool) -> None:
    text = '{"a": 1, "b": {"c": 1,\n "c": 2}, "a": 3}'
    part, faults = parse_document(text, "job", as_json=as_json)
    assert part.plain() == {"a": 1, "b": {"c": 1}}
    assert sorted(map(str, faults)) == [
        "job:2:11: a: found the key twice, first in line 1; expected it once",
        "job:2:2: b.c: found the key twice, first in line 1; expected it once",
    ]


def test_a_value_of_an_option_has_the_options_place() -> None:
    place = Place("--set seeds")
    part = parse_value("[1, {a: x}]", place)
    assert part.plain() == [1, {"a": "x"}]
    assert {str(inner.place) for inner in _parts(part)} == {"--set seeds"}
    assert parse_value("", place).plain() == ""


def test_the_place_of_what_is_missing_is_that_of_what_is_around_it() -> None:
    text = "a:\n  b:\n    - c: 1\n"
    part = parse_document(text, "job", as_json=False)[0]
    assert _tail(text, part.at(("a", "b", 0, "c"))) == "1"
    assert _tail(text, part.at(("a", "b", 0, "c"), key=True)) == "c: 1"
    assert part.at(("a", "b", 0, "d")) == part.at(("a", "b", 0))
    assert part.at(("nope",)) == part.place
