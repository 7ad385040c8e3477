"""The benches of judge and stability: loaded, run with progress shown, written down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs import terminal
from tracescribe.runs.loading import choose_threads
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.agents.agent import InterpretationAgent
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.evals.judging.bench import JudgeBench, JudgeBenchRun
    from tracescribe.evals.stability import Stability

STABLE_AGENTS = ("offline", "truthful", "adversary")
"""Agents that run again without a language model that anybody pays for."""


def run_judge_bench_command(*, n: int | None, seed: int, quick: bool, out: Path | None) -> JudgeBench:
    """Run the bench of the judge.

    Raises:
        OutputError: the file cannot be written.
    """
    from tracescribe.evals.judging.bench import DEFAULT_N, QUICK_N, JudgeBenchSettings, run_judge_bench
    from tracescribe.tracer.provenance import write_json_atomic

    toolbox = _toolbox()
    settings = (
        JudgeBenchSettings.quick(seed, QUICK_N if n is None else n)
        if quick
        else JudgeBenchSettings(n=DEFAULT_N if n is None else n, seed=seed)
    )
    with terminal.progress_bars() as bars:
        result = run_judge_bench(settings, toolbox, terminal.StageBars(bars))
    if out is not None:
        write_json_atomic(out, result.to_json())
    return result


def run_stability_command(
    *, cases: int, passes: int, agents: tuple[str, ...], seed: int, out: Path | None
) -> Stability:
    """Run the bench of stability.

    Raises:
        InputError: an unknown agent.
        OutputError: the file cannot be written.
    """
    unknown = [name for name in agents if name not in STABLE_AGENTS]
    if unknown:
        raise InputError(f"no agent {unknown[0]!r} for stability; choose of {', '.join(STABLE_AGENTS)}")
    from tracescribe.evals.judging.bench import JudgeBenchSettings, prepare
    from tracescribe.evals.stability import measure_stability
    from tracescribe.tracer.provenance import write_json_atomic

    toolbox = _toolbox()
    with terminal.progress_bars() as bars:
        stage = terminal.StageBars(bars)
        known = prepare(JudgeBenchSettings(), toolbox, stage)
        chosen = {name: _agent_of(name, known) for name in agents or STABLE_AGENTS}
        prompts = [prompt.prompt for prompt in known.prompts[:cases]]
        result = measure_stability(
            chosen,
            prompts,
            tuple(range(seed, seed + passes)),
            toolbox,
            lambda done, total, text: stage("passes", done, total, text),
        )
    if out is not None:
        write_json_atomic(out, result.to_json())
    return result


def _toolbox() -> Toolbox:
    from tracescribe.agents.toolbox import load_toolbox

    toolbox = load_toolbox()
    if toolbox.model is not None:
        choose_threads(toolbox.model)
    return toolbox


def _agent_of(name: str, known: JudgeBenchRun) -> Callable[[str, int], InterpretationAgent]:
    """Makes an agent for a prompt and a seed."""
    from tracescribe.agents.loop_settings import LoopSettings
    from tracescribe.agents.offline import offline_agent
    from tracescribe.evals.scripted.adversary import Adversary
    from tracescribe.evals.scripted.agent import scripted_agent
    from tracescribe.evals.scripted.truthful import Truthful

    by_prompt = {prompt.prompt: prompt for prompt in known.prompts}

    def make(prompt: str, seed: int) -> InterpretationAgent:
        loop = LoopSettings(seed=seed)
        if name == "truthful":
            return scripted_agent(name, Truthful(by_prompt[prompt], known.words, known.teller.corpus), loop)
        if name == "adversary":
            return scripted_agent(name, Adversary(seed), loop)
        return offline_agent(loop)

    return make
