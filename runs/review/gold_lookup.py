"""Which gold circuit is of a report's prompt and weights; gold is read once, when somebody asks for it."""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from tracescribe.tracer.errors import GoldFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from tracescribe.agents.report import CircuitReport
    from tracescribe.evals.gold import GoldCircuit, GoldSet

_opening = Lock()


@lru_cache(maxsize=4)
def _gold_set(source: Path | None) -> GoldSet:
    from tracescribe.evals.oracle.building import load_oracle_gold
    from tracescribe.runs.gold_files import open_gold

    # of the built-in gold the weights need not be loaded: its stamp is compared with the report's
    return load_oracle_gold(check_weights=False) if source is None else open_gold(source)


def open_gold_sets(source: Path | None) -> tuple[GoldSet, ...]:
    """The server's own gold, where it has some, and the built-in one, read once.

    Raises:
        GoldFormatError: the server's gold cannot be read.
    """
    with _opening:
        return tuple(_gold_set(place) for place in ((source, None) if source is not None else (None,)))


def gold_for(report: CircuitReport, source: Path | None) -> tuple[GoldCircuit | None, str]:
    """The gold circuit of a report's prompt and weights, or why there is none, in a sentence.

    Args:
        source: the server's own gold, which is asked first; the built-in one is asked then.

    Raises:
        GoldFormatError: the server's gold cannot be read.
    """
    from tracescribe.evals.gold import check_stamp

    why = ""
    made = report.provenance
    for gold_set in open_gold_sets(source):
        found = gold_set.of_prompt(report.prompt)
        if found is None:
            continue
        try:
            check_stamp(found, made.model_sha256, made.transcoder_sha256)
        except GoldFormatError as error:
            text = str(error)
            why = f"{text[:1].upper()}{text[1:]}."
        else:
            return found, ""
    return None, why or "No gold circuit of this prompt is known here."
