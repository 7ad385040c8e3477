"""Planting a mistake: one short piece of a function's source is changed while the process runs.

The piece must occur exactly once in the function, so that a list of mistakes cannot rot in silence when the code moves on.
"""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import pytest


@dataclass(frozen=True)
class Mistake:
    """One wrong line.

    Attributes:
        name: what is wrong.
        where: module below `tracescribe.tracer` and the function or method: `sweep:_Block.run`.
        right: a piece of its source.
        wrong: what stands there instead.
    """

    name: str
    where: str
    right: str
    wrong: str

    @property
    def module(self) -> Any:
        """The module that the function is defined in."""
        return import_module(f"tracescribe.tracer.{self.where.split(':')[0]}")

    @property
    def owner(self) -> Any:
        """The module or class that holds the function."""
        owner = self.module
        for name in self.where.split(":")[1].split(".")[:-1]:
            owner = getattr(owner, name)
        return owner

    @property
    def attribute(self) -> str:
        """The function's name in its owner."""
        return self.where.split(".")[-1].split(":")[-1]

    def source(self) -> str:
        """The function as it is, unindented, with its decorators."""
        return textwrap.dedent(inspect.getsource(_function_in(vars(self.owner)[self.attribute])))

    def faults(self) -> list[str]:
        """Why the mistake cannot be planted; empty if it can."""
        if self.attribute not in vars(self.owner):
            return [f"{self.name}: there is no {self.where}"]
        n = self.source().count(self.right)
        return [] if n == 1 else [f"{self.name}: {self.right!r} stands {n} times in {self.where}, expected once"]


def plant(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the wrong function in the place of the right one, wherever it is held by name."""
    assert mistake.faults() == []
    right = vars(mistake.owner)[mistake.attribute]
    code = compile(
        mistake.source().replace(mistake.right, mistake.wrong),
        f"<{mistake.where}: {mistake.name}>",
        "exec",
        flags=__future__.annotations.compiler_flag,
        dont_inherit=True,
    )
    made: dict[str, Any] = {}
    exec(code, vars(mistake.module), made)  # noqa: S102
    wrong = made[mistake.attribute]
    if isinstance(wrong, cached_property):
        wrong.__set_name__(mistake.owner, mistake.attribute)
    monkeypatch.setattr(mistake.owner, mistake.attribute, wrong)
    if not inspect.ismodule(mistake.owner):
        return
    for name, module in list(sys.modules.items()):  # imported by name
        if name.startswith(("tracescribe.", "tests.")):
            for alias, value in list(vars(module).items()):
                if value is right:
                    monkeypatch.setattr(module, alias, wrong)


def _function_in(held: Any) -> Any:
    """The plain function behind what a class or module holds."""
    for name in ("func", "fget", "__func__"):  # cached_property, property, staticmethod
        held = getattr(held, name, held)
    return inspect.unwrap(held)
