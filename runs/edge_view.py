"""How an explained edge is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from tracescribe.runs import terminal
from tracescribe.runs.edge_explaining import EdgeOutcome

if TYPE_CHECKING:
    from rich.console import Console

    from tracescribe.tracer.edge_paths import EdgePath

SMALL_SHARE = 5e-4
"""Parts below this share of the edge are left out of the table of write layers and path lengths: they round to 0.0 %."""

SHOWN_PLACES = 4
"""Positions told for each layer: an edge seldom spreads over more."""


def show_explanation(outcome: EdgeOutcome, as_json: bool) -> None:
    """Print the edge, its split by length, write layer and head, and its strongest paths."""
    if as_json:
        terminal.print_json(outcome.to_json())
        return
    console, edge = terminal.stdout(), outcome.edge
    label = f" '{edge.target_label.strip()}'" if edge.target_label else ""
    console.print(terminal.styled(f"{edge.source} -> {edge.target}{label}: {edge.weight:+.4g}", "bold"))
    if not edge.weight and not edge.paths:
        console.print("Nothing flows between these nodes.")
        return
    _show_shares(console, outcome)
    _show_heads(console, outcome)
    _show_trail(console, outcome)
    _show_paths(console, outcome)


def _table(*headings: str) -> Table:
    """A table whose first column is text and whose next two are numbers."""
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place in (1, 2) else "left")
    return table


def _share(part: float, outcome: EdgeOutcome) -> str:
    return f"{part / outcome.edge.weight:+.1%}" if outcome.edge.weight else ""


def _show_shares(console: Console, outcome: EdgeOutcome) -> None:
    edge = outcome.edge
    table = _table("through", "part", "share")
    least = SMALL_SHARE * max(abs(part) for part in edge.by_hops)
    for n, part in enumerate(edge.by_hops):
        if abs(part) > least:
            more = " or more" if n == len(edge.by_hops) - 1 else ""
            table.add_row(f"{n}{more} attention head{'' if n == 1 else 's'}", f"{part:+.4g}", _share(part, outcome))
    for layer, part in edge.skips:
        table.add_row(f"skip path of layer {layer}", f"{part:+.4g}", _share(part, outcome))
    console.print(table)
    written = [(layer, part) for layer, part in edge.by_write if abs(part) > least]
    if len(written) > 1:
        console.print()
        table = _table("written to", "part", "share")
        for layer, part in written:
            table.add_row(f"layer {layer}", f"{part:+.4g}", _share(part, outcome))
        console.print(table)


def _show_heads(console: Console, outcome: EdgeOutcome) -> None:
    heads = [head for head in outcome.edge.heads if head.weight][: outcome.top]
    if not heads:
        return
    console.print()
    table = _table("head", "part", "share")
    for head in heads:
        table.add_row(f"L{head.layer} H{head.head}", f"{head.weight:+.4g}", _share(head.weight, outcome))
    console.print(table)


def _show_trail(console: Console, outcome: EdgeOutcome) -> None:
    """Where the edge stands below each attention, where it moves at all."""
    edge, first = outcome.edge, int(outcome.edge.source.rsplit("_", 1)[1])
    if not edge.positions or len(edge.positions[0][1]) < 2 or not edge.weight:
        return
    console.print()
    table = Table(box=None, pad_edge=False)
    for heading in ("below", "the edge stands at"):
        table.add_column(heading)
    for layer, parts in edge.positions:
        strongest = sorted(range(len(parts)), key=lambda place: -abs(parts[place]))[:SHOWN_PLACES]
        told = [f"{_place(first + i, outcome)} {_share(parts[i], outcome)}" for i in strongest if parts[i]]
        table.add_row(f"layer {layer}", terminal.styled(", ".join(told)))
    console.print(table)


def _show_paths(console: Console, outcome: EdgeOutcome) -> None:
    edge = outcome.edge
    console.print()
    table = _table("path", "part", "share")
    for path in edge.paths:
        table.add_row(terminal.styled(_route(path, outcome)), f"{path.weight:+.4g}", _share(path.weight, outcome))
    table.add_row("all others together", f"{edge.rest:+.4g}", _share(edge.rest, outcome))
    console.print(table)
    if not edge.largest_unlisted:
        console.print("These are all paths.")
        return
    sure = "" if edge.proved else "; there may be a larger one than those shown (--work looks further)"
    console.print(f"No other path carries more than {edge.largest_unlisted:.3g}{sure}.")


def _route(path: EdgePath, outcome: EdgeOutcome) -> str:
    """A path in words: where it enters the stream, and the heads that it goes through."""
    entry = "embedding" if path.write_layer < 0 else f"written to layer {path.write_layer}"
    parts = [entry]
    for step in path.steps:
        if step.head is None:
            parts.append(f"skip L{step.layer}")
        elif step.key == step.query:
            parts.append(f"L{step.layer} H{step.head} at {_place(step.key, outcome)}")
        else:
            moved = f"{_place(step.key, outcome)} to {_place(step.query, outcome)}"
            parts.append(f"L{step.layer} H{step.head} {moved}")
    return ", ".join(parts) if len(parts) > 1 else f"{entry}, straight"


def _place(position: int, outcome: EdgeOutcome) -> str:
    return f"{position} '{outcome.tokens[position].strip()}'"
