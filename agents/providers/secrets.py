"""Keys: read from the environment or a keyring, handed to the SDK alone, cut out of every text that leaves a provider."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from urllib.parse import urlsplit, urlunsplit

from tracescribe.agents.providers.errors import ProviderSetupError
from tracescribe.tracer.redaction import Redactor, current_redactor

_KEY_LIKE = re.compile(r"\b(?:sk|pk|key|rk)-[A-Za-z0-9_\-*.]{6,}|(?i:bearer)\s+(?!\[redacted )[^\s,;'\"]+")
MAX_MESSAGE_CHARS = 240
"""Longest part of a server's own words in an error message: enough to tell the cause, too short to hold a prompt."""
OWN_KEY = "TRACESCRIBE_LLM_API_KEY"
PROVIDER_KEYS = {
    "openai": "OPENAI_API_KEY",
    "openai-responses": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}
KEYRING_SERVICE = "tracescribe"
"""Name under which a keyring keeps the keys; the user names are those of the environment variables."""
_NO_KEY = "no-key-needed"


def stored_key(name: str) -> str | None:
    """A key from the system's keyring; None where there is none, no keyring, or one that is locked.

    Args:
        name: of the environment variable that would hold it.
    """
    key: str | None = None
    with suppress(Exception):  # no such package, no service to talk to, locked, refused: backends have their own errors
        keyring = import_module("keyring")  # an extra, so type checkers may not find it
        key = keyring.get_password(KEYRING_SERVICE, name)
    return key.strip() or None if key else None


def find_key(
    provider: str,
    *,
    official: bool,
    environment: Mapping[str, str],
    base_url: str,
    stored: Callable[[str], str | None] | None = None,
) -> str:
    """The key for a provider.

    `TRACESCRIBE_LLM_API_KEY` is used wherever it is set. The provider's own variable is used for the provider's own
    server alone: a key for one company is never sent to another address. Other servers may need no key at all. The
    environment goes before the keyring; a server on this machine is asked with keys of the environment alone.

    Args:
        provider: a wire format.
        official: whether the request goes to the provider's own server.
        environment: usually `os.environ`.
        base_url: where the request goes.
        stored: looks a key up in the keyring; None looks nowhere.

    Raises:
        ProviderSetupError: the provider's own server without a key.
    """
    variable = PROVIDER_KEYS[provider]
    names = (OWN_KEY, variable) if official else (OWN_KEY,)
    for name in names:
        key = environment.get(name, "").strip()
        if key:
            return key
    if stored is not None and not _on_this_machine(base_url):
        for name in names:
            kept = stored(name)
            if kept:
                return kept
    if not official:
        return _NO_KEY
    raise ProviderSetupError(
        f"no key for {provider}: set {variable} (or {OWN_KEY}) in the environment, keep it with "
        f"'keyring set {KEYRING_SERVICE} {variable}', or give a base URL of a server that needs none"
    )


def _on_this_machine(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def without_key(text: str, secret: str) -> str:
    """The text with the key cut out, wherever it stands.

    Local servers are given words such as `EMPTY` or `test` for a key; to cut those out would spoil every answer that holds
    the word, and hide nothing.
    """
    return Redactor((), (secret,), shapes=False).text(text)


def redact(text: str, secret: str) -> str:
    """One line of a server's words, of bounded length: without the key, and without what must not be written here."""
    cleaned = current_redactor().with_secrets(secret).text(" ".join(text.split()))
    line = _KEY_LIKE.sub("[redacted api_key]", cleaned)  # more than elsewhere: a server's words are no prose
    return line if len(line) <= MAX_MESSAGE_CHARS else f"{line[:MAX_MESSAGE_CHARS]}..."


def checked_url(url: str) -> str:
    """A base URL that may be used, and shown.

    Raises:
        ProviderSetupError: no http(s) URL, or one that holds a user name, a password, a query, a fragment, or what
            looks like a key.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ProviderSetupError("base URL is malformed; expected http(s)://host[:port][/path]") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ProviderSetupError(f"base URL {parts.scheme or '?'}://... is not http or https with a host; fix it")
    if parts.username or parts.password or parts.query or parts.fragment or _KEY_LIKE.search(parts.path):
        raise ProviderSetupError(
            f"base URL of host {parts.hostname} holds more than host and path; keys belong in {OWN_KEY}, never in a URL"
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
