"""Keys: read from the environment alone, handed to the SDK alone, and cut out of every text that leaves a provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from tracescribe.agents.providers.errors import ProviderSetupError

_KEY_LIKE = re.compile(r"\b(?:sk|pk|key|rk)-[A-Za-z0-9_\-*.]{6,}|(?i:bearer)\s+[^\s,;'\"]+")
MAX_MESSAGE_CHARS = 240
"""Longest part of a server's own words in an error message: enough to tell the cause, too short to hold a prompt."""
OWN_KEY = "TRACESCRIBE_LLM_API_KEY"
PROVIDER_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
_NO_KEY = "no-key-needed"


def find_key(provider: str, *, official: bool, environment: Mapping[str, str]) -> str:
    """The key for a provider.

    `TRACESCRIBE_LLM_API_KEY` is used wherever it is set. The provider's own variable is used for the provider's own
    server alone: a key for one company is never sent to another address. Other servers may need no key at all.

    Args:
        provider: `openai` or `anthropic`.
        official: whether the request goes to the provider's own server.
        environment: usually `os.environ`.

    Raises:
        ProviderSetupError: the provider's own server without a key.
    """
    own = environment.get(OWN_KEY, "").strip()
    if own:
        return own
    if not official:
        return _NO_KEY
    variable = PROVIDER_KEYS[provider]
    key = environment.get(variable, "").strip()
    if not key:
        raise ProviderSetupError(
            f"no key for {provider}: set {variable} (or {OWN_KEY}) in the environment, or give a base URL "
            "of a server that needs none"
        )
    return key


def redact(text: str, secret: str) -> str:
    """One line of a server's words: without the key or anything shaped like one, and of bounded length."""
    line = " ".join(text.split())
    if secret and secret != _NO_KEY:
        line = line.replace(secret, "[key]")
    line = _KEY_LIKE.sub("[key]", line)
    return line if len(line) <= MAX_MESSAGE_CHARS else f"{line[:MAX_MESSAGE_CHARS]}..."


def checked_url(url: str) -> str:
    """A base URL that may be used, and shown.

    Raises:
        ProviderSetupError: no http(s) URL, or one that holds a user name, a password, a query or a fragment.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ProviderSetupError(f"base URL {parts.scheme or '?'}://... is not http or https with a host; fix it")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ProviderSetupError(
            f"base URL of host {parts.hostname} holds more than host and path; keys belong in {OWN_KEY}, never in a URL"
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
