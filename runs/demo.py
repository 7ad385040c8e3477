"""The demo: the whole job on the embedded model, one prompt, scored against the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.runs.agent_choice import OFFLINE, make_agent
from tracescribe.runs.gold_files import open_gold
from tracescribe.runs.interpreting import Interpretation, InterpretRequest, interpret
from tracescribe.runs.workspace import DEFAULT_WORKSPACE
from tracescribe.tracer.errors import WorkError

if TYPE_CHECKING:
    from tracescribe.evals.scores import Scores

PROMPT = "the capital of the state containing Dallas is"
"""Two hops: the state is never said, so that the model must work it out on the way to the answer."""
DEFAULT_OUT = DEFAULT_WORKSPACE / "demo"


@dataclass(frozen=True, eq=False)
class DemoOutcome:
    """What the demo shows: the interpretation, and its scores against the oracle's circuit of the prompt."""

    interpretation: Interpretation
    scores: Scores
    gold_id: str

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        told = self.interpretation.to_json()
        report = self.interpretation.report
        story = [{"text": sentence.text, "claims": list(sentence.claims)} for sentence in report.summary]
        values = {name: value.value for name, value in self.scores.values.items()}
        return {**told, "story": story, "gold": self.gold_id, "scores": values}


def run_demo(out: Path, seed: int) -> DemoOutcome:
    """Trace, label, group, test, report and score; steps are shown as they go.

    Args:
        out: folder of the report.
        seed: of every random draw.

    Raises:
        OutputError: the folder cannot be written to; found out before any work.
        WorkError: the installation is damaged.
    """
    from tracescribe.agents.budget import Budget
    from tracescribe.evals.scores import score_report

    log = terminal.StepLog()
    request = InterpretRequest(
        prompt=PROMPT, graph=None, model="embedded", transcoders="embedded", evidence=None, weights=True, out=out
    )
    found = interpret(request, make_agent(OFFLINE, seed=seed), Budget(), log)
    with log.step("score") as details:
        gold = open_gold(None).of_prompt(PROMPT)
        if gold is None:
            raise WorkError(f"the oracle has no circuit for {PROMPT!r}; install the package again")
        scores = score_report(found.report, gold, found.graph)
        details.append(f"against gold circuit {gold.gold_id}")
    timed = Interpretation(found.report, found.graph, found.files, found.graph_file, dict(log.seconds))
    return DemoOutcome(timed, scores, gold.gold_id)
