"""Which reader opens a folder: decided by what lies in it, never by its name."""

from __future__ import annotations

from pathlib import Path

from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.transcoder_formats.circuit_tracer import CONFIG, read_circuit_tracer
from tracescribe.tracer.transcoder_formats.layers import StoredTranscoders


def open_folder(folder: Path, faults: list[str]) -> StoredTranscoders:
    """Open a folder with the reader that knows its layout; faults are collected.

    Raises:
        TranscoderFormatError: no reader knows the layout, or a configuration cannot be read.
    """
    if (folder / CONFIG).is_file():
        return read_circuit_tracer(folder, faults)
    raise TranscoderFormatError(f"transcoder folder {folder} has no {CONFIG}")
