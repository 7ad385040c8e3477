"""What a Ray cluster has room for, which of its nodes are there, and whether all of them can reach the store."""

from __future__ import annotations

import logging
import socket
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tracescribe.runs.store.errors import StoreAddressError

if TYPE_CHECKING:
    from tracescribe.runs.jobs.specification import RayExecutor
    from tracescribe.runs.store.addresses import StoreAddress

_ANSWER_SECONDS = 2.0
_log = logging.getLogger(__name__)


def places(executor: RayExecutor) -> int:
    """How many actors fit the cluster as it is now, each on one node."""
    found = 0
    for node in _nodes():
        if node["Alive"]:
            has = node["Resources"]
            fits = int(has.get("CPU", 0.0) / executor.cpus + 1e-9)
            if executor.gpus:
                fits = min(fits, int(has.get("GPU", 0.0) / executor.gpus + 1e-9))
            found += fits
    return found


def check_reach(address: StoreAddress, artefacts: str) -> None:
    """Refuse a store that other machines of the cluster cannot use.

    Raises:
        StoreAddressError: it is a SQLite file, and the cluster has several machines.
    """
    hosts = {node["NodeManagerHostname"] for node in _nodes() if node["Alive"]}
    if len(hosts) < 2:
        return
    if address.database_file is not None:
        raise StoreAddressError(
            f"the store {address.shown} is a file of one machine, and the Ray cluster has {len(hosts)}; make a store "
            "with the URL of a PostgreSQL server"
        )
    if "://" not in artefacts:
        _log.warning("artefacts go to %s: that must be a folder that all %d machines share", artefacts, len(hosts))


def node_is_gone(node: str | None) -> bool:
    """Whether a node has left the cluster; one that an actor never had counts as gone: no case is blamed for it.

    A cluster takes half a minute to miss a node, so that the node itself is asked: does its manager accept a connection?
    """
    for found in _nodes():
        if found["NodeID"] == node and found["Alive"]:
            try:
                place = (found["NodeManagerAddress"], found["NodeManagerPort"])
                socket.create_connection(place, timeout=_ANSWER_SECONDS).close()
            except OSError:
                return True
            return False
    return True


def _nodes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = import_module("ray").nodes()  # which has no types
    return found
