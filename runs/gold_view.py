"""How gold circuits are shown."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tracescribe.evals.gold import GoldCircuit, GoldSet, KnownEffects

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
    for heading in ("prompt", "answer", "steps"):
        table.add_column(heading, overflow="fold")
    for circuit in gold.circuits:
        steps = ", ".join(s.label for s in circuit.supernodes if s.role == "intermediate")
        cells = (circuit.gold_id, circuit.prompt, circuit.answer.strip(), steps)
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


def show_gold_build(gold: GoldSet, path: Path, as_json: bool) -> None:
    """Print what was built."""
    if as_json:
        terminal.print_json({"path": str(path), "circuits": len(gold.circuits), "built_with": gold.built_with})
        return
    console = terminal.stdout()
    console.print(f"{len(gold.circuits)} circuits: {_families(gold)}")
    console.print(terminal.styled(f"gold: {path}"), soft_wrap=True)


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
