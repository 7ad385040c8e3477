"""Where results go: folders and files are checked before any work starts, and named without trusting a prompt."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import cast

from tracescribe.tracer.errors import InputError, OutputError, PromptError
from tracescribe.tracer.provenance import sha256_json

DEFAULT_WORKSPACE = Path("tracescribe-workspace")
"""Relative to where the command runs; listed in .gitignore."""
MAX_PROMPT_FILE_BYTES = 1 << 20
"""A prompt is a line or a page; a larger file is a mistake, better told than tokenised."""
_MAX_SLUG = 48


def slug(text: str) -> str:
    """A file name for a prompt: ASCII words joined by dashes, then eight digits of the text's hash.

    The hash keeps prompts apart that read the same after simplification. No character of the text that means
    something to a file system survives.
    """
    words = "-".join(re.findall(r"[a-z0-9]+", text.lower()))[:_MAX_SLUG].strip("-")
    digest = sha256_json(text)[:8]
    return f"{words}-{digest}" if words else digest


def default_graph_file(prompt: str) -> Path:
    """Where the graph of a prompt goes when nobody says."""
    return DEFAULT_WORKSPACE / "graphs" / f"{slug(prompt)}.json"


def default_report_folder(prompt: str) -> Path:
    """Where the report on a prompt goes when nobody says."""
    return DEFAULT_WORKSPACE / "reports" / slug(prompt)


def prepare_folder(folder: Path) -> Path:
    """Prove that files can be written to a folder, before any work is done; nothing is left behind.

    A folder that does not exist is created for the proof and removed again: whoever writes first creates it, so that a
    call that fails leaves no empty folders.

    Returns:
        The absolute path.

    Raises:
        OutputError: the folder cannot be created or written to, or a file is in the way.
    """
    target = folder.expanduser().absolute()
    created = _missing(target)
    try:
        target.mkdir(parents=True, exist_ok=True)
        descriptor, probe = tempfile.mkstemp(dir=target, prefix=".writable-")
        os.close(descriptor)
        os.unlink(probe)
    except OSError as error:
        raise OutputError(
            f"cannot write to {target}: {error.strerror or error}; "
            "choose another folder with --out, or change its permissions"
        ) from error
    finally:
        for path in created:
            with suppress(OSError):  # never created, or somebody else's by now
                path.rmdir()
    return target


def prepare_file(path: Path) -> Path:
    """Prove that a file can be written, before any work is done; an existing file is left as it is until then.

    Returns:
        The absolute path.

    Raises:
        OutputError: its folder cannot be created or written to, or the path is a folder.
    """
    target = path.expanduser().absolute()
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder; give the name of a file")
    prepare_folder(target.parent)
    return target


def read_prompt(prompt: str | None, prompt_file: Path | None) -> str:
    """The prompt from one of the two options that give it.

    Raises:
        InputError: both or neither are given, or the file cannot be read as UTF-8 text.
        PromptError: there is no word in it; told before a model is loaded in vain.
    """
    if (prompt is None) == (prompt_file is None):
        given = "no prompt is given" if prompt is None else "the prompt is given twice"
        raise InputError(f"{given}; give it either with --prompt or with --prompt-file")
    text = prompt if prompt is not None else _read_prompt_file(cast(Path, prompt_file))
    if not text.strip():
        raise PromptError("the prompt is empty; give at least one word")
    return text


def _read_prompt_file(prompt_file: Path) -> str:
    try:
        with prompt_file.open("rb") as handle:
            content = handle.read(MAX_PROMPT_FILE_BYTES + 1)
        if len(content) > MAX_PROMPT_FILE_BYTES:
            raise InputError(
                f"prompt file {prompt_file} is larger than {MAX_PROMPT_FILE_BYTES} bytes; give a file with one prompt"
            )
        return content.decode().rstrip("\n")
    except OSError as error:
        raise InputError(
            f"cannot read prompt file {prompt_file}: {error.strerror}; give the path of a text file"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"prompt file {prompt_file} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error


def _missing(folder: Path) -> list[Path]:
    """The folder and its parents that do not exist, innermost first."""
    missing: list[Path] = []
    for path in (folder, *folder.parents):
        if os.path.lexists(path):
            break
        missing.append(path)
    return missing
