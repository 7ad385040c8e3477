"""From a name to an opened set: embedded, a folder, a pattern, or a place on the hub."""

from __future__ import annotations

from pathlib import Path

from tracescribe.tracer import embedded
from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.transcoder_formats.hub import HUB, hub_folder, is_hub_name
from tracescribe.tracer.transcoder_formats.layers import StoredTranscoders
from tracescribe.tracer.transcoder_formats.registry import exists, open_set

_MAX_FAULTS = 20


def find_set(name_or_path: str | Path) -> tuple[str, Path, StoredTranscoders]:
    """Id, folder and layers of a set.

    Raises:
        TranscoderFormatError: there is none of that name, or it has faults.
    """
    name = str(name_or_path)
    if name == embedded.MODEL_ID:
        path = embedded.transcoder_dir()
        return name, path, _open(path)
    path = Path(name_or_path)
    if not name.startswith(HUB) and exists(path):
        starred = [n for n, part in enumerate(path.parts) if "*" in part]
        shown = "/".join(path.parts[max(starred[0] - 1, 0) :]) if starred else path.resolve().name
        return shown, path, _open(path)
    if not isinstance(name_or_path, str) or not is_hub_name(name):
        raise TranscoderFormatError(
            f"no transcoder folder {name!r}; give a folder or {embedded.MODEL_ID!r}, or a place on the hub "
            "(org/name, hf://org/name/path)"
        )
    return name, *_from_hub(name)


def _from_hub(name: str) -> tuple[Path, StoredTranscoders]:
    """What the cache has, if that is a whole set; else what the hub gives."""
    found_here: TranscoderFormatError | None = None
    try:
        path = hub_folder(name, online=False)
        try:
            return path, _open(path)
        except TranscoderFormatError as error:
            found_here = error
    except TranscoderFormatError:
        pass  # nothing of it is in the cache
    try:
        path = hub_folder(name, online=True)
    except TranscoderFormatError:
        if found_here is not None:  # it says more than that there is no network
            raise found_here from None
        raise
    return path, _open(path)


def _open(path: Path) -> StoredTranscoders:
    faults: list[str] = []
    stored = open_set(path, faults)
    faults += stored.faults()
    if faults:
        shown = " ".join("; ".join(faults[:_MAX_FAULTS]).split()) + ("; ..." if len(faults) > _MAX_FAULTS else "")
        raise TranscoderFormatError(f"transcoder folder {path}: {shown}; copy or download it again")
    return stored
