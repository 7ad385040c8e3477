"""A command that answers at once: texts and defaults are taken as they are, without importing what checks the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from typer.core import TyperCommand, TyperGroup

_TEXTS = (str, str | None)


class _Coercion(Protocol):
    def coerce(self, value: Any, param: Any, ctx: Any) -> Any: ...


class _Plain:
    """Typer builds pydantic's validators for each option; importing them takes longer than a look into the store."""

    def __init__(self, build: Callable[[], _Coercion]) -> None:
        self._build = build

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        single = param.nargs == 1 and not param.multiple
        text = isinstance(value, str) and param.type_descriptor.annotation in _TEXTS
        if single and (text or value is None or value is param.default):
            return value
        return self._build().coerce(value, param=param, ctx=ctx)


class PlainCommand(TyperCommand):
    """For commands that must answer before people notice that they waited."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As typer has them, with the quick way tried first."""
        return _made_plain(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """A group that such commands are in: its own options, `--help` among them, would cost them the same."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As typer has them, with the quick way tried first."""
        return _made_plain(super().get_params(ctx))


def _made_plain(params: list[Any]) -> list[Any]:
    for param in params:
        build = getattr(param, "get_runtime_param", None)
        if build is not None and not getattr(build, "plain", False):
            plain = _Plain(build)

            def quick(plain: _Plain = plain) -> _Plain:
                return plain

            quick.plain = True  # type: ignore[attr-defined]
            param.get_runtime_param = quick
    return params
