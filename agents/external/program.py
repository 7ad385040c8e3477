"""Which program an `exec:` or `python:` spec stands for, found and checked without running any of it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path

from tracescribe.agents.providers.spec import AgentSpec
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.provenance import sha256_files

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that every program sees: none of them holds a secret."""


@dataclass(frozen=True)
class Program:
    """A program that can be started.

    Attributes:
        name: as reports and leaderboards show it; no folder of this machine is in it.
        command: program and arguments, files by their absolute paths.
        files: hash of every file that the command names, by file name: the part of its code that can be known.
        told: the spec's own words, for reports.
        environment: variables passed on by name.
    """

    name: str
    command: tuple[str, ...]
    files: Mapping[str, str]
    told: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def settings(self) -> dict[str, object]:
        """What decides the outcome, as far as it can be known; values of the environment are left out."""
        return {"program": list(self.told), "files": dict(self.files), "environment": sorted(self.environment)}


def find_program(spec: AgentSpec, *, environment: Iterable[str] = (), folder: Path | None = None) -> Program:
    """The program of an `exec` or `python` spec.

    Args:
        environment: names of further variables that it may see.
        folder: that relative paths and modules are looked for in; None takes the working directory.

    Raises:
        InputError: no such program or module, one that cannot be run, or a variable that is not set.
    """
    folder = (folder or Path.cwd()).resolve()
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    named = tuple(environment)
    missing = [name for name in named if name not in os.environ]
    if missing:
        raise InputError(f"--agent-env {missing[0]}: no such variable in the environment; set it or leave it out")
    passed |= {name: os.environ[name] for name in named}
    if spec.kind == "python":
        assert spec.entry is not None, "a python spec names an entry"
        return _python(spec.entry, folder, passed)
    return _executable(spec.command, folder, passed)


def _executable(command: tuple[str, ...], folder: Path, environment: dict[str, str]) -> Program:
    given, *arguments = command
    path = folder / Path(given).expanduser()
    if "/" not in given:
        found = shutil.which(given) or (str(path) if path.is_file() else None)
        if found is None:
            raise InputError(f"agent exec: no program {given!r} on the PATH or here; name a file, as in exec:./{given}")
        path = Path(found)
    if not path.is_file():
        raise InputError(f"agent exec: no program {given!r}; name a file that can be run")
    if not os.access(path, os.X_OK):
        raise InputError(
            f"agent exec: {given!r} may not be run; make it executable (chmod +x), or name what runs it, as in "
            f"exec:'python {given}'"
        )
    # it works in a folder of its own, so a file that is named relative to this one would not be found there
    full = [str(folder / argument) if (folder / argument).is_file() else argument for argument in arguments]
    files = [path, *(Path(a) for a, b in zip(full, arguments, strict=True) if a != b or Path(a).is_file())]
    script = next((Path(a).name for a in full if Path(a).is_file()), path.name)
    return Program(
        name=f"exec:{script}",
        command=(str(path), *full),
        files={file.name: sha256_files([file]) for file in files},
        told=(path.name, *(Path(a).name if Path(a).is_absolute() else a for a in arguments)),
        environment=environment,
    )


def _python(entry: tuple[str, str], folder: Path, environment: dict[str, str]) -> Program:
    module, attribute = entry
    found, search = None, [str(folder), *sys.path]
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        found = PathFinder.find_spec(name, search)  # looks, and runs nothing
        if found is None:
            raise InputError(
                f"agent python: no module {name!r} here or among what is installed; look for a misspelling"
            )
        search = list(found.submodule_search_locations or [])
    assert found is not None, "a module has a name"
    origin = Path(found.origin or "")
    files = {origin.name: sha256_files([origin])} if found.has_location and origin.is_file() else {}
    host = Path(__file__).with_name("host.py")
    return Program(
        name=f"python:{module}:{attribute}",
        # -P: the folder of host.py must not stand in front of the agent's own modules
        command=(sys.executable, "-P", str(host), str(folder), module, attribute),
        files=files,
        told=(module, attribute),
        environment=environment,
    )
