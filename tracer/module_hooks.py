"""Forward hooks that cannot leak: always removed, and deaf to every other run of the same modules.

Modules are shared between threads, so a hook that one run registers would also fire in another's forward pass. Each
run therefore has a token in a context variable, and its hooks act only where the token is their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

_current: ContextVar[object | None] = ContextVar("tracescribe_hooked_run", default=None)

Hook = Callable[[Tensor | None, Any], Any]
"""Takes a module's first positional input (None where it was passed by name) and its output; what it returns, unless
None, replaces the output."""


@contextmanager
def hooked(hooks: Sequence[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Within the block, and in this thread and task alone, the hooks act on the modules' outputs, in the order given."""
    token = object()

    def guarded(hook: Hook) -> Callable[[nn.Module, tuple[Any, ...], Any], Any]:
        def act(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if _current.get() is not token:
                return None
            return hook(args[0] if args else None, output)

        return act

    handles = []
    outer = _current.set(token)
    try:
        for module, hook in hooks:
            handles.append(module.register_forward_hook(guarded(hook)))
        yield
    finally:
        _current.reset(outer)
        for handle in handles:
            handle.remove()
