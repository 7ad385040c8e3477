"""Ports for servers that cannot take whatever is free and tell which it was, or that come back to the same one."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LOWEST, _HIGHEST = 20_000, 32_767
"""Above the ports of Ray's workers, and below those that Linux takes for connections that begin here."""
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def quiet_ports(address: str = "127.0.0.1") -> Iterator[int]:
    """Ports that nobody listens at now, in random order; none that the system itself may give to anybody.

    What the system gives for port 0 it gives to others too, as soon as it is let go: to a connection, or to another
    server that asks for any port, for as long as the one that was meant to have it has not started, or is away.
    """
    highest = _HIGHEST
    with suppress(OSError, ValueError, IndexError):
        highest = min(highest, int(_RANGE.read_text(encoding="ascii").split()[0]) - 1)
    draw = random.SystemRandom()  # tests in other processes must not try the same ones in the same order
    while True:
        # where the system may give any port, there is no quiet one
        wanted = draw.randint(_LOWEST, highest) if highest >= _LOWEST + 1000 else 0
        with socket.socket() as listener:
            try:
                listener.bind((address, wanted))
            except OSError:  # somebody listens there, or did a moment ago
                continue
            found = int(listener.getsockname()[1])
        yield found
