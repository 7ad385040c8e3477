"""Weights on the Hugging Face hub: `org/name`, or `hf://org/name/path?revision=rev`. What is in the local cache is taken first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tracescribe.tracer.errors import TranscoderFormatError

HUB = "hf://"
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REVISION = re.compile(r"[\w./-]{1,200}")
_ROOT_FILES = [
    "config.yaml",
    "W_enc_*.safetensors",
    "W_dec_*.safetensors",
    "layer_*.safetensors",
    "layers.*/cfg.json",
    "layers.*/sae.safetensors",
    "*/cfg.json",
    "*/sae_weights.safetensors",
]
"""What a whole repository may give: sets of one choice. Of the others, such as Gemma Scope, a folder must be named."""


@dataclass(frozen=True)
class HubAddress:
    """A place on the hub.

    Attributes:
        repository: `org/name`.
        path: inside it, "" for its root.
        revision: branch, tag or commit; None for the default branch.
    """

    repository: str
    path: str
    revision: str | None


def is_hub_name(name: str) -> bool:
    """Whether a name that is no local path can mean a place on the hub."""
    return name.startswith(HUB) or _ID.fullmatch(name) is not None


def parse_address(name: str) -> HubAddress:
    """Read `org/name` or `hf://org/name/path?revision=rev`.

    Raises:
        TranscoderFormatError: it is neither.
    """
    parts = urlsplit(name if name.startswith(HUB) else HUB + name)
    pieces = [parts.netloc, *(piece for piece in parts.path.split("/") if piece)]
    repository = "/".join(pieces[:2])
    revision = parse_qs(parts.query).get("revision", [None])[0]
    is_safe = ".." not in pieces and (revision is None or _REVISION.fullmatch(revision) is not None)
    if not _ID.fullmatch(repository) or not is_safe or "\\" in name:
        raise TranscoderFormatError(f"{name!r:.200} is no address on the hub; expected hf://org/name/path?revision=rev")
    return HubAddress(repository, "/".join(pieces[2:]), revision)


def hub_file(name: str) -> Path:
    """A file's local path; it is downloaded if the cache does not have it.

    Raises:
        TranscoderFormatError: not an address, or the file is neither in the cache nor to be had.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    address = parse_address(name)
    if not address.path:
        raise TranscoderFormatError(f"{name!r:.200} names no file; expected hf://org/name/path")
    try:
        found = try_to_load_from_cache(address.repository, address.path, revision=address.revision)
        if isinstance(found, str):
            return Path(found)
        return Path(hf_hub_download(address.repository, address.path, revision=address.revision))
    except (OSError, ValueError) as error:
        raise _not_to_be_had(name, error) from error


def hub_folder(name: str, *, online: bool) -> Path:
    """The local folder of a set on the hub.

    Args:
        name: see `parse_address`; the last part of the path may hold `*`.
        online: whether to ask the hub, or to take what the cache has.

    Raises:
        TranscoderFormatError: not an address, or nothing of it is to be had.
    """
    from huggingface_hub import snapshot_download

    address = parse_address(name)
    wanted = [f"{address.path}/*", f"{address.path}*/*"] if address.path else _ROOT_FILES
    try:
        root = snapshot_download(
            address.repository, revision=address.revision, allow_patterns=wanted, local_files_only=not online
        )
    except (OSError, ValueError) as error:
        raise _not_to_be_had(name, error) from error
    return Path(root) / address.path


def _not_to_be_had(name: str, error: Exception) -> TranscoderFormatError:
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return TranscoderFormatError(
        f"{name!r:.200} is not in the local cache, and the hub gave {first[:200]}; check the spelling and the network"
    )
