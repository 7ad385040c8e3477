"""Paths of a specification: relative to its file while it is read, absolute once it is submitted.

A worker runs in another folder than the person who submits, so that no relative path may reach it.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracescribe.runs.jobs.specification import JobSpecification

EMBEDDED = "embedded"
"""Weights and evidence that ship inside the package."""
ORACLE = "oracle"
"""Gold that ships inside the package."""


def beside(folder: Path, path: str) -> Path:
    """A path of a specification, seen from the folder of its file."""
    return folder / os.path.expanduser(path)  # as it stands where there is no such user


def is_path(text: str) -> bool:
    """Whether a name is written as a path, and not as the id of a model on the hub."""
    return text.startswith((".", "/", "~"))


def located(specification: JobSpecification, folder: Path) -> JobSpecification:
    """The specification with every path made absolute."""
    weights, prompts = specification.weights, specification.prompts
    new_weights = weights.model_copy(
        update={
            "model": _named(folder, weights.model),
            "transcoders": _named(folder, weights.transcoders),
            "evidence": weights.evidence if weights.evidence == EMBEDDED else _absolute(folder, weights.evidence),
        }
    )
    update = {name: _absolute(folder, getattr(prompts, name)) for name in ("file", "graphs")}
    update["gold"] = _gold(folder, prompts.gold)
    scoring = specification.scoring.model_copy(update={"gold": _gold(folder, specification.scoring.gold)})
    output = specification.output.model_copy(update={"folder": _absolute(folder, specification.output.folder)})
    agent = specification.agent.model_copy(update={"spec": _agent(folder, specification.agent.spec)})
    return specification.model_copy(
        update={
            "weights": new_weights,
            "prompts": prompts.model_copy(update=update),
            "scoring": scoring,
            "output": output,
            "agent": agent,
        }
    )


def _absolute(folder: Path, path: str | None) -> str | None:
    # links stay: some programs go by the name that they are called by
    return None if path is None else os.path.abspath(beside(folder, path))


def _named(folder: Path, name: str) -> str:
    """Weights by folder; names such as `embedded`, and ids of a hub, stay as they are."""
    if name == EMBEDDED or not (
        is_path(name) or os.path.isdir(beside(folder, name))
    ):  # never raises, however long a name is
        return name
    return _absolute(folder, name) or name


def _gold(folder: Path, name: str | None) -> str | None:
    return name if name == ORACLE else _absolute(folder, name)


def _agent(folder: Path, spec: str) -> str:
    """A local model or a program that is written as a path; a program's arguments stay as they are."""
    head, colon, rest = spec.partition(":")
    if not colon or head.rpartition("@")[2] not in ("local", "exec") or not is_path(rest):
        return spec
    if head.endswith("local"):
        return f"{head}:{_absolute(folder, rest)}"
    first, space, arguments = rest.partition(" ")
    return f"{head}:{shlex.quote(str(_absolute(folder, first)))}{space}{arguments}"
