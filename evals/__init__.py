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
    from tracescribe.evals.prediction import Prediction, prediction_of_gold, prediction_of_report
    from tracescribe.evals.scores import HEADLINES, METRICS, Scores, score_prediction, score_report
    from tracescribe.evals.statistics.averages import average, compare

_HOME = {
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
    "load_oracle_gold",
    "make_leaderboard",
    "oracle_path",
    "parse_gold",
    "prediction_of_gold",
    "prediction_of_report",
    "read_bench",
    "read_gold",
    "run_bench",
    "score_prediction",
    "score_report",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f"tracescribe.evals.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
