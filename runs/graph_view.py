"""How graph files are shown: faults, notes, and what a graph holds."""

from __future__ import annotations

from typing import Any

from tracescribe.runs import terminal
from tracescribe.runs.graph_checking import GraphCheck

_MOST_LINES = 50


def show_check(check: GraphCheck, as_json: bool) -> None:
    """Print the faults of a file, or that it has none."""
    if as_json:
        terminal.print_json(check.to_json())
        return
    console = terminal.stdout()
    for fault in check.faults[:_MOST_LINES]:
        console.print(terminal.styled(f"fault  {fault}", "red"), soft_wrap=True)
    if len(check.faults) > _MOST_LINES:
        console.print(f"and {len(check.faults) - _MOST_LINES} more faults; --json lists all")
    for note in check.notes:
        console.print(terminal.styled(f"note   {note}"), soft_wrap=True)
    if check.hashes_agree:
        console.print("traced from exactly these weights")
    if check.largest_difference is not None:
        console.print(f"activations differ by at most {check.largest_difference:.2g} of their layer's largest")
    verdict = "cannot be used" if check.faults else f"valid: {check.nodes} nodes, {check.links} links"
    console.print(terminal.styled(f"{check.path}: {verdict}", "bold"), soft_wrap=True)


def show_conversion(told: dict[str, Any], as_json: bool) -> None:
    """Print what was written."""
    if as_json:
        terminal.print_json(told)
        return
    blinded = ", blinded" if told["blinded"] else ""
    console = terminal.stdout()
    console.print(
        f"{told['nodes']} nodes and {told['links']} links, {told['bytes']} bytes of {told['format']}{blinded}"
    )
    console.print(terminal.styled(f"graph: {told['graph']}"), soft_wrap=True)


def show_graph(told: dict[str, Any], as_json: bool) -> None:
    """Print what a graph holds."""
    if as_json:
        terminal.print_json(told)
        return
    console = terminal.stdout()
    console.print(terminal.styled(told["prompt"], "bold"), soft_wrap=True)
    kinds = ", ".join(f"{n} {kind}" for kind, n in told["nodes"].items())
    console.print(
        f"{kinds} nodes; {told['links']} links; {told['layers']} layers; {len(told['tokens'])} tokens", soft_wrap=True
    )
    for row in told["outputs"]:
        probability = "" if row["probability"] is None else f"  {row['probability']:.3f}"
        console.print(terminal.styled(f"  {row['node']}  {row['label']}{probability}"), soft_wrap=True)
    if told["replacement_score"] is not None:
        console.print(f"replacement {told['replacement_score']:.3f}, completeness {told['completeness_score']:.3f}")
    if told["model"]:
        console.print(terminal.styled(f"traced from {told['model']}, {told['transcoders'] or 'unknown transcoders'}"))
    if told["top_features"]:
        console.print(
            "most influential features (node, token, activation, cumulative influence, label):", soft_wrap=True
        )
    for row in told["top_features"]:
        activation = "" if row["activation"] is None else f"{row['activation']:.3f}"
        line = f"  {row['node']:<16} {row['token']!r:<14} {activation:>9} {row['influence']:.3f}  {row['label']}"
        console.print(terminal.styled(line), soft_wrap=True)
    for group in told["supernodes"]:
        line = f"supernode {group['label']}: {', '.join(group['members'])}"
        console.print(terminal.styled(line), soft_wrap=True)
    for note in told["notes"]:
        console.print(terminal.styled(f"note   {note}"), soft_wrap=True)
