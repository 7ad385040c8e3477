"""The room's door: exactly the names it says, from where it says, and none that hides a module."""

from __future__ import annotations

import importlib
import pkgutil

from tracescribe import agents
from tracescribe.agents import _HOME


def test_every_public_name_comes_from_its_home() -> None:
    assert sorted(_HOME) == sorted(agents.__all__)
    for name, home in _HOME.items():
        module = importlib.import_module(f"tracescribe.agents.{home}")
        assert getattr(agents, name) is getattr(module, name)


def test_no_public_name_is_also_a_module() -> None:
    """Importing such a module would replace the function behind the door's back."""
    modules = {info.name for info in pkgutil.iter_modules(agents.__path__)}
    assert not modules & set(agents.__all__)
