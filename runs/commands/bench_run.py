"""`tracescribe bench run`: agents on suites of circuits whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json, finite


def run(
    agents: Annotated[
        list[str] | None,
        typer.Option(
            "--agents",
            help="Agents, with commas between: offline, influence, position, layer, profiles, random, acdc, eap-ig, probe; "
            "openai:MODEL and other language models, STYLE@SPEC; exec:PROGRAM, python:MODULE:ATTRIBUTE. The first is "
            "compared with the others. May be repeated. Without it: offline,influence,position,random.",
        ),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", help="oracle, compiled, a gold file, or a folder of gold. May be repeated."),
    ] = None,
    gold: Annotated[
        list[Path] | None, typer.Option("--gold", help="A folder of gold, held-out cases for one. May be repeated.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only the circuits of a task. May be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most circuits of each task.")] = None,
    sensitive: Annotated[
        bool, typer.Option("--sensitive/--no-sensitive", help="Whether circuits with harmful prompts are run.")
    ] = True,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw, the first of --seeds.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            min=1,
            max=100,
            help="How often each agent interprets each circuit, each time with the next seed.",
        ),
    ] = 1,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, max=256, help="Worker processes; without it, one a core. Results do not depend on it."
        ),
    ] = None,
    case_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            callback=finite,
            help="A case that takes longer is ended, and lost. Without it: --max-seconds and a minute.",
        ),
    ] = None,
    max_experiments: Annotated[int | None, typer.Option(min=0, help="Budget of a case: most claims to test.")] = None,
    max_forward_passes: Annotated[
        int | None, typer.Option(min=0, help="Budget of a case: most prompts sent through the studied model.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, callback=finite, help="Budget of a case: most seconds.")
    ] = None,
    max_llm_calls: Annotated[
        int | None, typer.Option(min=0, help="Budget of a case: most requests to a language model.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=0, help="Budget of a case: most tokens that a language model reads and writes.")
    ] = None,
    max_usd: Annotated[
        float | None, typer.Option(min=0, callback=finite, help="Budget of a case: most USD for a language model.")
    ] = None,
    max_usd_run: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, help="No paid case is begun once the whole run has cost so many USD."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the results; finished cases in it are not run again. Without it: tracescribe-workspace/bench."
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away the results that the folder holds.")] = False,
    interventions: Annotated[
        bool,
        typer.Option("--interventions/--no-interventions", help="Also give the scores that run the model on a report."),
    ] = True,
    label_judge: Annotated[
        str | None,
        typer.Option(help="A language model that judges labels, as openai:MODEL; its agreement with people is told."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Also write what an agent answered to this JSON file; with several agents, to one file each, with the "
            "agent's name before the suffix: FILE-AGENT.json."
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the leaderboard to this HTML file.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Weights for gold that comes without graphs: a folder or hub id."),
    ] = None,
    transcoders: Annotated[
        str | None, typer.Option("--transcoders", "-t", help="The folder of a transcoder set for --model.")
    ] = None,
    evidence: Annotated[Path | None, typer.Option("--evidence", help="Folder of an evidence scan of both.")] = None,
    agent_env: Annotated[
        list[str] | None,
        typer.Option(help="An environment variable that exec: and python: agents are given. May be repeated."),
    ] = None,
    price_input: Annotated[
        float | None, typer.Option(min=0, callback=finite, help="USD per million tokens read, where no price is known.")
    ] = None,
    price_output: Annotated[
        float | None, typer.Option(min=0, callback=finite, help="USD per million tokens written.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Run agents that may cost money without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Run agents on circuits whose truth is known, score their reports, and compare them.

    Every agent gets the same graphs, weights and budget, in worker processes; one that crashes, hangs or floods loses
    that case and no other. A run that was interrupted goes on where it stopped when it is called again with the same
    folder. Failed cases are told, enter no average, and are tried again by the next call.
    """
    from tracescribe.runs.agent_choice import budget_with
    from tracescribe.runs.bench_suites import Weights
    from tracescribe.runs.bench_view import show_bench
    from tracescribe.runs.benchmarking import BenchCall, run_benchmark

    call = BenchCall(
        agents=tuple(agents or ()),
        suites=(*(suite or ()), *(str(folder) for folder in gold or ())),
        weights=Weights(model, transcoders, evidence),
        tasks=tuple(task or ()),
        limit=limit,
        sensitive=sensitive,
        seed=seed,
        n_seeds=seeds,
        jobs=jobs,
        budget=budget_with(
            experiments=max_experiments,
            forward_passes=max_forward_passes,
            seconds=max_seconds,
            llm_calls=max_llm_calls,
            tokens=max_tokens,
            usd=max_usd,
        ),
        case_seconds=case_seconds,
        max_usd=max_usd_run,
        out=out,
        fresh=fresh,
        interventions=interventions,
        label_judge=label_judge,
        predictions=predictions,
        html=html,
        agent_env=tuple(agent_env or ()),
        price_input=price_input,
        price_output=price_output,
        yes=yes,
    )
    show_bench(run_benchmark(call), as_json)
