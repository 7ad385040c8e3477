"""The saved state of the frontend in a graph document: pins and supernodes, in both of their spellings.

Files hold lists, or the text that stands in an address: ids joined by commas for pins, JSON for supernodes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LISTS = ("pinnedIds", "supernodes")


@dataclass(frozen=True)
class Supernode:
    """A group of nodes with a person's label.

    Attributes:
        label: what the group stands for.
        members: node ids, as the file spells them.
    """

    label: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class SavedView:
    """What a person pinned, grouped and clicked.

    Attributes:
        pinned: node ids.
        supernodes: groups; a file may name one node in several.
        clicked: node id, empty if nothing was.
        link_type: which links the frontend shows.
    """

    pinned: tuple[str, ...] = ()
    supernodes: tuple[Supernode, ...] = ()
    clicked: str = ""
    link_type: str = "both"

    def __bool__(self) -> bool:
        return bool(self.pinned or self.supernodes or self.clicked)


def saved_view(parameters: Mapping[str, Any] | None) -> SavedView:
    """The state that `qParams` holds; what is not in one of the two spellings is left out.

    Args:
        parameters: the document's `qParams`, checked by its model.
    """
    parameters = parameters or {}
    groups = [list(_leaves(group)) for group in _as_list("supernodes", parameters.get("supernodes"))]
    return SavedView(
        pinned=tuple(_leaves(_as_list("pinnedIds", parameters.get("pinnedIds")))),
        supernodes=tuple(Supernode(group[0], tuple(group[1:])) for group in groups if group),
        clicked=parameters.get("clickedId") or "",
        link_type=parameters.get("linkType") or "both",
    )


def with_renamed_nodes(parameters: Mapping[str, Any], new_id: Mapping[str, str]) -> dict[str, Any]:
    """`qParams` with other node ids, in the spelling in which they were.

    Args:
        parameters: the document's `qParams`.
        new_id: new node ids by old ones; others stay. Labels stay, also where one reads like an id.
    """
    if not new_id:
        return dict(parameters)
    renamed = dict(parameters)
    for key in _LISTS:
        value = parameters.get(key)
        if not value:
            continue
        keep_first = key == "supernodes"
        found = _as_list(key, value)
        changed: list[Any] = [
            [item if keep_first and i == 0 else _mapped(item, new_id.get) for i, item in enumerate(entry)]
            if isinstance(entry, list)
            else _mapped(entry, new_id.get)
            for entry in found
        ]
        if changed == found:
            continue
        if isinstance(value, str):
            text = json.dumps(changed, ensure_ascii=False, separators=(",", ":"))
            renamed[key] = ",".join(changed) if _is_plain(key, value) else text
        else:
            renamed[key] = changed
    if isinstance(clicked := parameters.get("clickedId"), str):
        renamed["clickedId"] = new_id.get(clicked, clicked)
    return renamed


def _is_plain(key: str, text: str) -> bool:
    return key == "pinnedIds" and not text.lstrip().startswith("[")


def _as_list(key: str, value: Any) -> list[Any]:
    if not isinstance(value, str):
        return list(value or ())
    if _is_plain(key, value):
        return [part for part in value.split(",") if part]
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _mapped(value: Any, change: Callable[[str], str | None], levels: int = 8) -> Any:
    if isinstance(value, str):
        return change(value) or value
    return [_mapped(item, change, levels - 1) for item in value] if isinstance(value, list) and levels else value


def _leaves(value: Any, levels: int = 8) -> Iterator[str]:
    """The texts of nested lists, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and levels:
        for item in value:
            yield from _leaves(item, levels - 1)
