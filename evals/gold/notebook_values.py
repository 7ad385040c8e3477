"""Values of a notebook's variables as far as they can be read without running anything.

Only literals, names, subscripts, attributes, sums of lists and a few known constructors are followed; everything else is
unknown. Nothing is executed, and the work is bounded.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_STEPS = 200_000
"""Most syntax nodes that are looked at in one notebook."""

MAX_ITEMS = 10_000
"""Most items of a value: a sum of lists that names itself would grow without end."""

MAX_TEXT = 1 << 20
"""Longest text that is put together, in characters."""


class UnknownValue:
    """Stands for a value that only running the notebook would give."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = UnknownValue()


@dataclass(frozen=True)
class Call:
    """A call of a known constructor.

    Attributes:
        name: the function's last name.
        arguments: positional and named ones, by the names of its parameters.
    """

    name: str
    arguments: Mapping[str, Any]


class Reader:
    """Follows assignments in order.

    Args:
        parameters: names of the parameters of every constructor that is known, by the constructor's name.
        call: what a call of another function means, if anything: it gets the name and the values of the arguments.
    """

    def __init__(
        self, parameters: Mapping[str, tuple[str, ...]], call: Callable[[str, list[Any]], Any] | None = None
    ) -> None:
        self.names: dict[str, Any] = {}
        self.calls: list[Call] = []
        self._parameters = parameters
        self._call = call
        self._steps = 0

    def assign(self, statement: ast.Assign | ast.AnnAssign) -> Any:
        """Remember what an assignment gives its names, and return it."""
        if statement.value is None:
            return UNKNOWN
        value = self.value(statement.value)
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            if isinstance(target, ast.Name):
                self.names[target.id] = value
            elif isinstance(target, ast.Tuple):
                self._unpack(target, value)
        return value

    def _unpack(self, target: ast.Tuple, value: Any) -> None:
        parts = value if isinstance(value, tuple | list) and len(value) == len(target.elts) else ()
        for number, name in enumerate(target.elts):
            if isinstance(name, ast.Name):
                self.names[name.id] = parts[number] if parts else UNKNOWN

    def value(self, node: ast.expr) -> Any:
        """An expression's value, or `UNKNOWN`."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            return UNKNOWN
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self.names.get(node.id, UNKNOWN)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return self._items(node.elts)
        if isinstance(node, ast.Dict):
            return {
                key: self.value(value)
                for key, value in zip((self.value(k) if k else UNKNOWN for k in node.keys), node.values, strict=True)
                if isinstance(key, str | int)
            }
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self.value(node.operand)
            return -value if isinstance(value, int | float) else UNKNOWN
        if isinstance(node, ast.BinOp):
            return self._binary(node)
        if isinstance(node, ast.Subscript):
            return self._subscript(self.value(node.value), self.value(node.slice))
        if isinstance(node, ast.Attribute):
            owner = self.value(node.value)
            return owner.arguments.get(node.attr, UNKNOWN) if isinstance(owner, Call) else UNKNOWN
        if isinstance(node, ast.Call):
            return self._called(node)
        return UNKNOWN

    def _items(self, nodes: list[ast.expr]) -> Any:
        items: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                more = self.value(node.value)
                items.extend(more if isinstance(more, list | tuple) else [UNKNOWN])
            else:
                items.append(self.value(node))
        return items if len(items) <= MAX_ITEMS else UNKNOWN

    def _binary(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if not isinstance(node.op, ast.Add):
            return UNKNOWN
        if isinstance(left, list) and isinstance(right, list) and len(left) + len(right) <= MAX_ITEMS:
            return left + right
        if isinstance(left, str) and isinstance(right, str) and len(left) + len(right) <= MAX_TEXT:
            return left + right
        return UNKNOWN

    def _subscript(self, owner: Any, key: Any) -> Any:
        if isinstance(owner, dict) and isinstance(key, str | int):
            return owner.get(key, UNKNOWN)
        if isinstance(owner, list | tuple) and isinstance(key, int) and -len(owner) <= key < len(owner):
            return owner[key]
        return UNKNOWN

    def _called(self, node: ast.Call) -> Any:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        positional = [self.value(one) for one in node.args]
        named = {one.arg: self.value(one.value) for one in node.keywords if one.arg}
        if name in self._parameters:
            # further positional arguments than there are parameters say nothing
            call = Call(name, dict(zip(self._parameters[name], positional, strict=False)) | named)
            self.calls.append(call)
            return call
        return self._call(name, positional) if self._call is not None else UNKNOWN
