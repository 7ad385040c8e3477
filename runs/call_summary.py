"""What a language model did in one interpretation: steps, calls, tokens, money, and what was sent twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport


def _claims_after_a_measurement(report: CircuitReport) -> bool:
    """Whether any claim was registered once something had been measured: only a revision does that."""
    events = [entry.event for entry in report.registry]
    return "measured" in events and "registered" in events[events.index("measured") :]


THINKING: dict[str, Callable[[CircuitReport], bool]] = {
    "label": lambda report: bool(report.labels),
    "group": lambda report: bool(report.supernodes),
    "hypothesise": lambda report: bool(report.claims),
    "test_labels": lambda report: any(label.judged for label in report.labels),
    "revise": _claims_after_a_measurement,
}
"""Steps of the loop that a language model takes part in, and whether anything came of each."""
ALWAYS = ("label", "group", "hypothesise")
"""Steps that every language-model agent takes; the others count where they left a trace."""


@dataclass(frozen=True)
class CallSummary:
    """What a language model did.

    Attributes:
        steps: of the loop in which it was asked.
        failed_steps: those of which nothing came, and a failure is on record.
        calls: requests of this run, the recorded answers that it took over included.
        input_tokens, output_tokens: read and written.
        usd: None where the price is not known.
        resent: requests in the folder's ledger that were sent again, because the process died while they were under way.
    """

    steps: tuple[str, ...]
    failed_steps: tuple[str, ...]
    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    resent: int

    def as_json(self) -> dict[str, object]:
        """The summary as plain JSON values."""
        return {**asdict(self), "steps": list(self.steps), "failed_steps": list(self.failed_steps)}


def summarise_calls(report: CircuitReport, call_log: Path) -> CallSummary:
    """What a language model did for a report.

    Args:
        call_log: the ledger of the report's folder; it may be absent where nothing was asked.
    """
    faulty = {failure.step for failure in report.failures}
    came = {step: made(report) for step, made in THINKING.items()}
    steps = tuple(step for step in THINKING if step in ALWAYS or came[step] or step in faulty)
    return CallSummary(
        steps=steps,
        failed_steps=tuple(step for step in steps if step in faulty and not came[step]),
        calls=report.cost.llm_calls,
        input_tokens=report.cost.input_tokens,
        output_tokens=report.cost.output_tokens,
        usd=report.cost.usd,
        resent=_resent(call_log),
    )


def _resent(call_log: Path) -> int:
    from tracescribe.agents.calls.ledger import summarize_ledger

    return summarize_ledger(call_log).resent if call_log.exists() else 0
