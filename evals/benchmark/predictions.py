"""What agents answered, in the layout that scorers of published gold read: `{circuit_id: {"selected", "scores", ...}}`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tracescribe.evals.benchmark.store import BenchStore
from tracescribe.evals.benchmark.suites import Suite
from tracescribe.evals.prediction import Prediction, prediction_of_report
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.provenance import write_json_atomic


def predictions_of(store: BenchStore, suites: Sequence[Suite], seed: int, agent: str) -> dict[str, Prediction]:
    """Predictions of one agent by gold id; failed cases are absent.

    Raises:
        InputError: two suites have a circuit of the same id.
        ReportError: a report is damaged.
    """
    from tracescribe.agents.report import parse_report
    from tracescribe.tracer.graph_files import read_graph_file

    found: dict[str, Prediction] = {}
    for suite in suites:
        for part in suite.parts:
            for gold in part.circuits:
                report = store.report_path(suite.name, agent, seed, gold.gold_id)
                result = store.read_result(suite.name, agent, seed, gold.gold_id)
                if result is None or isinstance(result, str) or result.status == "failed" or not report.is_file():
                    continue
                if gold.gold_id in found:
                    raise InputError(
                        f"two suites have a circuit {gold.gold_id}, and predictions are told apart by their ids; "
                        "write the predictions of one suite at a time"
                    )
                graph = read_graph_file(store.graph_file(suite.name, part, gold))
                found[gold.gold_id] = prediction_of_report(parse_report(report.read_text(encoding="utf-8")), graph)
    return found


def write_predictions(store: BenchStore, suites: Sequence[Suite], seed: int, agent: str, file: Path) -> Path:
    """Write one agent's predictions.

    Returns:
        The file.

    Raises:
        OutputError: it cannot be written.
    """
    from tracescribe.evals.predictions_file import predictions_as_json

    write_json_atomic(file, predictions_as_json(predictions_of(store, suites, seed, agent)))
    return file
