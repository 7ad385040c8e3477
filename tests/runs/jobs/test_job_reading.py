"""Files of jobs: every fault is told with file, line, column and field, all of one file at once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.runs.jobs.faults import SpecificationError
from tracescribe.runs.jobs.reading import read_job
from tracescribe.runs.jobs.schema import field_notes, generated_schema, job_schema, models_of
from tracescribe.runs.jobs.specification import JobSpecification, as_json

WHOLE: dict[str, Any] = {
    "name": "everything",
    "weights": {"model": "embedded", "transcoders": "embedded", "dtype": "bfloat16", "load": True},
    "prompts": {"dataset": {"name": "data", "split": "test", "column": "text", "limit": 3}, "limit": 2},
    "agent": {
        "spec": "one-shot@openai-compatible:http://localhost:1/v1#m",
        "max_rounds": 1,
        "judge_labels": False,
        "paraphrases": ["other words"],
        "price_input": 1,
        "price_output": 2.5,
    },
    "budget": {"case": {"usd": 0.1, "experiments": 5, "kill_after": 60}, "job": {"usd": 10}},
    "seeds": [0, 3],
    "scoring": {"gold": "oracle", "metrics": ["selection.f1"]},
    "executor": {"kind": "ray", "workers": 3, "gpus": 0.5},
    "privacy": {"patterns": ["email", "phone"], "more": {"ticket": "T-[0-9]{4}"}},
    "output": {"keep": ["graph"], "folder": "out", "export": True},
    "max_crashes": 2,
    "reuse_answers": False,
}
"""A file in which every part of a specification occurs."""


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for i, inner in enumerate(value) for leaf in _leaves(inner, (*path, i))]
    return [path]


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at a path."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _with(copied[path[0]], path[1:], new)
    return copied


def _written(folder: Path, document: Any, *, as_json: bool) -> Path:
    path = folder / ("job.json" if as_json else "job.yaml")
    path.write_text(json.dumps(document, indent=1) if as_json else yaml.safe_dump(document, sort_keys=False))
    return path


def _faults(path: Path, *sets: str) -> list[str]:
    with pytest.raises(SpecificationError) as caught:
        read_job(path, sets)
    return [str(fault).replace(str(path), path.name) for fault in caught.value.faults]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_file_with_everything_is_read(tmp_path: Path, as_json: bool) -> None:
    job = read_job(_written(tmp_path, WHOLE, as_json=as_json)).specification
    read = json.loads(job.model_dump_json(exclude_unset=True, exclude={"schema_id"}))
    assert read == WHOLE
    assert JobSpecification.model_validate_json(json.dumps({**read, "name": "everything"})) == job


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_wrong_is_told_where_it_stands(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Wrong values at several places of a good file: exactly those fields are told, each where its wrong value is."""
    leaves = [leaf for leaf in _leaves(WHOLE) if leaf[:1] != ("executor",)]
    chosen = data.draw(st.lists(st.sampled_from(leaves), min_size=1, max_size=3, unique=True))
    as_json = data.draw(st.booleans())
    document: Any = WHOLE
    for number, leaf in enumerate(chosen):
        document = _with(document, leaf, {f"wrong{number}": 1})  # no field takes a mapping of numbers
    path = _written(tmp_path_factory.mktemp("job"), document, as_json=as_json)
    with pytest.raises(SpecificationError) as caught:
        read_job(path)
    # a mapping for a pattern of `privacy.more` is a fault of the pattern, as everywhere else
    assert {fault.field for fault in caught.value.faults} == {".".join(map(str, leaf)) for leaf in chosen}
    lines = path.read_text().splitlines()
    for fault in caught.value.faults:
        number = next(i for i, leaf in enumerate(chosen) if ".".join(map(str, leaf)) == fault.field)
        rest = "\n".join([lines[fault.place.line - 1][fault.place.column - 1 :], *lines[fault.place.line :]])
        assert re.match(rf"\{{?\s*\"?wrong{number}\"?:", rest), (fault, rest)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_misspelt_fields_are_told_at_the_key_with_the_right_name(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    mappings = [("weights",), ("agent",), ("budget", "case"), ("scoring",), ("executor",), ("output",), ("privacy",)]
    path = data.draw(st.sampled_from(mappings))
    inside: Any = WHOLE
    for step in path:
        inside = inside[step]
    name = data.draw(st.sampled_from(sorted(set(inside) - {"kind"})))
    cut = data.draw(st.integers(0, len(name) - 1))
    wrong = f"{name[:cut]}{name[cut + 1 :]}z"
    broken = {wrong if key == name else key: value for key, value in inside.items()}
    file = _written(tmp_path_factory.mktemp("job"), _with(WHOLE, path, broken), as_json=False)
    told = next(fault for fault in _faults(file) if "no such field" in fault)
    assert ".".join([*path, wrong]) in told
    if len(name) > 4:
        assert f"did you mean {name}?" in told
    line, column = map(int, told.split(":")[1:3])
    assert file.read_text().splitlines()[line - 1][column - 1 :].startswith(f"{wrong}:")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["job.yaml:1:1: the file is empty; expected a job; 'tracescribe jobs init' writes an example"]),
        (
            "- a",
            ["job.yaml:1:1: found a list of 1; expected a mapping of fields to values; 'tracescribe jobs init' writes"],
        ),
        (
            "seeds: 3",
            ["job.yaml:1:1: prompts: the field is missing; give prompts.inline", "found number 3; expected a list"],
        ),
        (
            "prompts: {inline: [1]}\nexecutor: {kind: rya}",
            [
                "job.yaml:1:20: prompts.inline.0: found number 1; expected text; put it into quotes",
                "job.yaml:2:18: executor.kind: found text 'rya'; expected local or ray; did you mean ray?",
            ],
        ),
        (
            "prompts: {inline: [a]}\nexecutor: {gpus: 1}",
            ["job.yaml:2:12: executor.gpus: no such field; fields here are kind, workers"],
        ),
        (
            "prompts: {inline: [a]}\nbudget: {case: {usd: 1e999}}\nagent: {stream: yes}",
            ["found number inf; expected a finite number", "agent.stream: found text 'yes'; expected true or false"],
        ),
        (
            "prompts: {inline: [a]}\nbudget: {case: {}}\nbudget: {}\nmax_crashes: 0",
            [
                "job.yaml:3:1: budget: found the key twice, first in line 2",
                "max_crashes: found number 0; expected at least 1",
            ],
        ),
        ("prompts: {inline: [a]}\nweights: {model_sha256: abc}", ["expected text of the form ^[0-9a-f]{64}$"]),
    ],
)
def test_faults_in_words(tmp_path: Path, text: str, told: list[str]) -> None:
    (tmp_path / "job.yaml").write_text(text)
    found = _faults(tmp_path / "job.yaml")
    assert len(found) == len(told)
    for expected, fault in zip(told, found, strict=True):
        assert expected in fault


def test_an_executor_that_does_not_say_what_it_is_is_local(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("prompts: {inline: [a]}\nexecutor: {workers: 3}")
    job = read_job(tmp_path / "job.yaml").specification
    assert (job.executor.kind, job.executor.workers) == ("local", 3)
    assert job.name == "job"  # as the file


def test_fields_are_replaced_by_options_with_the_same_checks(tmp_path: Path) -> None:
    path = _written(tmp_path, WHOLE, as_json=False)
    job = read_job(
        path, ["seeds=[7]", "budget.job.usd=3", "agent.style=pipeline", "prompts={inline: [a b]}"]
    ).specification
    assert (job.seeds, job.budget.job.usd, job.agent.style, job.prompts.inline) == ((7,), 3, "pipeline", ("a b",))
    assert _faults(path, "sedes=[7]") == ["--set sedes: sedes: no such field; did you mean seeds?"]
    assert _faults(path, "seeds=x") == ["--set seeds: seeds: found text 'x'; expected a list; write [x]"]
    assert "expected FIELD=VALUE" in _faults(path, "seeds")[0]
    assert "expected a mapping to set a field of" in _faults(path, "name.first=x")[0]
    assert "not YAML" in _faults(path, "seeds=[1")[0]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("job.txt", b"x", "a job's file is YAML or JSON"),
        ("none.yaml", None, "cannot read job"),
        ("job.yaml", b"a: \xff", "not UTF-8 text (byte 3)"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    from tracescribe.tracer.errors import InputError

    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(told)):
        read_job(tmp_path / name)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(b"\xef\xbb\xbfprompts: {inline: [a]}")
    assert read_job(tmp_path / "job.yaml").specification.prompts.inline == ("a",)


def test_the_shipped_schema_is_what_the_models_say() -> None:
    """Renew it: python -m tracescribe.runs.jobs.schema --write"""
    assert job_schema() == generated_schema()


def test_every_field_has_a_note() -> None:
    for path, model in models_of():
        assert set(field_notes(model)) == set(model.model_fields), path


def test_schema_and_reader_agree_on_what_fits(tmp_path: Path) -> None:
    """Each leaf of a good file replaced by something else: both refuse it, or both take it."""
    validator = jsonschema.Draft202012Validator(job_schema())
    assert validator.is_valid(WHOLE) and validator.is_valid(
        as_json(read_job(_written(tmp_path, WHOLE, as_json=True)).specification)
    )
    for leaf in _leaves(WHOLE):
        wrongs: tuple[Any, ...] = (None, "text", -1, 2.5, True, [], {"wrong": 1})
        for wrong in wrongs:
            document = _with(WHOLE, leaf, wrong)
            if leaf == ("executor", "kind"):
                continue  # an executor without a kind, or with a wrong one, is told better than a schema can
            try:
                read_job(_written(tmp_path, document, as_json=True))
            except SpecificationError:
                assert not validator.is_valid(document), (leaf, wrong)
            else:
                assert validator.is_valid(document), (leaf, wrong)
