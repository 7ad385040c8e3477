"""How the review app is served; fixed when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine for itself: whoever uses one is at this machine, or came through something that is."""


@dataclass(frozen=True)
class WebSettings:
    """What `tracescribe serve` was told.

    Attributes:
        log_in: whether visitors need a token; without it everybody who reaches the server is the person at this machine.
        allowed_hosts: names under which the server answers, without port.
        model, transcoders: weights for live interventions, by name or folder, as `tracescribe interpret` takes them; None
            for a server that runs none.
        evidence: folder of a scan; None takes the embedded model's own for it, and none for others.
        gold: folder or file of gold circuits beside the built-in ones; None for none.
        bench: folder of a benchmark whose leaderboard is shown; None for none.
        max_upload_bytes: of one request's body.
        live_per_minute: interventions that one visitor may run.
        secure_cookies: whether cookies are sent over HTTPS alone.
        behind_proxy: whether a proxy on this machine hands requests on, and tells from where and how they came.
    """

    log_in: bool = False
    allowed_hosts: tuple[str, ...] = LOOPBACK_HOSTS
    model: str | None = "embedded"
    transcoders: str = "embedded"
    evidence: Path | None = None
    gold: Path | None = None
    bench: Path | None = None
    max_upload_bytes: int = 64 << 20
    live_per_minute: int = 30
    secure_cookies: bool = False
    behind_proxy: bool = False
