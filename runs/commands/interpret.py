"""`tracescribe interpret`: a prompt or a graph to a tested circuit report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tracescribe.runs.commands.options import (
    EMBEDDED,
    Evidence,
    Json,
    Model,
    Prompt,
    PromptFile,
    Seed,
    Transcoders,
    finite,
)


def interpret(
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    graph: Annotated[
        Path | None,
        typer.Option(
            "--graph",
            "-g",
            help="A graph file instead of a prompt: Neuronpedia's JSON (.json, .json.gz), .graphml or .tsgraph.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The report's folder; without it, one named after the prompt in tracescribe-workspace/reports."
        ),
    ] = None,
    agent: Annotated[
        str,
        typer.Option(
            help="Who proposes labels, groups and claims: offline; a baseline (random, influence, position, layer, "
            "profiles, acdc, eap-ig, probe); a language model (openai:MODEL, openai-responses:MODEL, anthropic:MODEL, "
            "openai-compatible:URL[#MODEL], local:FOLDER, or llm with the options below), STYLE@ before it to fix its "
            "style; or a program of your own (exec:PATH, python:MODULE:ATTRIBUTE). Testing and judging are the same for all."
        ),
    ] = "offline",
    style: Annotated[
        Literal["pipeline", "one-shot", "investigator"] | None,
        typer.Option(help="How a language model works: see 'tracescribe agents list'. Without it: pipeline."),
    ] = None,
    agent_env: Annotated[
        list[str] | None,
        typer.Option(help="exec: and python: agents: an environment variable that they may see. May be repeated."),
    ] = None,
    model: Model = EMBEDDED,
    transcoders: Transcoders = EMBEDDED,
    evidence: Evidence = None,
    weights: Annotated[
        bool, typer.Option("--weights/--no-weights", help="Load the model; without it a graph's claims stay untested.")
    ] = True,
    seed: Seed = 0,
    max_rounds: Annotated[int | None, typer.Option(min=0, max=20, help="Most rounds of revision.")] = None,
    paraphrase: Annotated[
        list[str] | None,
        typer.Option(help="The prompt in other words, on which claims are measured too. May be repeated."),
    ] = None,
    judge_labels: Annotated[
        bool | None,
        typer.Option(
            "--judge-labels/--no-judge-labels",
            help="Have the language model judge labels by their words too. Without it: as the style does.",
        ),
    ] = None,
    max_experiments: Annotated[int | None, typer.Option(min=0, help="Budget: most claims to test.")] = None,
    max_forward_passes: Annotated[
        int | None, typer.Option(min=0, help="Budget: most prompts sent through the studied model.")
    ] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0, callback=finite, help="Budget: most seconds.")] = None,
    max_llm_calls: Annotated[int | None, typer.Option(min=0, help="Budget: most requests to a language model.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=0, help="Budget: most tokens that a language model reads and writes.")
    ] = None,
    max_usd: Annotated[
        float | None, typer.Option(min=0, callback=finite, help="Budget: most USD for a language model.")
    ] = None,
    provider: Annotated[
        Literal["openai", "openai-responses", "anthropic", "local"] | None,
        typer.Option(help="--agent llm: openai (any compatible server), openai-responses, anthropic or local."),
    ] = None,
    llm_model: Annotated[str | None, typer.Option(help="--agent llm: the language model's name.")] = None,
    base_url: Annotated[str | None, typer.Option(help="--agent llm: another server's address.")] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=32, help="Requests to a language model in flight at once; 4 without it.")
    ] = None,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Stream a language model's answers.")
    ] = None,
    price_input: Annotated[
        float | None,
        typer.Option(
            min=0, callback=finite, help="USD per million tokens read, where the price list does not know it."
        ),
    ] = None,
    price_output: Annotated[
        float | None, typer.Option(min=0, callback=finite, help="USD per million tokens written.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Throw away an unfinished run in the folder; recorded answers stay.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Trace, print the plan and what it may cost, ask and write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Interpret a circuit: label, group, claim, test against matched controls, judge, and write the report.

    The report is report.json, report.md and report.html with the circuit drawn. A graph is tested if the loaded weights
    are those that it was traced from; otherwise its claims are marked as untested.

    A run that was interrupted goes on where it stopped when it is called again with the same folder. Exit code 0 says
    that the report is written, also where steps of a language model failed: the summary and the report tell which.
    """
    from tracescribe.runs.agent_choice import AgentChoice, budget_with, prepare_agent
    from tracescribe.runs.dry_run import plan_interpretation
    from tracescribe.runs.interpreting import InterpretRequest, report_folder, run_interpretation
    from tracescribe.runs.report_view import show_interpretation, show_plan
    from tracescribe.runs.terminal import StepLog
    from tracescribe.runs.workspace import read_prompt

    text = None if prompt is None and prompt_file is None else read_prompt(prompt, prompt_file)
    request = InterpretRequest(
        prompt=text,
        graph=graph,
        model=model,
        transcoders=transcoders,
        evidence=evidence,
        weights=weights,
        out=out or report_folder(text, graph),
        fresh=fresh,
    )
    budget = budget_with(
        experiments=max_experiments,
        forward_passes=max_forward_passes,
        seconds=max_seconds,
        llm_calls=max_llm_calls,
        tokens=max_tokens,
        usd=max_usd,
    )
    choice = AgentChoice(
        spec=agent,
        seed=seed,
        agent_env=tuple(agent_env or ()),
        max_rounds=max_rounds,
        paraphrases=tuple(paraphrase or ()),
        style=style,
        judge_labels=judge_labels,
        provider=provider,
        model=llm_model,
        base_url=base_url,
        stream=stream,
        concurrency=concurrency,
        price_input=price_input,
        price_output=price_output,
    )
    chosen = prepare_agent(choice, max_usd=max_usd, plan_only=dry_run)
    if dry_run:
        show_plan(plan_interpretation(request, chosen, budget, StepLog()), as_json)
        return
    show_interpretation(run_interpretation(request, chosen, budget, StepLog()), as_json)
