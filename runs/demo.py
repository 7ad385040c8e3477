"""The demo: the whole job on the embedded model, one prompt, scored against the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.scores import Scores, score_report
from tracescribe.runs import terminal
from tracescribe.runs.agent_choice import OFFLINE, TRIVIAL_BASELINES, AgentChoice, make_agent, prepare_agent
from tracescribe.runs.gold_files import open_gold
from tracescribe.runs.interpreting import Interpretation, InterpretRequest, run_interpretation
from tracescribe.tracer.errors import WorkError

PROMPT = "the capital of the state containing Dallas is"
"""Two hops: the state is never said, so that the model must work it out on the way to the answer."""


@dataclass(frozen=True, eq=False)
class DemoOutcome:
    """What the demo shows.

    Attributes:
        interpretation: the report and how it came to be.
        scores: against the oracle's circuit of the prompt.
        baselines: scores of the baseline agents on the same graph, by name.
        gold_id: the oracle's circuit.
    """

    interpretation: Interpretation
    scores: Scores
    baselines: Mapping[str, Scores]
    gold_id: str

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        told = self.interpretation.to_json()
        report = self.interpretation.report
        story = [{"text": sentence.text, "claims": list(sentence.claims)} for sentence in report.summary]
        return {
            **told,
            "story": story,
            "gold": self.gold_id,
            "scores": _values(self.scores),
            "baselines": {name: _values(scores) for name, scores in self.baselines.items()},
        }


def _values(scores: Scores) -> dict[str, float | None]:
    return {name: value.value for name, value in scores.values.items()}


def run_demo(out: Path, seed: int) -> DemoOutcome:
    """Trace, label, group, test, report and score; steps are shown as they go.

    Args:
        out: folder of the report.
        seed: of every random draw.

    Raises:
        OutputError: the folder cannot be written to; found out before any work.
        WorkError: the installation is damaged.
    """
    log = terminal.StepLog()
    request = InterpretRequest(
        prompt=PROMPT,
        graph=None,
        model="embedded",
        transcoders="embedded",
        evidence=None,
        weights=True,
        out=out,
        keep=False,
    )
    agent = prepare_agent(AgentChoice(spec=OFFLINE, seed=seed), max_usd=None)
    found = run_interpretation(request, agent, Budget(), log)
    with log.step("score") as details:
        gold = open_gold(None).of_prompt(PROMPT)
        if gold is None:
            raise WorkError(f"the oracle has no circuit for {PROMPT!r}; install the package again")
        scores = score_report(found.report, gold, found.graph)
        details.append(f"against gold circuit {gold.gold_id}")
    with log.step("baselines") as details:
        baselines = _baseline_scores(found, gold, seed)
        details.append(", ".join(baselines))
    return DemoOutcome(replace(found, seconds=dict(log.seconds)), scores, baselines, gold.gold_id)


def _baseline_scores(found: Interpretation, gold: GoldCircuit, seed: int) -> dict[str, Scores]:
    """The baselines' scores on the graph of the demo: what a score is worth shows beside what chance gets."""
    case = InterpretationCase(case_id="case", graph=found.graph)
    scores: dict[str, Scores] = {}
    for name in TRIVIAL_BASELINES:
        report = make_agent(name, seed=seed).interpret(case, found.toolbox, Budget())
        scores[name] = score_report(report, gold, found.graph)
    return scores
