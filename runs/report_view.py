"""How a report is told on a terminal: the story with its verdicts, the counts, and where the pages are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.dry_run import InterpretationPlan, Range
    from tracescribe.runs.interpreting import Interpretation

MAX_FAILURES = 5
"""Failures told on the terminal; a provider that is down makes one for every feature."""
_MARKS = {
    "supported": ("✓", "green"),
    "refuted": ("✗", "red"),
    "inconclusive": ("?", "yellow"),
    "untested": ("–", "dim"),
}


def show_interpretation(outcome: Interpretation, as_json: bool) -> None:
    """Print a report's story, counts and files."""
    if as_json:
        terminal.print_json(outcome.to_json())
        return
    show_story(outcome.report)
    show_counts(outcome.report)
    show_stop(outcome)
    show_files(outcome)


def show_story(report: CircuitReport) -> None:
    """Print the prompt, the answer, and each sentence with the verdicts of the claims that it rests on."""
    console = terminal.stdout()
    console.print()
    answers = ", ".join(f"'{target.token.strip()}' (p {target.probability:.2f})" for target in report.targets[:3])
    console.print(terminal.styled(f"{report.prompt} -> {answers}", "bold"))
    if not report.tested:
        console.print(terminal.styled("Hypotheses only: nothing was tested.", "bold yellow"))
    if report.cut_short:
        console.print(terminal.styled(f"Cut short: {report.cut_short}", "bold yellow"))
    outcomes = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    story = Table.grid(padding=(0, 1))
    story.add_column(no_wrap=True)
    story.add_column(overflow="fold")
    for sentence in report.summary:
        if sentence.aside:
            continue
        marks = Text()
        for claim in sentence.claims:
            mark, style = _MARKS[outcomes[claim]]
            marks.append(mark, style=style)
        line = terminal.styled(sentence.text)
        line.append(f" [{', '.join(sentence.claims)}]", style="dim")
        story.add_row(marks, line)
    console.print(story)
    asides = sum(sentence.aside for sentence in report.summary)
    if asides:
        console.print(terminal.styled(f"{asides} more sentences on these stand in the report.", "dim"))


def show_counts(report: CircuitReport) -> None:
    """Print how many claims had which verdict, and what went wrong on the way."""
    console = terminal.stdout()
    console.print()
    line = Text(f"{len(report.claims)} claims: ")
    told = [(outcome, count) for outcome, count in report.verdict_counts().items() if count]
    for number, (outcome, count) in enumerate(told):
        mark, style = _MARKS[outcome]
        line.append(", " if number else "")
        line.append(f"{mark} {count} {outcome}", style=style)
    console.print(line)
    for failure in report.failures[:MAX_FAILURES]:
        console.print(terminal.styled(f"step {failure.step}: {failure.error}", "yellow"), soft_wrap=True)
    more = len(report.failures) - MAX_FAILURES
    if more > 0:
        console.print(terminal.styled(f"and {more} more failures, all in the report", "yellow"))


def show_stop(outcome: Interpretation) -> None:
    """Print why the agent stopped, and what a language model did and cost."""
    console = terminal.stdout()
    stopped = outcome.report.stopped
    if stopped is not None:
        line = f"stopped after {_counted(stopped.rounds, 'round')} of revision: {stopped.reason}, {stopped.detail}"
        console.print(terminal.styled(line), soft_wrap=True)
    calls = outcome.calls
    if calls is None:
        return
    money = "price not known" if calls.usd is None else f"{calls.usd:.4f} USD"
    line = f"language model: {_counted(calls.calls, 'call')}, {calls.input_tokens} tokens read, "
    line += f"{calls.output_tokens} written, {money}, {calls.resent} sent again"
    console.print(terminal.styled(line), soft_wrap=True)
    if calls.failed_steps:
        failed, steps = len(calls.failed_steps), len(calls.steps)
        told = f"{failed} of {steps} steps of the language model failed: {', '.join(calls.failed_steps)}"
        console.print(terminal.styled(told, "bold yellow"), soft_wrap=True)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def show_files(outcome: Interpretation) -> None:
    """Print where the report lies."""
    console = terminal.stdout()
    console.print()
    console.print(terminal.styled(f"report: {outcome.files.html}"), soft_wrap=True)
    console.print(terminal.styled(f"        {outcome.files.json}"), soft_wrap=True)


def show_plan(plan: InterpretationPlan, as_json: bool) -> None:
    """Print what an interpretation would do, and what it may cost."""
    if as_json:
        terminal.print_json(plan.to_json())
        return
    console = terminal.stdout()

    def line(text: str, style: str = "") -> None:
        console.print(terminal.styled(text, style), soft_wrap=True)

    line(f"{plan.prompt} -> '{plan.answer.strip()}'", "bold")
    line(f"agent: {plan.agent}" + ("" if plan.style is None else f", {plan.style}"))
    line(f"steps: {', '.join(plan.steps)}")
    line(f"features: {plan.features}; to label: {plan.labels}, {plan.with_evidence} of them with contexts")
    line(f"experiments: at most {plan.experiments.high:.0f}; forward passes: at most {plan.forward_passes.high:.0f}")
    if not plan.asked:
        line("language model: not asked; nothing to pay")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "calls", "tokens"):
        table.add_column(heading, justify="left" if heading == "step" else "right", no_wrap=True)
    for step in plan.asked:
        table.add_row(step.step, _between(step.calls), _between(step.tokens))
    table.add_row("in all", _between(plan.calls), _between(plan.tokens), style="bold")
    console.print(table)
    if plan.usd is None:
        line("money: the price of this model is not known; give --price-input and --price-output", "yellow")
    else:
        line(f"money: {plan.usd.low:.4f} to {plan.usd.high:.4f} USD")
    for name in plan.over:
        line(
            f"the limit for {name} ({plan.budget[name]:g}) is below the high estimate: the run may be cut short",
            "yellow",
        )
    line("nothing was asked, nothing was written")


def _between(numbers: Range) -> str:
    return f"{numbers.low:.0f}" if numbers.low == numbers.high else f"{numbers.low:.0f} to {numbers.high:.0f}"
