"""Scores: one report against its gold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.gold_files import open_gold
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.evals.gold import GoldCircuit
    from tracescribe.evals.scores import Scores

MAX_REPORT_BYTES = 256 << 20
"""A report that is larger was not written by us; a report on the embedded model has less than one megabyte."""


def score_one(report_path: Path, gold: str | None, graph_path: Path | None) -> Scores:
    """Score one report.

    Args:
        report_path: the report's folder or its `report.json`.
        gold: a gold file, an oracle id, or None for the oracle's circuit of the same prompt.
        graph_path: the unpruned graph; None for `graph.json` beside the report.

    Raises:
        InputError: no such report, gold or graph.
        ReportError: the report breaks its contract.
        GoldFormatError: gold of another prompt or other weights.
    """
    from tracescribe.evals.scores import score_report
    from tracescribe.tracer.graph_files import read_graph_file

    path = report_path.expanduser()
    path = path / "report.json" if path.is_dir() else path
    report = read_report(path)
    circuit = find_gold(gold, report.prompt)
    return score_report(report, circuit, read_graph_file(graph_path or path.with_name("graph.json")))


def read_report(path: Path) -> CircuitReport:
    """A report from its JSON file.

    Raises:
        InputError: the file cannot be read.
        ReportError: it is no report, or breaks the contract.
    """
    from tracescribe.agents.report import parse_report

    try:
        if path.stat().st_size > MAX_REPORT_BYTES:
            raise InputError(f"report {path} is larger than {MAX_REPORT_BYTES >> 20} MiB; it is not one of ours")
        return parse_report(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read report {path}: {error.strerror}; give a report's folder") from error
    except UnicodeDecodeError as error:
        raise InputError(f"report {path} is not UTF-8 text (byte {error.start}); give a report.json") from error


def find_gold(gold: str | None, prompt: str) -> GoldCircuit:
    """The gold circuit that was asked for, or the oracle's of a prompt.

    Raises:
        InputError: no such gold.
        GoldFormatError: a gold file that is malformed.
    """
    if gold is not None and (Path(gold).suffix == ".json" or Path(gold).exists()):
        circuit = open_gold(Path(gold)).of_prompt(prompt)
    elif gold is not None:
        return open_gold(None).circuit(gold)
    else:
        circuit = open_gold(None).of_prompt(prompt)
    if circuit is None:
        raise InputError(f"no gold for the prompt {prompt!r}; 'tracescribe gold list' shows what there is")
    return circuit
