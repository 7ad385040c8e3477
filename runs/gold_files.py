"""Gold files: open one, build the oracle's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs import terminal
from tracescribe.runs.workspace import prepare_file

if TYPE_CHECKING:
    from tracescribe.evals.gold import GoldCircuit, GoldSet


def open_gold(file: Path | None) -> GoldSet:
    """A gold file; None opens the oracle gold that ships.

    Raises:
        GoldFormatError: the file is missing or malformed, or the oracle gold belongs to other weights.
    """
    from tracescribe.evals.gold import read_gold
    from tracescribe.evals.oracle.building import load_oracle_gold

    return load_oracle_gold() if file is None else read_gold(file.expanduser())


def gold_for(prompt: str) -> GoldCircuit | None:
    """The oracle's circuit of a prompt, or None where it has none."""
    return open_gold(None).of_prompt(prompt)


def build_gold(out: Path | None, seed: int) -> tuple[GoldSet, Path]:
    """Build the oracle gold and write it.

    Args:
        out: the file; None renews the one that ships.
        seed: of prompts and donors.

    Raises:
        OutputError: the file cannot be written; found out before any work.
    """
    from tracescribe.evals.oracle.building import OracleSettings, build_oracle_gold, oracle_path

    path = prepare_file(oracle_path() if out is None else out)
    from tracescribe.runs.loading import choose_threads
    from tracescribe.tracer.models import load_model

    choose_threads(load_model("embedded"))
    with terminal.progress_bars() as bars:
        stage = terminal.StageBars(bars)

        def progress(done: int, total: int, text: str) -> None:
            stage("oracle gold", done, total, text)

        return build_oracle_gold(OracleSettings(seed=seed), out=path, progress=progress), path
