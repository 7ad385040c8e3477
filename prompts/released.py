"""Released prompts never change: their hashes are locked in `released.json`, and a change is a new version beside them.

A report names the versions that it used; were a file changed in place, that name would no longer tell what was asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.prompts.template import PromptTemplate, PromptTemplateError
from tracescribe.tracer.provenance import write_json_atomic

LOCK_SCHEMA = "tracescribe-released-prompts/1"
LOCK_FILE = "released.json"


class ReleasedPrompts(BaseModel):
    """The lock: what every released version's file hashes to.

    Attributes:
        schema_id: of this file.
        sha256: by reference, as in `label_feature@1.0.0`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_id: str = Field(default=LOCK_SCHEMA, pattern=f"^{LOCK_SCHEMA}$")
    sha256: Mapping[str, str]


def read_released(path: Path | None = None) -> Mapping[str, str]:
    """Hashes of all released versions, by reference.

    Args:
        path: another lock than the shipped one.

    Raises:
        PromptTemplateError: the lock is missing or damaged.
    """
    source = lock_path() if path is None else path
    try:
        return ReleasedPrompts.model_validate_json(source.read_bytes()).sha256
    except OSError as error:
        raise PromptTemplateError(f"prompts/{LOCK_FILE} cannot be read: {error.strerror}; install again") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise PromptTemplateError(f"prompts/{LOCK_FILE}: {where}: {first['msg']}; restore it") from error


def released_faults(templates: Iterable[PromptTemplate], released: Mapping[str, str]) -> tuple[str, ...]:
    """Released versions whose file was changed or removed, each with what to do instead."""
    shipped = {template.reference: template for template in templates}
    faults: list[str] = []
    for reference, sha256 in released.items():
        name, _, version = reference.partition("@")
        where = f"prompts/templates/{name}/{version}.md"
        if reference not in shipped:
            faults.append(f"{reference} was released and its file is gone; restore {where}: reports name it")
        elif shipped[reference].sha256 != sha256:
            faults.append(
                f"{reference} was released and its file was changed; restore {where} and add a new version beside it: "
                "patch for wording, minor for other inputs, major for another form of answer"
            )
    return tuple(faults)


def unreleased(templates: Iterable[PromptTemplate], released: Mapping[str, str]) -> tuple[PromptTemplate, ...]:
    """Shipped versions that the lock does not hold yet."""
    return tuple(template for template in templates if template.reference not in released)


def release(templates: Iterable[PromptTemplate], path: Path | None = None) -> tuple[str, ...]:
    """Add every version that is not in the lock yet; entries that are there stay as they are.

    Args:
        templates: all that ship.
        path: another lock than the shipped one; it is made if it is not there.

    Returns:
        References of the versions added.

    Raises:
        PromptTemplateError: the lock is damaged.
        OutputError: it cannot be written.
    """
    target = lock_path() if path is None else path
    known = dict(read_released(target)) if target.exists() else {}
    new = unreleased(templates, known)
    if new:
        entries = known | {template.reference: template.sha256 for template in new}
        lock = ReleasedPrompts(sha256=dict(sorted(entries.items())))
        write_json_atomic(target, json.loads(lock.model_dump_json()))
    return tuple(template.reference for template in new)


def lock_path() -> Path:
    """Where the shipped lock lies."""
    return Path(str(resources.files("tracescribe.prompts").joinpath(LOCK_FILE)))
