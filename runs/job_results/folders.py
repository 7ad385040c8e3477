"""Folders that appear whole or not at all: written beside their place under another name, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracescribe.agents.durable.folder_lock import hold_folder
from tracescribe.tracer.errors import OutputError

MARK = "export.json"
"""Every folder written here holds it; no other folder is ever replaced."""
_MARK_SCHEMA = "tracescribe-export/1"


@contextmanager
def whole_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """Yield a folder to write to; when the block ends well, it takes the place of `out`, else it is removed.

    What a kill left of an earlier attempt is removed first.

    Args:
        force: replace what an earlier export wrote there.

    Yields:
        An empty folder; the block writes its mark with `write_mark`.

    Raises:
        OutputError: something else is in the way, or the disk cannot be written to.
        RunLockedError: another process writes there.
    """
    target = out.expanduser().absolute()
    if not target.name:
        raise OutputError(f"{target} is no folder that can be replaced; choose another with --out")
    beside = target.with_name(f".{target.name}.partial")
    content, replaced = beside / "content", beside / "replaced"
    with hold_folder(beside):
        try:
            if replaced.exists() and not os.path.lexists(target):
                os.rename(replaced, target)  # killed between two renames
            _check_free(target, force)
            for left in (content, replaced):
                if left.exists():
                    shutil.rmtree(left)
            content.mkdir()
            yield content
            if os.path.lexists(target):
                os.rename(target, replaced)
            os.rename(content, target)
        except OSError as error:
            raise OutputError(
                f"cannot write {target}: {error.strerror or error}; choose another folder with --out, or free space"
            ) from error
        finally:
            if replaced.exists() and not os.path.lexists(target):
                os.rename(replaced, target)
            shutil.rmtree(beside, ignore_errors=True)


def write_mark(folder: Path, **values: object) -> None:
    """Write what the folder is, for people and for the next `--force`."""
    text = json.dumps({"schema_id": _MARK_SCHEMA, **values}, indent=1, ensure_ascii=False)
    (folder / MARK).write_text(text + "\n", encoding="utf-8")


def _check_free(target: Path, force: bool) -> None:
    if not os.path.lexists(target) or (target.is_dir() and not target.is_symlink() and not any(target.iterdir())):
        return
    if target.is_symlink() or not target.is_dir() or not _marked(target):
        raise OutputError(f"{target} is in the way and was written by no export; choose another folder with --out")
    if not force:
        raise OutputError(f"{target} holds an earlier export; replace it with --force, or choose another folder")


def _marked(folder: Path) -> bool:
    try:
        found = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("schema_id") == _MARK_SCHEMA
