"""`tracescribe interpret`: a prompt or a graph to a tested circuit report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tracescribe.runs.commands.options import EMBEDDED, Evidence, Json, Model, Prompt, PromptFile, Seed, Transcoders


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
        Literal["offline", "llm", "random", "top-influence", "token-position"],
        typer.Option(help="Who proposes labels, groups and claims. Testing and judging are the same for all."),
    ] = "offline",
    model: Model = EMBEDDED,
    transcoders: Transcoders = EMBEDDED,
    evidence: Evidence = None,
    weights: Annotated[
        bool, typer.Option("--weights/--no-weights", help="Load the model; without it a graph's claims stay untested.")
    ] = True,
    seed: Seed = 0,
    max_experiments: Annotated[int | None, typer.Option(min=0, help="Budget: most claims to test.")] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0, help="Budget: most seconds.")] = None,
    max_llm_calls: Annotated[int | None, typer.Option(min=0, help="Budget: most requests to a language model.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=0, help="Budget: most tokens that a language model reads and writes.")
    ] = None,
    provider: Annotated[
        Literal["openai", "anthropic"] | None,
        typer.Option(help="--agent llm: openai (any compatible server) or anthropic. Keys come from the environment."),
    ] = None,
    llm_model: Annotated[str | None, typer.Option(help="--agent llm: the language model's name.")] = None,
    base_url: Annotated[str | None, typer.Option(help="--agent llm: another server's address.")] = None,
    as_json: Json = False,
) -> None:
    """Interpret a circuit: label, group, claim, test against matched controls, judge, and write the report.

    The report is report.json, report.md and report.html with the circuit drawn. A graph is tested if the loaded weights
    are those that it was traced from; otherwise its claims are marked as untested.
    """
    from tracescribe.runs.agent_choice import LlmChoice, agent_for_use, budget_with
    from tracescribe.runs.interpreting import InterpretRequest, report_folder, run_interpretation
    from tracescribe.runs.report_view import show_interpretation
    from tracescribe.runs.terminal import StepLog
    from tracescribe.runs.workspace import read_prompt

    text = None if graph is not None and prompt is None and prompt_file is None else read_prompt(prompt, prompt_file)
    request = InterpretRequest(
        prompt=text,
        graph=graph,
        model=model,
        transcoders=transcoders,
        evidence=evidence,
        weights=weights,
        out=out or report_folder(text, graph),
    )
    budget = budget_with(experiments=max_experiments, seconds=max_seconds, llm_calls=max_llm_calls, tokens=max_tokens)
    choice = LlmChoice(provider=provider, model=llm_model, base_url=base_url, call_log=request.out / "llm_calls.jsonl")
    outcome = run_interpretation(request, agent_for_use(agent, seed=seed, llm=choice), budget, StepLog())
    show_interpretation(outcome, as_json)
