"""Evals: gold circuits, scorers, and the benchmark of agents.

Comes in: circuit reports, attribution graphs, gold files. Goes out: scores, each with what it rests on, and tables with
bootstrap intervals. May not happen here: no agent may import this room or read its data, no scorer looks at who is
scored, and a missing answer never becomes a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracescribe.evals.benchmark.leaderboard import Leaderboard, make_leaderboard
    from tracescribe.evals.benchmark.results import CaseResult
    from tracescribe.evals.benchmark.running import BenchResult, RunSettings, read_bench, run_bench
    from tracescribe.evals.controls import ControlRow, control_rows
    from tracescribe.evals.gold import (
        GoldCircuit,
        GoldSet,
        GoldSupernode,
        check_circuit,
        check_stamp,
        parse_gold,
        read_gold,
    )
    from tracescribe.evals.oracle.building import OracleSettings, build_oracle_gold, load_oracle_gold, oracle_path
    from tracescribe.evals.permutation import permuted_scores, shuffled_gold
    from tracescribe.evals.prediction import Prediction, prediction_of_gold, prediction_of_report
    from tracescribe.evals.predictions_file import predictions_as_json, predictions_from_json
    from tracescribe.evals.scores import HEADLINES, METRICS, Scores, score_prediction, score_report
    from tracescribe.evals.statistics.averages import average, compare, compare_all

_HOME = {
    "ControlRow": "controls",
    "control_rows": "controls",
    "permuted_scores": "permutation",
    "shuffled_gold": "permutation",
    "predictions_as_json": "predictions_file",
    "predictions_from_json": "predictions_file",
    "compare_all": "statistics.averages",
    "BenchResult": "benchmark.running",
    "CaseResult": "benchmark.results",
    "RunSettings": "benchmark.running",
    "read_bench": "benchmark.running",
    "run_bench": "benchmark.running",
    "GoldCircuit": "gold",
    "GoldSet": "gold",
    "GoldSupernode": "gold",
    "check_circuit": "gold",
    "check_stamp": "gold",
    "parse_gold": "gold",
    "read_gold": "gold",
    "Leaderboard": "benchmark.leaderboard",
    "make_leaderboard": "benchmark.leaderboard",
    "OracleSettings": "oracle.building",
    "build_oracle_gold": "oracle.building",
    "load_oracle_gold": "oracle.building",
    "oracle_path": "oracle.building",
    "Prediction": "prediction",
    "prediction_of_gold": "prediction",
    "prediction_of_report": "prediction",
    "HEADLINES": "scores",
    "METRICS": "scores",
    "Scores": "scores",
    "score_prediction": "scores",
    "score_report": "scores",
    "average": "statistics.averages",
    "compare": "statistics.averages",
}

__all__ = [
    "HEADLINES",
    "METRICS",
    "BenchResult",
    "CaseResult",
    "ControlRow",
    "GoldCircuit",
    "GoldSet",
    "GoldSupernode",
    "Leaderboard",
    "OracleSettings",
    "Prediction",
    "RunSettings",
    "Scores",
    "average",
    "build_oracle_gold",
    "check_circuit",
    "check_stamp",
    "compare",
    "compare_all",
    "control_rows",
    "load_oracle_gold",
    "make_leaderboard",
    "oracle_path",
    "parse_gold",
    "permuted_scores",
    "prediction_of_gold",
    "prediction_of_report",
    "predictions_as_json",
    "predictions_from_json",
    "read_bench",
    "read_gold",
    "run_bench",
    "score_prediction",
    "score_report",
    "shuffled_gold",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f"tracescribe.evals.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
