"""Forward hooks that cannot leak: always removed, and deaf to every other run of the same modules.

Modules are shared between threads, so a hook that one run registers would also fire in another's forward pass. Each
run therefore has a token in a context variable, and its hooks act only where the token is their own. The same holds for
modules that a run passes by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MethodType
from typing import Any

from torch import Tensor, nn

_current: ContextVar[object | None] = ContextVar("tracescribe_hooked_run", default=None)

Hook = Callable[[Tensor | None, Any], Any]
"""Takes a module's first positional input (None where it was passed by name) and its output; what it returns, unless
None, replaces the output."""

InputHook = Callable[[Tensor], Tensor | None]
"""Takes a module's first positional input; what it returns, unless None, replaces that input."""


@contextmanager
def hooked(
    hooks: Sequence[tuple[nn.Module, Hook]], inputs: Sequence[tuple[nn.Module, InputHook]] = ()
) -> Iterator[None]:
    """Within the block, and in this thread and task alone, the hooks act on the modules, in the order given.

    Args:
        hooks: act on the modules' outputs.
        inputs: act on the modules' first positional inputs, before the modules run.
    """
    token = object()

    def guarded(hook: Hook) -> Callable[[nn.Module, tuple[Any, ...], Any], Any]:
        def act(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if _current.get() is not token:
                return None
            return hook(args[0] if args else None, output)

        return act

    def guarded_input(hook: InputHook) -> Callable[[nn.Module, tuple[Any, ...]], Any]:
        def act(module: nn.Module, args: tuple[Any, ...]) -> Any:
            if _current.get() is not token:
                return None
            changed = hook(args[0])
            return None if changed is None else (changed, *args[1:])

        return act

    handles = []
    outer = _current.set(token)
    try:
        for module, hook in hooks:
            handles.append(module.register_forward_hook(guarded(hook)))
        for module, input_hook in inputs:
            handles.append(module.register_forward_pre_hook(guarded_input(input_hook)))
        yield
    finally:
        _current.reset(outer)
        for handle in handles:
            handle.remove()


Bypass = Callable[[Tensor], Tensor]
"""Takes a module's first positional input and gives what stands in for its output."""

_bypassed: ContextVar[Mapping[nn.Module, Bypass] | None] = ContextVar("tracescribe_bypassed_modules", default=None)


@contextmanager
def bypassed(modules: Mapping[nn.Module, Bypass]) -> Iterator[None]:
    """Within the block, and in this thread and task alone, the modules are not run: what is given stands in for them."""
    for module in modules:
        # a hook cannot keep a module from running. The method is set once and stays: with nothing to pass by it is the
        # class's own; being a bound method, it goes with its module into a copy
        if "forward" not in vars(module):
            module.forward = MethodType(_forward_unless_bypassed, module)
    outer = _bypassed.set(modules)
    try:
        yield
    finally:
        _bypassed.reset(outer)


def _forward_unless_bypassed(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    found = (_bypassed.get() or {}).get(module)
    return type(module).forward(module, *args, **kwargs) if found is None else found(args[0])
