"""Gold of a job: the oracle's, or that of a file or folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.jobs.locating import ORACLE, beside
from tracescribe.tracer.errors import GoldFormatError

if TYPE_CHECKING:
    from tracescribe.evals.gold import GoldSet


def open_gold_source(folder: Path, name: str) -> tuple[Path | None, GoldSet]:
    """Gold by its name in a specification, and the folder that paths of its graphs are relative to.

    Whether the weights are those of the gold is found out by the workers, who load them.

    Args:
        folder: what a relative path is relative to.
        name: `oracle`, a file or a folder.

    Raises:
        GoldFormatError: it is missing or malformed.
    """
    if name == ORACLE:
        from tracescribe.evals.oracle.building import load_oracle_gold

        return None, load_oracle_gold(check_weights=False)
    from tracescribe.evals.gold import read_gold_folder

    try:
        found = read_gold_folder(beside(folder, name))
    except (OSError, ValueError) as error:  # a name that no file can have
        raise GoldFormatError(f"cannot read gold {name[:80]!r}: {getattr(error, 'strerror', None) or error}") from error
    return found.folder, found.gold_set
