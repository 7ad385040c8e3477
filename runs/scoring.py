"""Scores: one report against its gold, and agents against all oracle cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs import terminal
from tracescribe.runs.agent_choice import OFFLINE, TRIVIAL_BASELINES, make_agent
from tracescribe.runs.gold_files import open_gold
from tracescribe.runs.loading import choose_threads
from tracescribe.runs.workspace import DEFAULT_WORKSPACE, prepare_folder
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.evals.benchmark.leaderboard import Leaderboard
    from tracescribe.evals.benchmark.running import BenchResult, CaseResult
    from tracescribe.evals.gold import GoldCircuit
    from tracescribe.evals.scores import Scores

MAX_REPORT_BYTES = 256 << 20
"""A report that is larger was not written by us; a report on the embedded model has less than one megabyte."""


@dataclass(frozen=True)
class OracleRun:
    """One call of `tracescribe score --oracle`.

    Attributes:
        agents: names, first the one that is compared with the others; empty for the offline agent and the baselines.
        tasks: families of cases; empty for all.
        limit: most cases of each task.
        out: folder of the results; None for one in the workspace.
        seed: of every agent.
    """

    agents: tuple[str, ...]
    tasks: tuple[str, ...]
    limit: int | None
    out: Path | None
    seed: int


@dataclass(frozen=True, eq=False)
class OracleOutcome:
    """What `tracescribe score --oracle` found.

    Attributes:
        bench: every case of every agent.
        board: averages and comparisons.
        folder: where the results lie.
    """

    bench: BenchResult
    board: Leaderboard
    folder: Path


def check_score_call(report: Path | None, oracle: bool, oracle_options: bool) -> None:
    """Refuse calls that ask for both kinds of scores, for none, or mix their options.

    Raises:
        InputError: says which.
    """
    if oracle == (report is not None):
        raise InputError("give a report to score, or --oracle to score agents on the oracle's cases, and not both")
    if report is not None and oracle_options:
        raise InputError("--agent, --task, --limit and --out belong to --oracle; leave them out to score one report")


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


def run_oracle(run: OracleRun) -> OracleOutcome:
    """Run agents on the oracle's cases.

    Raises:
        InputError: an unknown agent or task.
        OutputError: the folder cannot be written to; found out before any work.
    """
    folder = prepare_folder(run.out or DEFAULT_WORKSPACE / "oracle")
    agents = [make_agent(name, seed=run.seed) for name in run.agents or (OFFLINE, *TRIVIAL_BASELINES)]
    from tracescribe.agents.toolbox import load_toolbox
    from tracescribe.evals.benchmark.leaderboard import make_leaderboard
    from tracescribe.evals.benchmark.running import BenchSettings, run_bench
    from tracescribe.evals.oracle.building import load_oracle_gold
    from tracescribe.tracer.provenance import write_json_atomic

    log = terminal.StepLog()
    with log.step("load") as details:
        gold, toolbox = load_oracle_gold(), load_toolbox()
        if toolbox.model is not None:
            choose_threads(toolbox.model)
        details.append(f"{len(gold.circuits)} cases, {len(agents)} agents")
    settings = BenchSettings(tasks=run.tasks, limit=run.limit)
    with terminal.progress_bars() as bars:
        stage = terminal.StageBars(bars)

        def progress(done: int, total: int, result: CaseResult, reused: bool) -> None:
            note = "kept" if reused else "FAILED" if result.status == "failed" else f"{result.seconds:.1f} s"
            stage("cases", done, total, f"{result.agent} {result.gold_id} {note}")

        bench = run_bench(agents, gold.circuits, toolbox, folder, settings, progress)
    board = make_leaderboard(bench)
    write_json_atomic(folder / "leaderboard.json", board.to_json())
    return OracleOutcome(bench, board, folder)
