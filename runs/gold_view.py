"""How gold circuits are shown."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tracescribe.evals.compiled.building import CompiledProgram
    from tracescribe.evals.gold import GoldCircuit, GoldSet, KnownEffects
    from tracescribe.evals.gold.findings import Finding

MAX_PROMPT_SHOWN = 80
"""Characters of a prompt in a table; --json has it whole."""

N_NAMES_SHOWN = 4
"""Names of supernodes in a table."""

N_SWAPS_SHOWN = 3
"""Examples of swaps in a table; --json has them all."""


def show_gold_list(gold: GoldSet, as_json: bool) -> None:
    """Print one line for each circuit."""
    if as_json:
        terminal.print_json(
            {
                "name": gold.name,
                "built_with": gold.built_with,
                "circuits": [
                    {
                        "gold_id": circuit.gold_id,
                        "family": circuit.family,
                        "tags": list(circuit.tags),
                        "prompt": circuit.prompt,
                        "answer": circuit.answer,
                        "source": circuit.source.kind,
                        "can_score": list(circuit.can_score),
                    }
                    for circuit in gold.circuits
                ],
            }
        )
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True)
    for heading in ("kind", "prompt", "answer", "concepts", "can score"):
        table.add_column(heading, overflow="fold")
    for circuit in gold.circuits:
        cells = (
            circuit.gold_id,
            circuit.source.kind,
            _short(circuit.prompt),
            circuit.answer.strip(),
            _concepts(circuit),
            ", ".join(circuit.can_score) or "nothing",
        )
        table.add_row(*(terminal.styled(cell) for cell in cells))
    console = terminal.stdout()
    console.print(table)
    console.print(f"{len(gold.circuits)} circuits: {_families(gold)}")


def show_gold(circuit: GoldCircuit, as_json: bool) -> None:
    """Print one circuit."""
    if as_json:
        terminal.print_json(circuit.model_dump(mode="json"))
        return
    console = terminal.stdout()
    console.print(terminal.styled(f"{circuit.gold_id}: {circuit.prompt} -> {circuit.answer.strip()}", "bold"))
    console.print(terminal.styled(f"{circuit.source.kind}: {circuit.source.origin} ({circuit.source.licence})"))
    console.print(f"can score: {', '.join(circuit.can_score)}")
    table = Table(box=None, pad_edge=False)
    for heading in ("", "concept", "role", "features", "feeds", "observed when changed"):
        table.add_column(heading, overflow="fold")
    feeds = {
        s.supernode_id: [e.destination for e in circuit.edges if e.source == s.supernode_id] for s in circuit.supernodes
    }
    for supernode in circuit.supernodes:
        cells = (
            supernode.supernode_id,
            supernode.label,
            supernode.role,
            ", ".join(supernode.members) or "none",
            ", ".join(feeds[supernode.supernode_id]),
            _observed(circuit.effects_of(supernode.supernode_id)),
        )
        table.add_row(*(terminal.styled(cell) for cell in cells))
    console.print(table)
    for note in circuit.notes:
        console.print(terminal.styled(f"note: {note}"))


def show_gold_check(path: Path, findings: Sequence[Finding], n_circuits: int, as_json: bool) -> None:
    """Print what a check found."""
    errors = sum(finding.level == "error" for finding in findings)
    if as_json:
        terminal.print_json(
            {
                "path": str(path),
                "circuits": n_circuits,
                "errors": errors,
                "warnings": len(findings) - errors,
                "findings": [finding.model_dump() for finding in findings],
            }
        )
        return
    console = terminal.stdout()
    for finding in findings:
        style = "red" if finding.level == "error" else "yellow"
        line = terminal.styled(f"{finding.level}: ", style)
        console.print(line, terminal.styled(f"{finding.where}: {finding.message}"), sep="", soft_wrap=True)
    counts = f"{n_circuits} circuits: {errors} errors, {len(findings) - errors} warnings"
    console.print(counts)


def show_gold_import(gold: GoldSet, path: Path, as_json: bool) -> None:
    """Print what was imported, and what was dropped on the way."""
    if as_json:
        terminal.print_json({"path": str(path), **gold.model_dump(mode="json")})
        return
    console = terminal.stdout()
    for circuit in gold.circuits:
        n_members = sum(len(supernode.members) for supernode in circuit.supernodes)
        console.print(
            terminal.styled(f"{circuit.gold_id}: ", "bold"),
            terminal.styled(
                f"{len(circuit.supernodes)} supernodes, {n_members} members, {len(circuit.selected)} selected; "
                f"can score {', '.join(circuit.can_score) or 'nothing'}"
            ),
            sep="",
        )
        for note in circuit.notes:
            console.print(terminal.styled(f"  {note}"), soft_wrap=True)
    console.print(terminal.styled(f"gold: {path}"), soft_wrap=True)


def show_gold_export(path: Path, n_circuits: int, as_json: bool) -> None:
    """Print what was written."""
    if as_json:
        terminal.print_json({"path": str(path), "circuits": n_circuits})
        return
    terminal.stdout().print(terminal.styled(f"{n_circuits} circuits: {path}"), soft_wrap=True)


def show_gold_build(gold: GoldSet, path: Path, as_json: bool) -> None:
    """Print what was built."""
    if as_json:
        terminal.print_json({"path": str(path), "circuits": len(gold.circuits), "built_with": gold.built_with})
        return
    console = terminal.stdout()
    console.print(f"{len(gold.circuits)} circuits: {_families(gold)}")
    console.print(terminal.styled(f"gold: {path}"), soft_wrap=True)


def show_compiled_build(programs: Sequence[CompiledProgram], folder: Path, as_json: bool) -> None:
    """Print what was compiled."""
    counts = {program.name: len(program.gold.circuits) for program in programs}
    if as_json:
        terminal.print_json({"path": str(folder), "programs": counts, "circuits": sum(counts.values())})
        return
    console = terminal.stdout()
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    console.print(terminal.styled(f"{len(counts)} programs, {sum(counts.values())} circuits: {told}"), soft_wrap=True)
    console.print(terminal.styled(f"suite: {folder}"), soft_wrap=True)


def _short(text: str) -> str:
    return text if len(text) <= MAX_PROMPT_SHOWN else f"{text[:MAX_PROMPT_SHOWN]}…"


def _concepts(circuit: GoldCircuit) -> str:
    """What a circuit is about: its intermediate steps where the source tells roles, else the names of its groups."""
    steps = [s.label for s in circuit.supernodes if s.role == "intermediate"]
    if steps or circuit.source.kind in ("oracle", "compiled"):
        return ", ".join(steps)
    names = [s.label for s in circuit.supernodes if s.label]
    more = f" and {len(names) - N_NAMES_SHOWN} more" if len(names) > N_NAMES_SHOWN else ""
    return ", ".join(names[:N_NAMES_SHOWN]) + more


def _families(gold: GoldSet) -> str:
    counts = Counter(circuit.family for circuit in gold.circuits)
    return ", ".join(f"{family} {count}" for family, count in counts.items())


def _observed(effects: KnownEffects | None) -> str:
    """The drop, and how many of the swaps gave the other value's answer, with some examples."""
    if effects is None:
        return ""
    told: list[str] = []
    if effects.site_drop is not None:
        told.append(f"removed: {effects.target_token.strip()} loses {effects.site_drop:.2f} nats")
    if effects.swaps:
        held = [swap for swap in effects.swaps if swap.holds]
        examples = ", ".join(f"{swap.value} gives {swap.expected_token.strip()}" for swap in held[:N_SWAPS_SHOWN])
        told.append(f"swapped: {len(held)} of {len(effects.swaps)} give the other answer ({examples or 'none'})")
    return "; ".join(told)
