"""One call of `tracescribe bench run`: check everything, run, write tables, predictions and the page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.runs.agent_choice import AgentChoice
from tracescribe.runs.bench_agents import DEFAULT_AGENTS, contestants, label_raters, split_specs
from tracescribe.runs.bench_suites import Weights, open_suites
from tracescribe.runs.executors.machine_size import cores
from tracescribe.runs.workspace import DEFAULT_WORKSPACE, prepare_file, prepare_folder
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.agents.budget import Budget
    from tracescribe.evals.benchmark.leaderboard import Leaderboard
    from tracescribe.evals.benchmark.running import BenchResult
    from tracescribe.evals.benchmark.suites import Suite
    from tracescribe.evals.benchmark.work import Contestant

DEFAULT_FOLDER = DEFAULT_WORKSPACE / "bench"
JUDGE_CALLS = "label_judge.jsonl"
"""The record of calls to the judge of labels, in the run's folder."""


@dataclass(frozen=True)
class BenchCall:
    """What was asked for.

    Attributes:
        agents: specs, several in one with commas between; empty for `DEFAULT_AGENTS`.
        suites: names, files and folders; empty for the oracle's.
        weights: for gold without graphs.
        tasks: families of circuits; empty for all.
        limit: most circuits of each family.
        sensitive: whether circuits with harmful prompts are run.
        seed: the first.
        n_seeds: how often each agent interprets each circuit.
        jobs: worker processes; None for one a core.
        budget: of one case.
        case_seconds: a case is ended after so long.
        max_usd: of the whole run.
        out: the folder; None for one in the workspace.
        fresh: throw away what the folder holds.
        interventions: also give the scores that run the model.
        label_judge: spec of a language model that judges labels; None for none.
        predictions: file for predictions; None for none.
        html: file for the page; None for none.
        agent_env: environment variables that agents from outside are given.
        price_input, price_output: USD per million tokens, where the price list does not know the model.
        yes: a run that may cost money needs no further word.
    """

    agents: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    weights: Weights = field(default_factory=Weights)
    tasks: tuple[str, ...] = ()
    limit: int | None = None
    sensitive: bool = True
    seed: int = 0
    n_seeds: int = 1
    jobs: int | None = None
    budget: Budget | None = None
    case_seconds: float | None = None
    max_usd: float | None = None
    out: Path | None = None
    fresh: bool = False
    interventions: bool = True
    label_judge: str | None = None
    predictions: Path | None = None
    html: Path | None = None
    agent_env: tuple[str, ...] = ()
    price_input: float | None = None
    price_output: float | None = None
    yes: bool = False


@dataclass(frozen=True, eq=False)
class BenchOutcome:
    """What a run, or a folder of one, holds."""

    bench: BenchResult
    board: Leaderboard
    folder: Path
    left_out: tuple[str, ...] = ()
    written: tuple[Path, ...] = ()
    stale: tuple[str, ...] = ()


def run_benchmark(call: BenchCall) -> BenchOutcome:
    """Run agents on suites.

    Raises:
        InputError: an unknown agent, suite or task, gold that cannot be used, or a paid run without a yes.
        OutputError: a folder or file cannot be written to; found out before any work.
    """
    folder = prepare_folder(call.out or DEFAULT_FOLDER)
    specs = split_specs(call.agents) or DEFAULT_AGENTS
    files = _prediction_files(call.predictions, len(specs))
    page = None if call.html is None else prepare_file(call.html)
    from tracescribe.agents.budget import Budget
    from tracescribe.evals.benchmark.preflight import hold_against_graphs
    from tracescribe.evals.benchmark.running import RunSettings, run_bench
    from tracescribe.evals.benchmark.store import BenchStore
    from tracescribe.evals.benchmark.suites import Choice, choose
    from tracescribe.runs.bench_progress import BenchBars

    budget = call.budget or Budget()
    agents = contestants([_choice(spec, call) for spec in specs], max_usd=budget.usd)
    settings = RunSettings(
        seeds=tuple(range(call.seed, call.seed + call.n_seeds)),
        budget=budget,
        jobs=call.jobs or cores(),
        case_seconds=call.case_seconds,
        interventions=call.interventions,
        max_usd=call.max_usd,
        reuse=not call.fresh,
    )
    opened = open_suites(call.suites, call.weights)
    held = hold_against_graphs(choose(opened.suites, Choice(call.tasks, call.limit, call.sensitive)))
    suites, left_out = held.suites, (*opened.left_out, *held.left_out)
    _ask_before_paying(agents, suites, settings.seeds, call)
    store = BenchStore(folder)
    with terminal.progress_bars() as bars:
        shown = BenchBars(bars)
        for told in left_out:
            shown.note(f"left out: {told}")
        for told in held.stale:
            shown.note(f"stale: {told}")
        prices = (call.price_input, call.price_output)
        with label_raters(call.label_judge, folder / JUDGE_CALLS, call.max_usd, prices) as raters:
            if raters.judge is not None:
                shown.note(raters.judge.agreement.told())
            try:
                bench = run_bench(agents, suites, store, settings, shown, shown.note, raters)
            except KeyboardInterrupt:
                shown.note(f"finished cases are kept in {folder}: the same command goes on with them")
                raise
    from tracescribe.evals.benchmark.predictions import write_predictions

    written = [
        write_predictions(store, suites, settings.seeds[0], agent.name, file)
        for agent, file in zip(agents, _named(files, agents), strict=False)
    ]
    outcome = BenchOutcome(bench, write_board(store, bench), folder, left_out, tuple(written), held.stale)
    if page is not None:
        write_html(outcome, page)
    return outcome


def open_benchmark(folder: Path) -> BenchOutcome:
    """What a folder of a finished or running benchmark holds; nothing is loaded or run.

    Raises:
        InputError: it is no benchmark's folder.
    """
    from tracescribe.evals.benchmark.leaderboard import make_leaderboard
    from tracescribe.evals.benchmark.running import read_bench
    from tracescribe.evals.benchmark.store import BenchStore

    bench = read_bench(BenchStore(folder.expanduser()))
    return BenchOutcome(bench, make_leaderboard(bench), folder.expanduser())


def write_board(store: Any, bench: BenchResult) -> Leaderboard:
    """The tables of a run beside its results, as JSON and as Markdown."""
    from tracescribe.evals.benchmark.leaderboard import make_leaderboard
    from tracescribe.evals.benchmark.store import BOARD, MARKDOWN
    from tracescribe.evals.benchmark.tables import markdown
    from tracescribe.tracer.provenance import write_json_atomic, write_text_atomic

    board = make_leaderboard(bench)
    write_json_atomic(store.folder / BOARD, board.to_json())
    write_text_atomic(store.folder / MARKDOWN, markdown(board))
    return board


def write_html(outcome: BenchOutcome, file: Path) -> None:
    """The leaderboard as a page.

    Raises:
        OutputError: the file cannot be written.
    """
    from tracescribe.evals.benchmark.page import write_page

    write_page(outcome.board.to_json(), outcome.bench.results, prepare_file(file), folder=outcome.folder)


def _choice(spec: str, call: BenchCall) -> AgentChoice:
    from tracescribe.agents.providers.spec import EXTERNAL, parse_agent_spec

    kind = parse_agent_spec(spec).kind
    given: dict[str, Any] = {}
    if kind in EXTERNAL and call.agent_env:
        given["agent_env"] = call.agent_env
    if kind == "llm":
        given |= {"price_input": call.price_input, "price_output": call.price_output}
    return AgentChoice(spec=spec, seed=call.seed, **given)


def _ask_before_paying(
    agents: Sequence[Contestant], suites: Sequence[Suite], seeds: Sequence[int], call: BenchCall
) -> None:
    paid = [agent.name for agent in agents if agent.paid]
    if not paid or call.yes:
        return
    cases = len(paid) * len(seeds) * sum(len(suite.circuits) for suite in suites)
    limit = "no limit" if call.max_usd is None else f"a limit of {call.max_usd:g} USD"
    told = f"{', '.join(paid)} may cost money on each of {cases} cases, with {limit} for the run"
    if not sys.stdin.isatty():
        raise InputError(f"{told}; give --yes to run it, and --max-usd-run to limit it")
    import typer

    typer.confirm(f"{terminal.one_line(told)}. Run it?", abort=True, err=True)


def _prediction_files(file: Path | None, n_agents: int) -> tuple[Path, ...]:
    """Proof that predictions can be written; several agents write one file each."""
    if file is None:
        return ()
    return (prepare_file(file),) * n_agents


def _named(files: Sequence[Path], agents: Sequence[Contestant]) -> tuple[Path, ...]:
    """One agent's predictions go to the file itself, several agents' to files with their names in them."""
    from tracescribe.evals.benchmark.store import folder_name

    if len(agents) == 1:
        return tuple(files)
    return tuple(
        file.with_name(f"{file.stem}-{folder_name(agent.name)}{file.suffix}")
        for file, agent in zip(files, agents, strict=False)
    )
