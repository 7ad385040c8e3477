"""How agents, their loop and records of calls are shown."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs import terminal
from tracescribe.runs.agent_list import AgentEntry

if TYPE_CHECKING:
    from tracescribe.agents.calls.ledger import LedgerSummary
    from tracescribe.runs.agent_trial import Trial


def show_agents(entries: tuple[AgentEntry, ...], as_json: bool) -> None:
    """Print a line for each agent, then one for each style."""
    if as_json:
        terminal.print_json([asdict(entry) for entry in entries])
        return
    console = terminal.stdout()
    width = max(len(entry.name) for entry in entries)
    for option in ("--agent", "--style"):
        console.print(terminal.styled(option, "bold"))
        for entry in entries:
            if entry.option == option:
                console.print(f"  {entry.name:<{width}}  {entry.about}", soft_wrap=True)


def show_trial(trial: Trial, as_json: bool) -> None:
    """Print what an agent answered to one case, or how it lost it."""
    if as_json:
        terminal.print_json(asdict(trial))
        return
    console = terminal.stdout()
    lines = [f"{trial.agent} on {trial.prompt!r}: {trial.seconds:.1f} s"]
    if trial.failure is not None:
        lines.append(f"it loses the case: {trial.failure[0]}: {trial.failure[1]}")
    else:
        lines.append(", ".join(f"{number} {name}" for name, number in trial.counts.items()))
        if trial.outcomes:
            lines.append("verdicts: " + ", ".join(f"{number} {name}" for name, number in trial.outcomes.items()))
        lines += [f"left out: {fault}" for fault in trial.faults] or ["nothing was left out"]
    if trial.told is not None:
        lines.append("it tells: " + (", ".join(f"{name} {value}" for name, value in trial.told.items()) or "no cost"))
    for line in lines:
        console.print(terminal.styled(line), soft_wrap=True)


def show_drawing(text: str, out: Path | None) -> None:
    """Print a drawing, or where it was written."""
    # written as it is: a console would fold long lines, and Mermaid reads lines
    sys.stdout.write(f"{text}\n" if out is None else f"{out}\n")
    sys.stdout.flush()


def show_ledger(ledger: LedgerSummary, as_json: bool) -> None:
    """Print what a record of calls holds: a line for each kind of number, then one for each model and each prompt."""
    if as_json:
        terminal.print_json(ledger.model_dump(mode="json"))
        return
    console = terminal.stdout()
    lines = [
        f"{ledger.calls} calls: {ledger.answered} answered, {ledger.failed} failed, {ledger.unfinished} unfinished",
        f"{ledger.sendings} sendings: {ledger.retried} retries, {ledger.resent} sent again after a process had died",
        f"{ledger.input_tokens} tokens read, {ledger.output_tokens} written, {ledger.seconds:.1f} s of answers",
        _money(ledger),
    ]
    if ledger.paid_twice:
        lines.append(f"{ledger.paid_twice} answered twice, by processes that ran at the same time")
    if ledger.lines_put_aside:
        lines.append(f"{ledger.lines_put_aside} torn or foreign lines put aside")
    lines += [f"  {use.model} at {use.base_url or 'this machine'}: {use.calls} calls" for use in ledger.models]
    lines += [f"  {template}: {calls} calls" for template, calls in ledger.templates.items()]
    for line in lines:
        console.print(terminal.styled(line), soft_wrap=True)


def _money(ledger: LedgerSummary) -> str:
    if ledger.usd is None:
        return "price not known" if ledger.answered else "nothing to pay"
    unpriced = f", {ledger.unpriced} answers of unknown price left out" if ledger.unpriced else ""
    return f"{ledger.usd:.4f} USD{unpriced}"
