"""From a job's file to its specification, or to everything that is wrong with the file, each with line and column."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs.jobs.documents import Part, parse_document, parse_value, shown_key
from tracescribe.runs.jobs.faults import Fault, Place, SpecificationError, shown
from tracescribe.runs.jobs.specification import JobSpecification
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

MAX_BYTES = 64 << 20
"""Largest file of a job; a hundred thousand prompts of a line each take about a tenth of it."""
SUFFIXES = (".yaml", ".yml", ".json")

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of fields to values",
    "model_attributes_type": "a mapping of fields to values",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "finite_number": "a finite number",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text of the form {pattern}",
    "literal_error": "{expected}",
}


@dataclass(frozen=True, eq=False)
class JobFile:
    """A job's file that fits its schema.

    Attributes:
        path: of the file.
        document: its values with their places.
        specification: what it says, paths as they stand.
    """

    path: Path
    document: Part
    specification: JobSpecification

    @property
    def folder(self) -> Path:
        """What relative paths are relative to."""
        return self.path.parent

    def fault(self, field: str, problem: str, hint: str = "") -> Fault:
        """A fault of a field, at the place where the field stands, or of the nearest field around it."""
        steps = tuple(int(step) if step.isdigit() else step for step in field.split("."))
        return Fault(self.document.at(steps), field, problem, hint)


def read_job(path: Path, settings: Sequence[str] = ()) -> JobFile:
    """Read a job's file.

    Args:
        path: a YAML or JSON file.
        settings: `field.path=value` that replace or add to what the file says; values as YAML has them.

    Raises:
        SpecificationError: the file does not fit the schema; all faults at once.
        InputError: it cannot be read.
    """
    path = path.expanduser()
    text = _text_of(path)
    document, twice = parse_document(text, str(path), as_json=path.suffix.lower() == ".json")
    if document.value is None:
        raise SpecificationError([Fault(document.place, "", "the file is empty; expected a job", _EXAMPLE_HINT)])
    if not isinstance(document.value, dict):
        told = f"found {shown(document.plain())}; expected a mapping of fields to values"
        raise SpecificationError([Fault(document.place, "", told, _EXAMPLE_HINT)])
    for setting in settings:
        _override(document, setting)
    if "name" not in document.value:
        document.value["name"] = Part(path.stem[:200] or "job", document.place)
        document.keys["name"] = document.place
    faults = [*twice, *_nul_characters(document, ())]
    try:
        specification = checked(document)
    except SpecificationError as error:
        raise SpecificationError(in_order([*faults, *error.faults])) from None
    if faults:
        raise SpecificationError(in_order(faults))
    return JobFile(path, document, specification)


_EXAMPLE_HINT = "'tracescribe jobs init' writes an example"


def _nul_characters(part: Part, path: tuple[str | int, ...]) -> Iterator[Fault]:
    """Texts that are neither a path nor, on every database, a name; those of prompts are told with their prompts."""
    if path == ("prompts", "inline"):
        return
    if isinstance(part.value, str) and "\0" in part.value:
        yield Fault(part.place, _path(path), "found a NUL character; expected text")
    elif isinstance(part.value, list):
        for number, one in enumerate(part.value):
            yield from _nul_characters(one, (*path, number))
    elif isinstance(part.value, dict):
        for key, one in part.value.items():
            yield from _nul_characters(one, (*path, key))


def in_order(faults: Iterable[Fault]) -> list[Fault]:
    """Faults in the order in which they stand in the file."""
    return sorted(faults, key=lambda fault: (fault.place.line, fault.place.column))


def checked(document: Part) -> JobSpecification:
    """A document as a specification.

    Raises:
        SpecificationError: it does not fit the schema; all faults at once, in the order of the file.
    """
    from pydantic import ValidationError

    try:
        # strictness as of JSON: lists are taken for tuples, but no text for a number
        return JobSpecification.model_validate_json(json.dumps(document.plain()), strict=True)
    except ValidationError as error:
        raise SpecificationError(_faults(document, error)) from None


def _text_of(path: Path) -> str:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a job's file is YAML or JSON; expected a name that ends in {', '.join(SUFFIXES)}")
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read job {path}: {error.strerror or error}; check the path") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: more than {MAX_BYTES} bytes; give prompts in a file of their own with prompts.file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def _override(document: Part, setting: str) -> None:
    name, equals, text = setting.partition("=")
    place = Place(f"--set {name}")
    steps = name.strip().split(".")
    if not equals or not all(steps):
        told = f"found {setting[:80]!r}; expected FIELD=VALUE, as in --set agent.spec=offline"
        raise SpecificationError([Fault(Place("--set"), "", told)])
    part = document
    for step in steps[:-1]:
        if not isinstance(part.value, dict):
            break
        if step not in part.value or part.value[step].value is None:
            part.value[step] = Part({}, place)
            part.keys[step] = place
        part = part.value[step]
    if not isinstance(part.value, dict):
        told = f"found {shown(part.plain())} at {part.place}; expected a mapping to set a field of"
        raise SpecificationError([Fault(place, name, told)])
    part.value[steps[-1]] = parse_value(text, place)
    part.keys[steps[-1]] = place


def _faults(document: Part, error: ValidationError) -> list[Fault]:
    return in_order(_fault(document, dict(detail)) for detail in error.errors(include_url=False))


def _fault(document: Part, detail: Mapping[str, Any]) -> Fault:
    kind, context = detail["type"], detail.get("ctx", {})
    steps = _steps(document, detail["loc"], absent=kind == "missing" or kind == "union_tag_invalid")
    if kind == "union_tag_invalid":
        steps = (*steps, "kind")
        value = part.plain() if (part := _part(document, steps)) is not None else None
        choices = [name.strip(" '") for name in str(context.get("expected_tags", "")).split(",")]
        return Fault(document.at(steps), _path(steps), *_not_one_of(value, choices))
    field, place = _path(steps), document.at(steps)
    if kind == "extra_forbidden":
        known = _fields_at(steps[:-1], executor=str(detail["loc"][1]) if len(detail["loc"]) > 2 else "")
        return Fault(document.at(steps, key=True), field, *_unknown_field(str(steps[-1]), known))
    if kind == "missing":
        return Fault(place, field, "the field is missing", _missing_hint(field))
    part = _part(document, steps)
    value = detail["input"] if part is None else part.plain()
    if kind == "literal_error":
        choices = [choice.strip("' ") for choice in str(context["expected"]).replace(" or ", ", ").split(",")]
        return Fault(place, field, *_not_one_of(value, choices))
    expected = _EXPECTED.get(kind)
    if expected is None:
        return Fault(place, field, f"found {shown(value)}; {detail['msg'][:200]}")
    hint = ""
    if kind == "string_type" and isinstance(value, int | float | bool):
        hint = "put it into quotes"
    elif kind == "tuple_type" and isinstance(value, str | int | float):
        hint = f"write [{str(value)[:40]}]"
    return Fault(place, field, f"found {shown(value)}; expected {expected.format(**context)}", hint)


def _steps(document: Part, location: tuple[int | str, ...], *, absent: bool) -> tuple[int | str, ...]:
    """The path within the document: without the names of a union's members, which stand in no file."""
    steps: list[int | str] = []
    part: Part | None = document
    for number, step in enumerate(location):
        inside = None
        if part is not None and isinstance(part.value, dict):
            inside = part.value.get(str(step))
        elif part is not None and isinstance(part.value, list) and isinstance(step, int):
            inside = part.value[step] if step < len(part.value) else None
        last = number == len(location) - 1
        if inside is None and not (last and absent):
            continue
        steps.append(step)
        part = inside
    return tuple(steps)


def _part(document: Part, steps: Sequence[int | str]) -> Part | None:
    part = document
    for step in steps:
        if isinstance(part.value, dict) and str(step) in part.value:
            part = part.value[str(step)]
        elif isinstance(part.value, list) and isinstance(step, int) and step < len(part.value):
            part = part.value[step]
        else:
            return None
    return part


def _path(steps: Sequence[int | str]) -> str:
    return ".".join(str(step) if isinstance(step, int) else shown_key(step) for step in steps)


def _fields_at(steps: Sequence[int | str], executor: str) -> tuple[str, ...]:
    """Fields that a mapping at a path may have; of an executor, those of its kind."""
    models: list[type[BaseModel]] = [JobSpecification]
    for step in steps:
        models = [inner for model in models for inner in _models_in(model, str(step))]
    if tuple(steps) == ("executor",):
        models = [model for model in models if model.model_fields["kind"].default == executor]
    return tuple(dict.fromkeys(name for model in models for name in model.model_fields))


def _models_in(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    from typing import get_args

    from pydantic import BaseModel

    found: list[type[BaseModel]] = []

    def collect(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        for argument in get_args(annotation):
            collect(argument)

    if field in model.model_fields:
        collect(model.model_fields[field].annotation)
    return found


def _unknown_field(name: str, known: Sequence[str]) -> tuple[str, str]:
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"fields here are {', '.join(known)}"
    return "no such field", hint


def _not_one_of(value: object, choices: Sequence[str]) -> tuple[str, str]:
    near = difflib.get_close_matches(value.lower(), choices, n=1, cutoff=0.6) if isinstance(value, str) else []
    expected = " or ".join(choices) if len(choices) < 3 else f"one of {', '.join(choices)}"
    return f"found {shown(value)}; expected {expected}", f"did you mean {near[0]}?" if near else ""


def _missing_hint(field: str) -> str:
    if field == "prompts":
        return "give prompts.inline, prompts.file, prompts.dataset, prompts.graphs or prompts.gold"
    return ""
