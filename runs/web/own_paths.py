"""Where a visitor is sent after logging in: a page of ours, whatever the address says."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

START = "/reports"
_OWN = re.compile(r"/(?![/\\])[A-Za-z0-9/_.,:;@!$&'()*+=~?%<>|#\[\] -]{0,2000}")


def own_path(asked: str | None) -> str:
    """The path that was asked for; the start page where it is none, or leads to another host.

    Browsers read `//host`, `/\\host`, `https:host` and addresses with tabs or line ends in them as other hosts.
    """
    if not asked or not _OWN.fullmatch(asked):
        return START
    parts = urlsplit(asked)
    if parts.scheme or parts.netloc or not parts.path.startswith("/") or parts.path.startswith(("//", "/log-")):
        return START
    return asked.replace(" ", "%20")
