"""What keys, tokens and passwords look like, and every spelling of one that is known.

Every pattern costs time linear in the text, whatever the text: repeats are possessive or bounded, and a run of
characters is begun once.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from tracescribe.tracer.pattern_rules import Pattern

MIN_SECRET_CHARS: Final = 8
"""Shorter values are words, not secrets; those of providers have forty characters and more."""
_SURELY_SECRET_CHARS: Final = 12
"""A value of plain lower-case letters is taken for a word below this length."""
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
_NO_SECRET_NAME = re.compile(
    r"(?:_(?:PATH|FILE|DIR|FOLDER|NAME|ID|URL|URI|HOST|TYPE|LIMIT|MAX|COUNT|LAYOUT|MAP)$)|^TOKENIZERS_|KEYBOARD|KEYMAP|KEYRING",
    re.IGNORECASE,
)
_NO_SECRETS = frozenset({"no-key-needed", "undefined", "disabled", "password", "changeme"})
_GAP = r"(?:[ \t]{0,40}(?:\\[rn]|[\r\n]){1,4}[ \t]{0,40})?"
"""Where a long line was broken, or its break was escaped."""
_MIN_BASE64_CHARS: Final = 8


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of environment variables that hold keys, tokens or passwords, longest first.

    Args:
        environment: usually `os.environ`.
    """
    found = {
        value.strip()
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and not _NO_SECRET_NAME.search(name)
    }
    for name, value in environment.items():
        if name.endswith("_HEADERS"):  # as OpenTelemetry has them: name=value,name=value
            found |= {unquote(header.partition("=")[2]).strip().rpartition(" ")[2] for header in value.split(",")}
    found = {value for value in found if is_secret(value)}
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def is_secret(value: str) -> bool:
    """Whether a value of a variable that should hold a secret is one: no word, no path, no switch."""
    if (
        len(value) < MIN_SECRET_CHARS
        or value.lower() in _NO_SECRETS
        or value.startswith(("/", "~", "./", "[redacted "))
    ):
        return False
    return len(value) >= _SURELY_SECRET_CHARS or not (value.isalpha() and value.islower())


def exact_pattern(secret: str) -> Pattern:
    """Finds one secret as it stands, broken over lines, JSON- or URL-escaped, in HTML, hexadecimal and base64."""
    spelled = _GAP.join(_spellings(char) for char in secret)
    whole = secret.encode(errors="surrogatepass")
    forms = [spelled, *(_GAP.join(map(re.escape, text)) for text in _base64_cores(whole))]
    forms.append(f"(?i:{_GAP.join(whole.hex())})")
    return Pattern("secret", re.compile("|".join(forms)))


def _spellings(char: str) -> str:
    """A character in plain text, JSON, URLs and HTML."""
    in_url = "".join(f"%{byte:02x}" for byte in char.encode(errors="surrogatepass"))
    forms = [re.escape(char), f"(?i:{in_url})"]
    if ord(char) <= 0xFFFF:
        forms.append(rf"(?i:\\u{ord(char):04x})")
    if char in "\"\\/'":
        forms.append(re.escape("\\" + char))
    if (escaped := html.escape(char)) != char:
        forms.append(re.escape(escaped))
        forms.append(f"&#{ord(char)};")
    return f"(?:{'|'.join(forms)})"


def _base64_cores(secret: bytes) -> list[str]:
    """What a text in base64 shows of a secret that stands anywhere in it, at each of the three alignments."""
    cores: set[str] = set()
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + secret).decode().rstrip("=")
        first = -(-8 * offset // 6)
        last = 8 * (offset + len(secret)) // 6
        core = text[first:last]
        if len(core) >= _MIN_BASE64_CHARS:
            cores |= {core, core.replace("+", "-").replace("/", "_")}
    return sorted(cores)


def _long_enough(match: re.Match[str]) -> tuple[int, int] | None:
    """A bearer's token, but no word: it holds a digit, or is longer than words are."""
    start, end = match.span(1)
    token = match.group(1)
    return (start, end) if len(token) >= 20 or any(char.isdigit() for char in token) else None


def _group(match: re.Match[str]) -> tuple[int, int] | None:
    return match.span(1)


def _jwt(match: re.Match[str]) -> tuple[int, int] | None:
    return match.span() if match.group(1) else None


def _without_full_stop(match: re.Match[str]) -> tuple[int, int] | None:
    return match.start(), match.start() + len(match.group().rstrip("."))


_START = r"(?<![A-Za-z0-9])"
_VENDOR_KEYS = (
    r"sk-[A-Za-z0-9_\-*.]{6,}+",  # OpenAI, Anthropic and many that follow them
    r"(?:pk|rk)-[A-Za-z0-9_\-]{16,}+",
    r"(?:sk|pk|rk|whsec)_(?:live|test)_[A-Za-z0-9]{8,}+",
    r"(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])",
    r"(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{16,}+",
    r"github_pat_[A-Za-z0-9_]{16,}+",
    r"glpat-[A-Za-z0-9_\-]{16,}+",
    r"(?:hf|gsk|xai|r8|nvapi|pplx|npm|dop_v1|shpat)[_\-][A-Za-z0-9_\-]{16,}+",
    r"xox[a-z]-[A-Za-z0-9\-]{8,}+",
    r"AIza[0-9A-Za-z_\-]{30,}+",
    r"ya29\.[0-9A-Za-z_\-]{16,}+",
    r"pypi-[A-Za-z0-9_\-]{32,}+",
    r"ts_[0-9a-f]{12}_[A-Za-z0-9_\-]{16,}+",  # this product's own access tokens
)
_VENDOR_MARKS = (
    *("k-", "k_", "akia", "asia", "gh", "glpat", "hf", "xai", "r8", "nvapi", "pplx", "npm", "dop_", "shpat", "xox"),
    *("whsec_", "aiza", "ya29", "pypi", "ts_"),
)
_VALUE = r"(?:(?!\[redacted )[^\s\"'\\<>&,;]){8,}+"
SHAPES: Final[tuple[Pattern, ...]] = (
    Pattern(
        "private_key",
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\s\\:,]|-(?!----))*+"
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
        ),
        needs=("private key",),
    ),
    Pattern("api_key", re.compile(f"{_START}(?:{'|'.join(_VENDOR_KEYS)})"), _without_full_stop, needs=_VENDOR_MARKS),
    Pattern(
        "jwt",
        re.compile(r"eyJ[A-Za-z0-9_\-]{8,}+((?:\.[A-Za-z0-9_\-]{4,}+){1,4}+)?"),
        _jwt,
        needs=("eyj",),
    ),
    Pattern(
        "bearer",
        re.compile(r"(?i:bearer)(?:\s|%20|\\[nrt]){1,4}+([A-Za-z0-9._~+/=\-]{6,}+)"),
        _long_enough,
        needs=("bearer",),
    ),
    Pattern(
        "authorization",
        re.compile(
            r"(?i:authorization|x-api-key|api-key|set-cookie)[\"'\\]{0,3}\s{0,4}[:=]\s{0,4}[\"'\\]{0,3}"
            rf"((?:(?i:basic|bearer|token|digest)\s{{1,4}})?{_VALUE})"
        ),
        _group,
        needs=("authorization", "api-key", "cookie"),
    ),
    Pattern(
        "url_password",
        re.compile(r"(?<=://)([^\s/:@\"'<>\[\]]{0,200}:[^\s/@\"'<>\[\]]{1,200})@"),
        _group,
        needs=("://",),
    ),
    Pattern(
        "assignment",
        re.compile(
            r"(?i:api[_\-]?key|secret[_\-]?(?:access[_\-]?)?key|access[_\-]?token|auth[_\-]?token|refresh[_\-]?token|"
            r"client[_\-]?secret|password|passwd|passphrase)[\"'\\]{0,3}\s{0,4}(?:=|:(?!//))\s{0,4}[\"'\\]{0,3}"
            rf"({_VALUE})"
        ),
        _group,
        needs=("key", "token", "secret", "passw", "passphrase"),
    ),
    Pattern(
        "url_key",
        re.compile(
            r"[?&;](?i:key|token|secret|sig|signature|x-amz-signature|x-goog-signature|code)="
            rf"({_VALUE})"
        ),
        _group,
        needs=("=",),
    ),
)
"""Well-known shapes; a text is always searched for them."""

SECRET_FIELDS = re.compile(
    r"^(?:x-)?(?:api[_\-]?key|authorization|proxy-authorization|password|passwd|passphrase|client[_\-]?secret|"
    r"access[_\-]?token|refresh[_\-]?token|auth[_\-]?token|secret[_\-]?(?:access[_\-]?)?key|private[_\-]?key|"
    r"(?:set-)?cookie)$",
    re.IGNORECASE,
)
"""Names of fields whose value is a secret, whatever it looks like."""
